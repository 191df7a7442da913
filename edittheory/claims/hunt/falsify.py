"""The search for counterexamples to deterministic statements: gradient ascent on log(left / right) from many starts.

Problems are differentiable functions of the vectors of `attack_space`, so a statement left <= right is attacked by climbing
its log-ratio. A would-be refutation must exceed the right side by more than float64 rounding can, and must stand in the
extended-precision recomputation of `plain_oracle`; without either a climb to a ratio of exactly 1 would end in a false one.
Statistical statements: `falsify_random`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from edittheory.claims.exact import plain_oracle
from edittheory.claims.exact.attack_space import Point, Space, starting_vectors
from edittheory.claims.statement import Attack, rounding
from edittheory.core.validation import check_int, check_not_empty, check_positive

TINY = 1e-300


class Check(NamedTuple):
    """Both sides of one statement at one point, where they are worst, and whether the point refutes it.

    ratio: left / (right + allowance), allowance = rounding times the scale; refuted: left exceeds right by more than the
    allowance in float64 and in the extended-precision oracle. confirmed: False where there is no oracle of that name, as for
    a claim of a user's own: then float64 alone has spoken.
    """

    left: float
    right: float
    ratio: float
    refuted: bool
    confirmed: bool = True

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        if not self.refuted:
            return "stands"
        return "refuted" if self.confirmed else "refuted in float64, not confirmed"


class Found(NamedTuple):
    """The worst instance found for one attack: its vector, what it gives, and how many starts and steps it took."""

    name: str
    theta: Float[np.ndarray, " d"]
    check: Check
    starts: int
    steps: int


def log_ratio(attack: Attack, point: Point) -> Float[Array, ""]:
    """The largest entry of log left - log(right + allowance); very negative where the left side is not positive."""
    left, right, scale = attack.sides(point)
    safe = jnp.maximum(right, 0.0) + rounding() * scale
    return jnp.max(jnp.log(jnp.maximum(left, TINY)) - jnp.log(safe))


def arrays_of(point: Point) -> dict[str, np.ndarray]:
    """What a point is made of, as plain arrays: the argument of `plain_oracle.Case` and the content of an instance file."""
    problem = point.problem
    found = {
        "context_probs": problem.context_probs,
        "log_reference": problem.log_reference,
        "user": problem.user,
        "distance": problem.distance,
        "beta": problem.beta,
        "log_class": point.instance.log_class,
        "cost_class": point.instance.cost_class,
        "probe": point.probe,
        "time": point.time,
        "delta": point.delta,
    }
    return {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}


def _sides(attacks: tuple[Attack, ...], points: list[Point]) -> list[tuple[Array, Array, Array]]:
    """The sides of each attack at its own point."""
    sides = [attack.sides(point) for attack, point in zip(attacks, points, strict=True)]
    return [tuple(jnp.asarray(side, dtype=float) for side in three) for three in sides]  # type: ignore[misc]


FAST = {"xla_backend_optimization_level": 0}
"""Options of XLA for programs that take longer to compile than they run."""
_jit: Any = eqx.filter_jit  # its annotations leave out what it hands on to jax.jit
_sides_of = {fast: _jit(_sides, compiler_options=FAST if fast else None) for fast in (False, True)}


def check(attack: Attack, point: Point) -> Check:
    """Evaluate a statement at a concrete point, twice: with the package in float64, with plain NumPy in extended precision."""
    return check_all((attack,), [point])[0]


def check_all(attacks: Sequence[Attack], points: Sequence[Point], fast: bool = False) -> list[Check]:
    """`check` of each attack at its own point, compiled as one program; fast: at XLA's lowest level."""
    found = _sides_of[fast](tuple(attacks), list(points))
    return [_judge(attack, point, sides) for attack, point, sides in zip(attacks, points, found, strict=True)]


def _judge(attack: Attack, point: Point, sides: tuple[Array, Array, Array]) -> Check:
    left, right, scale = np.broadcast_arrays(*(np.asarray(side) for side in sides))
    allowance = rounding() * scale
    ratio = np.maximum(left, TINY) / (np.maximum(right, 0.0) + allowance)
    worst = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    refuted = bool(left[worst] > right[worst] + allowance[worst])
    oracle = plain_oracle.ORACLES.get(attack.name)
    if refuted and oracle is not None:
        case = plain_oracle.Case(arrays_of(point))
        again = np.broadcast_arrays(*oracle(case))
        refuted = bool(np.max(again[0] - again[1] - np.max(allowance)) > 0)
    return Check(float(left[worst]), float(right[worst]), float(ratio[worst]), refuted, oracle is not None)


class _Climb(NamedTuple):
    theta: Array
    optimiser: optax.OptState
    best_value: Array
    best_theta: Array


def _ascend(attacks: tuple[Attack, ...], space: Space, climb: _Climb, which: Array, rate: Array, steps: int):
    """`steps` of Adam on all starts at once; the best point so far of each attack, whichever start it came from."""
    adam = optax.scale_by_adam(b1=0.9, b2=0.99)

    def objective(theta, mine):
        point = space.decode(theta)
        ratios = jnp.stack([log_ratio(attack, point) for attack in attacks])
        return ratios[mine], ratios

    slope = jax.vmap(jax.value_and_grad(objective, has_aux=True))

    def step(climb: _Climb, rate):
        (_, ratios), gradient = slope(climb.theta, which)
        ratios = jnp.where(jnp.isnan(ratios), -jnp.inf, ratios)
        top = jnp.argmax(ratios, axis=0)
        value = jnp.max(ratios, axis=0)
        better = value > climb.best_value
        best_theta = jnp.where(better[:, None], climb.theta[top], climb.best_theta)
        best_value = jnp.where(better, value, climb.best_value)
        gradient = jnp.where(jnp.isfinite(gradient), gradient, 0.0)
        update, optimiser = adam.update(gradient, climb.optimiser)
        theta = climb.theta + rate * update
        return _Climb(theta, optimiser, best_value, best_theta), None

    climb, _ = jax.lax.scan(step, climb, rate, length=steps)
    return climb


_ascend_of = {fast: _jit(_ascend, compiler_options=FAST if fast else None) for fast in (False, True)}


def falsify(
    attacks: Sequence[Attack],
    space: Space,
    key,
    *,
    starts: int = 100,
    steps: int = 300,
    rate: float = 0.1,
    chunk: int = 100,
    apart: bool = False,
) -> list[Found]:
    """The worst point found for each attack of one space, by gradient ascent from `starts` random vectors for each of them.

    All attacks climb in one compiled program, `starts` of them for each, in chunks of `chunk` steps, with a step size that
    falls from `rate` to a hundredth of it; every attack is evaluated at every point that any of them visits. With `apart`
    those of one source have a program of their own, compiled fast, and see each other's points only. Raises
    ValueError naming the argument, FloatingPointError where a statement was not a number everywhere.
    """
    attacks = tuple(check_not_empty("attacks", attacks))
    check_int("starts", starts, 1)
    check_int("steps", steps, 1)
    check_int("chunk", chunk, 1)
    check_positive("rate", rate)
    for attack in attacks:
        if attack.balanced != space.balanced:
            raise ValueError(
                f"attacks: {attack.name} needs a space with balanced = {attack.balanced}, but it is {space.balanced}"
            )
    theta = np.asarray(starting_vectors(key, space, starts * len(attacks)))
    rounds = -(-steps // chunk)
    rates = rate * 0.01 ** np.linspace(0.0, 1.0, rounds * chunk)
    vectors = np.zeros((len(attacks), space.size))
    sources = np.array([attack.source if apart else "all" for attack in attacks])
    for source in dict.fromkeys(sources):
        mine = np.flatnonzero(sources == source)
        own = theta.reshape(len(attacks), starts, -1)[mine].reshape(-1, space.size)
        vectors[mine] = _climbed(tuple(attacks[i] for i in mine), space, own, rates, chunk, apart)
    checks = check_all(attacks, points_of(space, vectors), apart)
    return [
        Found(attack.name, vector, result, starts, rounds * chunk)
        for attack, vector, result in zip(attacks, vectors, checks, strict=True)
    ]


def _climbed(
    attacks: tuple[Attack, ...], space: Space, theta: np.ndarray, rates: np.ndarray, chunk: int, fast: bool
) -> np.ndarray:
    """The best vector of each attack; the rows of theta are its starts, as many for each."""
    which = jnp.asarray(np.repeat(np.arange(len(attacks)), len(theta) // len(attacks)))
    climb = _Climb(
        jnp.asarray(theta),
        optax.scale_by_adam().init(theta),
        jnp.asarray(np.full(len(attacks), -np.inf, dtype=theta.dtype)),
        jnp.asarray(np.zeros((len(attacks), space.size), dtype=theta.dtype)),
    )
    for number in range(len(rates) // chunk):
        piece = jnp.asarray(rates[number * chunk : (number + 1) * chunk])
        climb = _ascend_of[fast](attacks, space, climb, which, piece, chunk)
    for attack, value in zip(attacks, np.asarray(climb.best_value), strict=True):
        if not np.isfinite(value):
            raise FloatingPointError(f"{attack.name}: not a number at every point that was visited")
    return np.asarray(climb.best_theta)


@eqx.filter_jit
def decode(space: Space, vectors: Float[Array | np.ndarray, "S d"]) -> Point:
    """The points of several vectors, as one with a leading axis."""
    return jax.vmap(space.decode)(vectors)


ROWS = 64
"""Vectors that `points_of` decodes at a time, so that one program serves any number of them."""


def points_of(space: Space, vectors: Float[Array | np.ndarray, "S d"]) -> list[Point]:
    """The points of several vectors."""
    vectors = np.asarray(vectors)
    found: list[Point] = []
    for first in range(0, len(vectors), ROWS):
        part = vectors[first : first + ROWS]
        padded = np.concatenate([part, np.repeat(part[-1:], ROWS - len(part), axis=0)])
        batch = jax.tree.map(np.asarray, decode(space, padded))
        found += [jax.tree.map(lambda leaf, row=row: leaf[row], batch) for row in range(len(part))]
    return found
