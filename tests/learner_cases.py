"""The learners under test, each with its population target."""

import equinox as eqx

DELTA, WEIGHT, SCALE = 0.1, 0.3, 0.5


draw = eqx.filter_jit(lambda problem, key, n: problem.sample(key, n))


SMALL, LARGE = 43, 200_000  # fewer and far more than the X * Y * Y = 108 cells
