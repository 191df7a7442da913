"""How loose certificates of log-linear classes are in many dimensions, and of what: the cover of the set, or the maximum over it.

    python benchmarks/certificate_gap.py [--problems 4] [--features 8]

No peer and no time: upper bounds over the best point found in C8's set, medians over problems (3 contexts, 6 responses, delta =
0.1, the policy of the set's centre): the bound without selections, with them (docs/theory-certificates.md, C18), by branch and
bound in few dimensions, and what the divergence reaches on the covering ellipsoid, which no bound over it can go below. The last
line is JSON.
"""

import argparse
import json

import jax
import jax.numpy as jnp
import numpy as np

from edittheory.certify import certificates_parametric, parametric_maximum
from edittheory.learn.policies import LogLinear
from edittheory.problem import EditProblem, balanced_problem, features

SIZES = (30, 100, 300, 1000, 3000)
CONTEXTS, RESPONSES, DELTA = 3, 6, 0.1


def problem(seed: int) -> EditProblem:
    """A balanced problem on a line of responses."""
    places = jnp.arange(RESPONSES) / (RESPONSES - 1)
    optimal = 1.6 * jax.random.normal(jax.random.key(seed), (CONTEXTS, RESPONSES))
    distance = jnp.abs(places[:, None] - places[None, :])
    law = jnp.full(CONTEXTS, 1 / CONTEXTS)
    return balanced_problem(law, jax.nn.log_softmax(optimal), distance, 0.2, 0.4, 2.0)


def reached(divergence, ellipsoid, rng) -> float:
    """The largest divergence found on an ellipsoid, by random search around the best."""
    factor = np.linalg.inv(np.linalg.cholesky(ellipsoid.shape)).T
    best, value = np.zeros(len(factor)), -np.inf
    for spread in (10.0, 0.3, 0.1, 0.03, 0.01):
        ends = best + spread * rng.normal(size=(4000, len(factor)))
        ends /= np.linalg.norm(ends, axis=1, keepdims=True)
        values = divergence.value(ellipsoid.centre + ends @ factor.T)
        if values.max() > value:
            best, value = ends[int(values.argmax())], float(values.max())
    return value


def ratios(seed: int, dimension: int, n: int) -> dict[str, float] | None:
    """Bounds over the best point found; None where no point of the set is known."""
    world = problem(seed)
    ratio = world.log_optimal - world.log_reference
    phi = features.spanning(jax.random.key(100 + seed), ratio[None], dimension)
    theta, _ = features.coefficients(phi, ratio)
    model = LogLinear(phi, world.log_reference, float(2 * jnp.linalg.norm(theta)))
    found = certificates_parametric.preference_set(model, world.sample(jax.random.key(1000 + seed), n), DELTA)
    if found.inner is None:
        return None
    policy = jax.nn.log_softmax(world.log_reference + phi @ jnp.asarray(found.inner))
    divergence = parametric_maximum.Divergence(
        policy, phi, world.log_reference, world.context_probs, float(world.beta)
    )
    low = parametric_maximum.best_found(found, divergence)
    old = parametric_maximum.ellipsoid_bound(divergence, found.outer)
    values = {
        "without selections": old,
        "with selections": min(
            old, parametric_maximum.selection_bound(divergence, found.outer, found.radius)
        ),
        "on the ellipsoid": reached(divergence, found.outer, np.random.default_rng(seed)),
    }
    if dimension <= parametric_maximum.LARGEST_DIMENSION:
        values["branch and bound"] = parametric_maximum.branch_and_bound(found, divergence, low)
    return {name: value / low for name, value in values.items()}


def main() -> None:
    """Print a line for each n, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=4)
    parser.add_argument("--features", type=int, default=8)
    asked = parser.parse_args()
    table = {}
    for n in SIZES:
        each = [one for seed in range(asked.problems) if (one := ratios(seed, asked.features, n)) is not None]
        table[n] = {name: round(float(np.median([one[name] for one in each])), 2) for name in each[0]}
        print(n, table[n], flush=True)
    print(
        json.dumps({"features": asked.features, "problems": asked.problems, "upper over best found": table})
    )


if __name__ == "__main__":
    main()
