"""One trial of the certificates experiment: an instance, a log with its faults, every confidence set, players and bounds."""

import equinox as eqx
import jax
import jax.numpy as jnp

from edittheory import bounds
from edittheory.certify import certificates, certificates_supervised, certified_policies, evidence
from edittheory.learn import learners
from edittheory.problem import EditDataset, cost_classes, coverage, random_problems
from edittheory.problem.random_problems import Instance, Spaces

SETS = {
    "likelihood ratio": "preference",
    "mixture": "preference",
    "least squares": "cost",
    "squares": "cost",
    "betting": "cost",
    "intersection": "both",
    "average": "both",
    "joint": "both",
    "edits": "edits",
}
"""Every confidence set and what it is made from; only the least-squares set is not valid at every n at once."""
BOUNDS = {
    "B2 paper": "PREF",
    "B2 sharp": "PREF",
    "B2 fast": "PREF",
    "B3 slow": "RL",
    "B3 fast": "RL",
}


@eqx.filter_jit
def draw(family: str, keys, space: Spaces, num_contexts: int, num_candidates: int, beta, habit) -> Instance:
    def one(key):
        if family == "sinkhorn":
            return random_problems.balanced_sinkhorn(key, space, num_contexts, num_candidates)
        tastes = random_problems.on_a_line if family == "line" else random_problems.scattered
        return random_problems.balanced_backwards(
            key, space, num_contexts, num_candidates, beta=beta, habit=habit, tastes=tastes
        )

    return jax.vmap(one)(keys)


def all_members(log_class, log_edited, instance: Instance, prefer, data, sizes, delta):
    """Every set of `SETS` at each size, (M, K); `prefer` is the log with the directions that preferences see."""
    problem, cost_class = instance.problem, instance.cost_class
    likelihood = evidence.preference_log_likelihood(log_class, problem.log_reference, prefer)
    mixture = evidence.mixture_evidence(likelihood)
    betting = evidence.betting_evidence(cost_class, data, problem.cost_max)
    joint = evidence.joint_evidence(likelihood, betting)
    laws = evidence.mixture_evidence(evidence.edit_log_likelihood(log_edited, data))
    gamma = coverage.gamma_min(problem)

    def anytime(log_e, chance):
        return evidence.anytime_members(log_e, chance, sizes)

    def optima(members):
        return certificates_supervised.possible_optima(
            log_class, problem.log_reference, log_edited, members, gamma
        )

    sets = {
        "likelihood ratio": evidence.likelihood_ratio_members(likelihood, delta, sizes=sizes),
        "mixture": anytime(mixture, delta),
        "least squares": evidence.least_squares_members(
            cost_class, data, problem.cost_max, delta, sizes=sizes
        ),
        "squares": anytime(evidence.squares_evidence(cost_class, data, problem.cost_max), delta),
        "betting": anytime(betting, delta),
        "intersection": anytime(mixture, delta / 2) & anytime(betting, delta / 2),
        "average": anytime(evidence.average_evidence(mixture, betting), delta),
        "joint": anytime(evidence.average_evidence(mixture, betting, joint), delta),
        "edits": jax.vmap(optima)(anytime(laws, delta)),
    }
    at = jnp.asarray(sizes) - 1
    preferring = jnp.cumsum(likelihood, axis=0)[at]
    costing = certified_policies.cost_log_likelihood(cost_class, data, problem.cost_max)[at]
    weights = {"preference": preferring, "cost": costing, "both": preferring + costing, "edits": preferring}
    return sets, weights


@eqx.filter_jit
def evaluate(keys, instances: Instance, sizes: tuple[int, ...], delta: float, flips, noise, left_out):
    """Per trial, set and size: whether the set covers, its size, certificate and SubOpt of three players."""

    def one(key, instance):
        problem, num_k = instance.problem, instance.num_candidates
        data_key, flip_key, noise_key = jax.random.split(key, 3)
        data = problem.sample(data_key, max(sizes))
        jitter = noise * problem.cost_max * jax.random.normal(noise_key, (data.size,))
        flip = jax.random.uniform(flip_key, (data.size,)) < flips
        first = jnp.where(flip, data.edits, data.responses)
        second = jnp.where(flip, data.responses, data.edits)
        prefer = EditDataset(data.contexts, first, second, data.costs)
        data = EditDataset(data.contexts, data.responses, data.edits, data.costs + jitter)
        # Leaving the truth out: another member takes its place.
        kept = jnp.where(
            (left_out > 0) & (jnp.arange(num_k) == instance.truth),
            (instance.truth + 1) % num_k,
            jnp.arange(num_k),
        )
        cost_class = instance.cost_class[kept]
        log_edited = instance.log_class[num_k:][kept]
        instance = eqx.tree_at(lambda i: i.cost_class, instance, cost_class)
        log_class = cost_classes.tilted(problem.log_reference, cost_class, problem.beta)
        sets, likelihoods = all_members(log_class, log_edited, instance, prefer, data, sizes, delta)
        fitted = {
            "preference": jnp.argmax(likelihoods["preference"], axis=-1),
            "cost": jnp.argmax(likelihoods["cost"], axis=-1),
        }
        edits = jnp.cumsum(evidence.edit_log_likelihood(log_class, data), axis=0)[jnp.asarray(sizes) - 1]
        fitted |= {"both": fitted["cost"], "edits": jnp.argmax(edits, axis=-1)}

        def player(members, likelihood, index):
            posterior = certified_policies.posterior_player(log_class, likelihood, members)
            centre = certified_policies.reverse_kl_centre(
                log_class, members, problem.context_probs, problem.beta, tolerance=1e-2, most_iterations=150
            )
            plays = jnp.stack([log_class[index], posterior, centre.log_policy])
            certificate = certificates.certify(plays, log_class, members, problem.context_probs, problem.beta)
            return certificate, problem.suboptimality(plays)

        found = {}
        for name, source in SETS.items():
            members = sets[name]
            certificate, realised = jax.vmap(player)(members, likelihoods[source], fitted[source])
            found[name] = {
                "covers": members[:, instance.truth],
                "size": jnp.sum(members, axis=-1),
                "certificate": certificate,
                "realised": realised,
            }
        return found

    return jax.vmap(one)(keys, instances)


@eqx.filter_jit
def ladder(keys, instances: Instance, sizes: tuple[int, ...], delta: float):
    """Theory's bounds on the same logs, and what they bound; each (M,)."""

    def one(key, instance):
        problem = instance.problem
        data = problem.sample(jax.random.split(key, 3)[0], max(sizes))
        cost_class = instance.cost_class
        log_class = cost_classes.tilted(problem.log_reference, cost_class, problem.beta)
        found: dict[str, list] = {name: [] for name in BOUNDS}
        for n in sizes:
            prefix = jax.tree.map(lambda a, n=n: a[:n], data)
            pref = log_class[learners.preference(log_class, problem.log_reference, prefix)]
            # B3 holds with chance 1 - 2 delta' for a set at delta': halve delta.
            radius = cost_classes.confidence_radius(problem.cost_max, cost_class.shape[0], delta / 2)
            rl = learners.pessimistic_cost(cost_class, problem.log_reference, prefix, problem.beta, radius)
            forms = {
                "B2 paper": bounds.preference(problem, log_class, n, delta, "paper", check=False),
                "B2 sharp": bounds.preference(problem, log_class, n, delta, "hellinger", check=False),
                "B2 fast": bounds.preference(problem, log_class, n, delta, "fast", check=False),
                "B3 slow": bounds.cost(problem, cost_class, n, delta / 2, "slow", check=False),
                "B3 fast": bounds.cost(problem, cost_class, n, delta / 2, "fast", rl, check=False),
            }
            for name, bound in forms.items():
                realised = problem.suboptimality(pref if BOUNDS[name] == "PREF" else rl)
                found[name].append(jnp.stack([bound.value, realised]))
        return {name: jnp.stack(pairs) for name, pairs in found.items()}

    return jax.vmap(one)(keys, instances)
