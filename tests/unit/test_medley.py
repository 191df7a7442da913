"""The medley on finite classes against posteriors written out in NumPy, its symmetries, its errors."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from scipy.integrate import quad

from edittheory import medley
from edittheory.certify import evidence
from edittheory.medley import likelihoods
from edittheory.problem import EditDataset, cost_classes
from tests.certificate_toys import K, N, backwards

SIZES = (10, 25, N)
PRIORS = medley.Medley(balance=0.7, strong=0.4, shares=(1.0, 0.5), spreads=(2.0,), concentrations=(5.0,))


@eqx.filter_jit
def path(instance, data, cost_class, priors=PRIORS, sizes=SIZES):
    problem = instance.problem
    return medley.fit_path(
        cost_class,
        problem.log_reference,
        data,
        problem.context_probs,
        problem.beta,
        problem.cost_max,
        sizes,
        priors,
    )


@pytest.fixture(scope="module")
def case():
    instance, data = backwards(jax.random.key(3))
    return instance, data, path(instance, data, instance.cost_class)


def log_mean(values):
    return scipy.special.logsumexp(values) - np.log(np.size(values))


def oracle(instance, data, n, no_class):
    """Weights (K,) and model chances (4,) from products over the first n examples; `no_class`: the free evidences."""
    problem = instance.problem
    reference, beta = np.exp(np.asarray(problem.log_reference)), float(problem.beta)
    cost_class = np.asarray(instance.cost_class)
    policies = reference * np.exp(-cost_class / beta)
    policies /= policies.sum(axis=-1, keepdims=True)
    triples = [
        (int(x), int(y), int(e), float(c))
        for x, y, e, c in zip(data.contexts, data.responses, data.edits, data.costs, strict=True)
    ][:n]
    prior = 0.04 * float(problem.cost_max) ** 2
    cost, preference, edits = np.zeros(K), np.zeros(K), np.zeros((2, K))
    for k, f in enumerate(cost_class):
        cost[k] = -(2 + n / 2) * np.log(prior + sum((c - f[x, y]) ** 2 for x, y, _, c in triples) / 2)
        preference[k] = sum(-np.log1p(np.exp(-(f[x, y] - f[x, e]) / beta)) for x, y, e, _ in triples)
        for s, share in enumerate(PRIORS.shares):
            law = (1 - share) * reference + share * policies[k]
            edits[s, k] = sum(np.log(law[x, e]) for x, _, e, _ in triples)
    free_preference, free_edits = no_class
    no_balance = np.logaddexp(log_mean(preference), free_preference) - np.log(2)
    not_strong = np.logaddexp(log_mean(edits), free_edits) - np.log(2)
    strong = np.logaddexp(*edits) - np.log(2)
    joint = np.stack(
        [
            np.log(0.3) + np.log(0.6) + cost + no_balance + not_strong,
            np.log(0.7) + np.log(0.6) + cost + preference + not_strong,
            np.log(0.3) + np.log(0.4) + cost + no_balance + strong,
            np.log(0.7) + np.log(0.4) + cost + preference + strong,
        ]
    )
    chances = np.exp(joint - scipy.special.logsumexp(joint))
    return chances.sum(axis=0), chances.sum(axis=1)


def free_evidence(instance, data, n):
    """The Dirichlet evidence by predictive chances one edit at a time; the Bradley-Terry one by the package."""
    problem = instance.problem
    reference = np.exp(np.asarray(problem.log_reference))
    seen = np.zeros_like(reference)
    total = 0.0
    for x, e in zip(np.asarray(data.contexts)[:n], np.asarray(data.edits)[:n], strict=True):
        total += np.log((5 * reference[x, e] + seen[x, e]) / (5 + seen[x].sum()))
        seen[x, e] += 1
    counts = likelihoods.count(data, jnp.asarray([n]), *reference.shape)
    found = eqx.filter_jit(likelihoods.preference_evidence)(counts, PRIORS.spreads)
    return float(found[0]), total


def test_posterior_is_that_of_loops_over_examples(case):
    instance, data, result = case
    for place in (0, 2):
        weights, models = oracle(instance, data, SIZES[place], free_evidence(instance, data, SIZES[place]))
        np.testing.assert_allclose(result.weights[place], weights, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(result.models[place], models, rtol=1e-8, atol=1e-12)
        assert models.max() < 0.9999  # not decided, so that the comparison means something


def test_policy_minimises_the_posterior_expected_suboptimality(case, getkey):
    instance, _, result = case
    problem = instance.problem
    members = cost_classes.tilted(problem.log_reference, instance.cost_class, problem.beta)

    def expected(policy):
        divergence = jnp.sum(jnp.exp(policy) * (policy - members), axis=-1)
        return float(result.weights[0] @ (divergence @ problem.context_probs))

    least = expected(result.log_policy[0])
    for scale in (1e-3, 0.1):
        shift = scale * jax.random.normal(getkey(), problem.log_reference.shape)
        assert expected(jax.nn.log_softmax(result.log_policy[0] + shift, axis=-1)) > least
    assert expected(jnp.log(jnp.einsum("f,fxy->xy", result.weights[0], jnp.exp(members)))) > least


def test_free_utilities_against_an_integral():
    """One context, two responses: the difference of two utilities is N(0, 2 spread^2), integrated numerically."""
    pairs = jnp.asarray([[[3.0, 9.0], [2.0, 1.0]]])[None]
    counts = likelihoods.Counts(pairs, jnp.zeros((1, 1, 2)), jnp.zeros((1, 1, 2)))

    def integrand(d):
        return np.exp(-9 * np.log1p(np.exp(-d)) - 2 * np.log1p(np.exp(d)) - d**2 / 4) / np.sqrt(4 * np.pi)

    exact = np.log(quad(integrand, -20, 20)[0]) - 4 * np.log(2)
    # Laplace's approximation, not the integral itself.
    assert abs(float(likelihoods.preference_evidence(counts, (1.0,))[0]) - exact) < 0.03


def test_counts_are_those_of_prefixes(case):
    instance, data, _ = case
    counts = likelihoods.count(data, jnp.asarray(SIZES), *instance.problem.log_reference.shape)
    for place, n in enumerate(SIZES):
        x, y, e, c = (np.asarray(a)[:n] for a in (data.contexts, data.responses, data.edits, data.costs))
        pairs, sums = np.zeros(counts.pairs.shape[1:]), np.zeros(counts.cost_sum.shape[1:])
        np.add.at(pairs, (x, y, e), 1)
        np.add.at(sums, (x, y), c)
        np.testing.assert_array_equal(counts.pairs[place], pairs)
        np.testing.assert_allclose(counts.cost_sum[place], sums, atol=1e-12)


def test_order_of_the_class_does_not_matter(case, getkey):
    instance, data, result = case
    order = jax.random.permutation(getkey(), K)
    other = path(instance, data, instance.cost_class[order])
    np.testing.assert_allclose(other.weights, result.weights[:, order], rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(other.log_policy, result.log_policy, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(other.certificate, result.certificate, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(other.members_if_balanced, result.members_if_balanced[:, order])


def test_one_size_is_a_row_of_the_path(case):
    instance, data, result = case
    problem = instance.problem
    part = jax.tree.map(lambda leaf: leaf[: SIZES[1]], data)
    one = eqx.filter_jit(medley.fit)(
        instance.cost_class,
        problem.log_reference,
        part,
        problem.context_probs,
        problem.beta,
        problem.cost_max,
        PRIORS,
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[1], rtol=1e-9, atol=1e-9), one, result)


def test_certificates_cover_their_sets(case):
    instance, data, result = case
    problem = instance.problem
    members = np.asarray(cost_classes.tilted(problem.log_reference, instance.cost_class, problem.beta))
    log_e = evidence.betting_evidence(instance.cost_class, data, problem.cost_max)
    for place, n in enumerate(SIZES):
        inside = np.asarray(log_e[:n]).max(axis=0) < -np.log(PRIORS.delta)
        np.testing.assert_array_equal(result.members[place], inside)
        policy = np.asarray(result.log_policy[place])
        gaps = (np.exp(policy) * (policy - members)).sum(axis=-1) @ np.asarray(problem.context_probs)
        np.testing.assert_allclose(
            result.certificate[place], float(problem.beta) * gaps[inside].max(), rtol=1e-9
        )
    dropped = ~np.asarray(result.members)
    assert not np.any(dropped[:-1] & ~dropped[1:]) and dropped.any()
    assert np.all(np.asarray(result.certificate_if_balanced)[np.asarray(result.balance_refuted)] == np.inf)


def test_certain_priors_leave_one_model(case):
    instance, data, _ = case
    only = dataclasses.replace(PRIORS, balance=1.0, strong=0.0)
    result = path(instance, data, instance.cost_class, only)
    np.testing.assert_allclose(result.models, np.tile([0.0, 1.0, 0.0, 0.0], (len(SIZES), 1)), atol=1e-15)
    counts = likelihoods.count(data, jnp.asarray(SIZES), *instance.problem.log_reference.shape)
    problem = instance.problem
    product = likelihoods.cost_likelihood(
        instance.cost_class, counts, problem.cost_max
    ) + likelihoods.preference_likelihood(instance.cost_class, counts, problem.beta)
    np.testing.assert_allclose(result.weights, jax.nn.softmax(product, axis=-1), rtol=1e-9)


def laws(instance):
    """Laws of edits that have nothing to do with the class: one text excluded, by member another."""
    shape = instance.cost_class.shape
    values = jax.random.normal(jax.random.key(9), shape)
    excluded = jnp.arange(shape[0])[:, None, None] % shape[2] == jnp.arange(shape[2])
    return jax.nn.log_softmax(jnp.where(excluded, -jnp.inf, values), axis=-1)


def test_laws_of_edits_that_are_given(case):
    """One hypothesis more about the edits: the posterior of the two models that trust them, written out."""
    instance, data, _ = case
    problem, given = instance.problem, laws(instance)
    arguments = (instance.cost_class, problem.log_reference)
    counts = likelihoods.count(data, jnp.asarray([7]), *problem.log_reference.shape)
    priors = dataclasses.replace(PRIORS, given=0.5, balance=0.0)
    found = medley.posterior(*arguments, counts, problem.beta, problem.cost_max, priors, given)
    cost = np.asarray(likelihoods.cost_likelihood(instance.cost_class, counts, problem.cost_max))[0]
    mixed = np.stack(
        [likelihoods.edit_likelihood(*arguments, counts, problem.beta, share)[0] for share in PRIORS.shares]
    )
    direct = [
        sum(float(law[x, e]) for x, e in zip(data.contexts[:7], data.edits[:7], strict=True)) for law in np.asarray(given)
    ]  # fmt: skip
    edits = 0.5 * np.exp(direct) + 0.5 * 0.4 * np.exp(mixed).mean(axis=0)
    free = np.exp(
        np.asarray(likelihoods.edit_evidence(problem.log_reference, counts, PRIORS.concentrations))[0]
    )
    loose = 0.3 * 0.5 * ((edits / 0.7).mean() + free)
    weights = np.exp(cost - cost.max()) * (edits + loose)
    np.testing.assert_allclose(found.weights[0], weights / weights.sum(), rtol=1e-9)
    np.testing.assert_allclose(
        found.models[0, 2], (np.exp(cost - cost.max()) * edits).sum() / weights.sum(), rtol=1e-9
    )


def test_laws_change_no_certificate_and_bad_ones_are_refused(case):
    instance, data, result = case
    problem, given = instance.problem, laws(instance)
    arguments = (instance.cost_class, problem.log_reference, data, problem.context_probs, problem.beta)
    one = medley.fit(*arguments, problem.cost_max, PRIORS, log_laws=given)
    np.testing.assert_array_equal(one.members, result.members[-1])
    assert not np.allclose(one.weights, result.weights[-1])
    with pytest.raises(ValueError, match=r"log_laws: shape \(7, "):
        medley.fit(*arguments, problem.cost_max, PRIORS, log_laws=given[1:])


@pytest.mark.parametrize("sizes", [(), (0, 5), (5, 5), (9, 4), (N + 1,)])
def test_bad_sizes(case, sizes):
    instance, data, _ = case
    problem = instance.problem
    with pytest.raises(ValueError, match=r"sizes: got .* must be ascending in \[1, 60\]"):
        medley.fit_path(
            instance.cost_class, problem.log_reference, data, problem.context_probs, 0.1, 1.0, sizes
        )


def test_bad_class(case):
    instance, data, _ = case
    problem = instance.problem
    with pytest.raises(ValueError, match=r"cost_class: shape \(8, 2, 5\), must be \(F, X, Y\)"):
        medley.fit(instance.cost_class[..., :5], problem.log_reference, data, problem.context_probs, 0.1, 1.0)


@pytest.mark.parametrize(
    "field, value",
    [
        ("balance", 1.5),
        ("given", 1.0),
        ("strong", -0.1),
        ("shares", (0.0,)),
        ("shares", ()),
        ("spreads", (0.0,)),
        ("delta", 0.0),
    ],
)
def test_bad_priors(field, value):
    with pytest.raises(ValueError, match=field):
        medley.Medley(**{field: value})


def test_masked_data_type():
    """Costs that no Gaussian fits exactly do not divide by zero: noise-free costs, one response."""
    data = EditDataset(jnp.zeros(4, int), jnp.zeros(4, int), jnp.zeros(4, int), jnp.zeros(4))
    counts = likelihoods.count(data, jnp.asarray([4]), 1, 2)
    found = likelihoods.cost_likelihood(jnp.zeros((2, 1, 2)), counts, 1.0)
    assert bool(jnp.all(jnp.isfinite(found)))
