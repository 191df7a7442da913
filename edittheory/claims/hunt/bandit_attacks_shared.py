"""Claims about ensembles that know how sure they are, O10 and O11, to be attacked by `falsify_bandits`; as in `bandit_attacks`."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.bounds import online, online_shared
from edittheory.claims.hunt.bandit_attacks import BanditAttack, gaps_of, policies
from edittheory.deploy.elimination import SharedElimination
from edittheory.deploy.ensembles import Bandit, theory_exploration
from edittheory.deploy.floors import FlooredEnsemble, Floors
from edittheory.deploy.optimistic import SharedUCB
from edittheory.deploy.sharing import overlap

ROUNDS = 150
"""Rounds of an attack on O10's index, whose round costs as much as there are rounds."""
DELTA, OFTEN = 0.05, 0.5
"""delta where regret is attacked, and where the intervals are."""


class _NoUnion(SharedUCB):
    """Intervals of one vector of counts that is fixed in advance, by shared feedback alone."""

    def levels(self):
        """log(1 / delta), and own means that say nothing."""
        return jnp.log(1.0 / self.delta), jnp.asarray(jnp.inf)


def _laws(count: int) -> Float[Array, "K 1 K"]:
    return jnp.log(policies(count))[:, None]


@eqx.filter_jit
def _play(
    ensemble: Bandit, means: Array, keys: Array, horizon: int, judged: bool, seen: Float[Array, ""]
) -> Float[Array, "S D"]:
    """Regret of each run, or (judged) whether an interval of some policy missed its value in some round.

    seen: 1; at 0 every answer is reported as equally likely under all policies.
    """
    laws = policies(means.shape[-1])

    def run(mean, key):
        values = laws @ mean
        gaps = gaps_of(values)
        own, play_key = jax.random.split(key)

        def missed(intervals):
            return jnp.any((values < intervals.low) | (values > intervals.high)).astype(mean.dtype)

        def play(state, luck):
            if judged:  # before the round, which needs the same intervals
                intervals = ensemble.intervals(state)  # type: ignore[attr-defined]
                arm, outcome = ensemble.choose(state, intervals), missed(intervals)  # type: ignore[attr-defined]
            else:
                arm = ensemble.select(state)
                outcome = gaps[arm]
            response = jnp.sum(jnp.cumsum(laws[arm])[:-1] <= luck[0])
            cost = (luck[1] < mean[response]).astype(mean.dtype)
            state = ensemble.update(state, arm, cost, log_probs=seen * jnp.log(laws[:, response]))
            return state, outcome

        luck = jax.random.uniform(play_key, (horizon, 2), dtype=mean.dtype)
        state, outcome = jax.lax.scan(play, ensemble.init(own), luck)
        if judged:
            return jnp.maximum(jnp.max(outcome), missed(ensemble.intervals(state)))  # type: ignore[attr-defined]
        return jnp.sum(outcome)

    return jax.vmap(lambda mean, row: jax.lax.map(lambda key: run(mean, key), row, batch_size=48))(
        means, keys
    )


def _intervals(kind: type[SharedUCB], blind: bool = False) -> Callable[[Array, Array, int], Array]:
    def play(means: Array, keys: Array, horizon: int) -> Array:
        ensemble = kind(_laws(means.shape[-1]), jnp.ones(1), 1.0, horizon, OFTEN)
        return _play(ensemble, means, keys, horizon, True, jnp.asarray(float(not blind)))

    return play


def _often(means: Array, horizon: int) -> Array:
    return jnp.full(means.shape[:-1], OFTEN)


def _index(means: Array, keys: Array, horizon: int) -> Array:
    ensemble = SharedUCB(_laws(means.shape[-1]), jnp.ones(1), 1.0, horizon, DELTA)
    return _play(ensemble, means, keys, horizon, False, jnp.ones(()))


def _index_bound(means: Array, horizon: int) -> Array:
    count = means.shape[-1]
    gaps, shared = gaps_of(means @ policies(count).T), overlap(_laws(count), jnp.ones(1))
    return online_shared.index(gaps, shared, 1.0, horizon, DELTA).terms["expected"]


def _in_phases(count: int, horizon: int) -> SharedElimination:
    return SharedElimination(_laws(count), jnp.ones(1), 1.0, horizon, DELTA, min(32, horizon))


def _elimination(means: Array, keys: Array, horizon: int) -> Array:
    ensemble = _in_phases(means.shape[-1], horizon)
    return _play(ensemble, means, keys, horizon, False, jnp.ones(()))


def _elimination_bound(means: Array, horizon: int) -> Array:
    count = means.shape[-1]
    gaps = gaps_of(means @ policies(count).T)
    ensemble = _in_phases(count, horizon)
    found = online_shared.elimination(gaps, ensemble.size, 1.0, horizon, DELTA, ensemble.first)
    return found.terms["expected"]


SLACK = 0.1
"""How far floors lie below the policies' values in O11's attacks."""


@eqx.filter_jit
def _play_floored(means: Array, keys: Array, horizon: int, excess: Float[Array, ""]) -> Float[Array, "S D"]:
    def run(mean, key):
        gaps = gaps_of(mean)
        low = jnp.where((gaps == 0) & (excess > 0), mean + excess, mean - SLACK)
        floors = Floors(low, jnp.full_like(low, jnp.inf))
        ensemble = FlooredEnsemble(len(mean), theory_exploration(1.0), floors)

        def step(state, uniform):
            arm = ensemble.select(state)
            cost = (uniform < mean[arm]).astype(mean.dtype)
            return ensemble.update(state, arm, cost), gaps[arm]

        uniforms = jax.random.uniform(key, (horizon,), dtype=mean.dtype)
        return jnp.sum(jax.lax.scan(step, ensemble.init(), uniforms)[1])

    return jax.vmap(lambda mean, row: jax.vmap(lambda key: run(mean, key))(row))(means, keys)


def _floored(excess: float) -> Callable[[Array, Array, int], Array]:
    """Regrets of FlooredEnsemble; the best policy's floor lies `excess` above its value, or SLACK below where that is 0."""
    return lambda means, keys, horizon: _play_floored(means, keys, horizon, jnp.asarray(excess))


def _floored_bound(excess: float) -> Callable[[Array, int], Array]:
    def right(means: Array, horizon: int) -> Array:
        gaps = gaps_of(means)
        return online.floored(gaps, gaps > SLACK + excess, 1.0, horizon, excess).value

    return right


_HELD, _EXCEEDED = _floored_bound(0.0), _floored_bound(0.05)
TRUE = (
    BanditAttack("O10.intervals", "O10", "the chance that an interval of SharedUCB ever misses, delta = .5", _often,
                 shared=True, play=_intervals(SharedUCB), most=ROUNDS),
    BanditAttack("O10.index", "O10", "E regret of SharedUCB", _index_bound, shared=True, play=_index, most=ROUNDS),
    BanditAttack("O11.floors", "O11", "E regret of FlooredEnsemble with floors .1 below the values", _HELD,
                 play=_floored(0.0)),
    BanditAttack("O11.excess", "O11", "the same with the best policy's floor .05 above its value", _EXCEEDED,
                 play=_floored(0.05)),
    BanditAttack("O10.elimination", "O10", "E regret of SharedElimination", _elimination_bound, shared=True,
                 play=_elimination),
)  # fmt: skip
MUTANTS = (
    BanditAttack("mutant.O11.false", "O11", "the bound of floors that hold, with one .5 too high", _HELD, True,
                 play=_floored(0.5)),
    BanditAttack("mutant.O11.excess", "O11", "a fifth of the bound with a floor .05 too high", _EXCEEDED, True,
                 play=_floored(0.05), share=0.2),
    BanditAttack("mutant.O11.floors", "O11", "a tenth of the bound of floors that hold", _HELD, True,
                 play=_floored(0.0), share=0.1),
    BanditAttack("mutant.O10.union", "O10", "the intervals without a union over counts", _often, True, True,
                 play=_intervals(_NoUnion), most=ROUNDS),
    BanditAttack("mutant.O10.weights", "O10", "the intervals with all weights 1", _often, True, True,
                 play=_intervals(SharedUCB, True), most=ROUNDS),
    BanditAttack("mutant.O10.index", "O10", "a fifth of SharedUCB's bound", _index_bound, True, True, play=_index,
                 share=0.2, most=ROUNDS),
    BanditAttack("mutant.O10.elimination", "O10", "a fifth of SharedElimination's bound", _elimination_bound, True, True,
                 play=_elimination, share=0.2),
)  # fmt: skip
