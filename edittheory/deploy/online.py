"""The deployment protocol: a bandit meets an environment for T rounds, for many seeds in one compiled call."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from edittheory.deploy.deployment import BernoulliArms, Round
from edittheory.deploy.ensembles import Bandit, LateEnsemble, entry


class Trace(NamedTuple):
    """Every round of some seeds (S, T): policy played, cost paid, its expectation given the context, and the regret.

    regret: J_t(policy) - min_k J_t(policy k), expectations over contexts: B4's quantity, summed over rounds.
    """

    arms: Int[Array, "*seeds T"]
    costs: Float[Array, "*seeds T"]
    conditional: Float[Array, "*seeds T"]
    regret: Float[Array, "*seeds T"]


class Curves(NamedTuple):
    """Totals up to each checkpoint (S, C), and how often each policy was played in all (S, K); fields as in `Trace`."""

    checkpoints: Int[Array, " C"]
    costs: Float[Array, "*seeds C"]
    conditional: Float[Array, "*seeds C"]
    regret: Float[Array, "*seeds C"]
    counts: Float[Array, "*seeds K"]


CPU_WIDTH = 256
"""Seeds simulated side by side on a CPU."""

UCB_WIDTH = 1536
"""Seeds times policies for UCB on Bernoulli arms; with more, XLA divides a round among threads, which costs more than the round."""

UCB_POLICIES = 32
"""Policies up to which UCB on Bernoulli arms has a loop of its own, which is written out over them."""


def seed_keys(key: PRNGKeyArray, seed: Int[Array, ""]) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """Keys of a seed: of its environment (the same for every bandit) and of its bandit.

    The number of seeds does not matter.
    """
    own = jax.random.fold_in(key, seed)
    return jax.random.fold_in(own, 0), jax.random.fold_in(own, 1)


def _play(bandit: Bandit, environment, key: PRNGKeyArray, state, t):
    """One round: the new state and (arm, cost, conditional, regret)."""
    now: Round = environment.draw(key, t)
    arm = bandit.select(state, now.context)
    hot = jnp.arange(now.costs.shape[-1]) == arm

    def chosen(values):
        return jnp.sum(jnp.where(hot, values, 0.0))

    cost = chosen(now.costs)
    log_probs = None if now.log_probs is None else now.log_probs[arm]
    state = bandit.update(state, arm, cost, now.context, log_probs)
    return state, arm, cost, chosen(now.conditional), chosen(now.marginal) - jnp.min(now.marginal)


def run(bandit: Bandit, environment, key: PRNGKeyArray, checkpoints: Int[Array, " C"]) -> Curves:
    """One deployment with its totals at increasing `checkpoints`, to be used inside jit and vmap; it checks nothing.

    `simulate`'s seed s is this with the key fold_in(key, s). Fields have no axis of seeds.
    """
    environment_key, bandit_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    labels = jnp.arange(environment.num_policies)
    zero = jnp.zeros(())

    def body(t, carry):
        state, counts, sums = carry
        state, arm, *values = _play(bandit, environment, environment_key, state, t)
        return state, counts + (labels == arm), tuple(a + b for a, b in zip(sums, values, strict=True))

    def segment(carry, ends):
        carry = jax.lax.fori_loop(ends[0], ends[1], body, carry)
        return carry, carry[2]

    starts = jnp.concatenate([jnp.zeros(1, checkpoints.dtype), checkpoints[:-1]])
    first = (bandit.init(bandit_key), jnp.zeros(environment.num_policies), (zero, zero, zero))
    (_, counts, _), records = jax.lax.scan(segment, first, (starts, checkpoints))
    costs, conditional, regret = records
    return Curves(checkpoints, costs, conditional, regret, counts)


@eqx.filter_jit
def _simulate(bandit: Bandit, environment, key: PRNGKeyArray, seeds: Array, checkpoints: Array, width: int):
    def one_seed(seed):
        return run(bandit, environment, jax.random.fold_in(key, seed), checkpoints)[1:]

    return jax.lax.map(one_seed, seeds, batch_size=width)


def _ucb(
    bandit: LateEnsemble, arms: BernoulliArms, key: PRNGKeyArray, seeds: Array, checkpoints: Array, width: int
):
    """`_simulate` of UCB on Bernoulli arms: plays and paid rounds (K, S), the seeds last, so that all passes go along them.

    The arms and words of a round are results of the round before: what needs them reads them, where XLA would hash once more for
    each pass. Sums are counted where `_simulate` adds round by round, so they differ by rounding, the choices not.
    """
    marks = jnp.concatenate([jnp.zeros(1, checkpoints.dtype), checkpoints])
    expected = arms.cost_max * arms.means
    labels = jnp.arange(arms.num_policies, dtype=jnp.int32)[:, None]

    def block(numbers):
        keys = jax.vmap(lambda seed: seed_keys(key, seed)[0])(numbers)

        def words(t):
            return jax.vmap(arms.word, (0, None))(keys, t)

        def body(t, carry):
            plays, paid, played, word = carry
            hot = labels == played
            plays = plays + hot
            paid = paid + (hot & (arms.uniform(word) < entry(arms.means, played)))
            return plays, paid, bandit.choose(plays, arms.cost_max * paid, t + 2.0), words(t + 1)

        def segment(carry, ends):
            carry = jax.lax.fori_loop(ends[0], ends[1], body, carry)
            plays, paid, *_ = carry
            sums = (
                jnp.sum(arms.cost_max * paid, axis=0),
                expected @ plays,
                (expected - jnp.min(expected)) @ plays,
            )
            return carry, sums

        none = jnp.zeros((arms.num_policies, len(numbers)), jnp.int32)
        first = (none, none, jnp.zeros(len(numbers), jnp.int32), words(jnp.asarray(0)))
        (plays, *_), records = jax.lax.scan(segment, first, (marks[:-1], marks[1:]))
        return *(record.T for record in records), plays.T.astype(float)

    blocks = -(-len(seeds) // width)
    width = -(-len(seeds) // blocks)
    padded = jnp.pad(seeds, (0, blocks * width - len(seeds))).reshape(blocks, width)
    rows = jax.lax.map(block, padded)
    return jax.tree.map(lambda part: part.reshape(-1, part.shape[-1])[: len(seeds)], rows)


_jit: Any = eqx.filter_jit  # its annotations leave out what it hands on to jax.jit
# Without this option XLA uses half of the vectors that a CPU with AVX-512 has; elsewhere it does nothing.
_simulate_ucb = _jit(_ucb, compiler_options={"xla_cpu_prefer_vector_width": 512})


@eqx.filter_jit
def _trace(bandit: Bandit, environment, key: PRNGKeyArray, seeds: Array, horizon: int) -> Trace:
    def one_seed(seed):
        environment_key, bandit_key = seed_keys(key, seed)

        def body(state, t):
            state, *row = _play(bandit, environment, environment_key, state, t)
            return state, Trace(*row)

        return jax.lax.scan(body, bandit.init(bandit_key), jnp.arange(horizon))[1]

    return jax.vmap(one_seed)(seeds)


def simulate(
    bandit: Bandit,
    environment,
    key: PRNGKeyArray,
    num_seeds: int,
    horizon: int,
    checkpoints: np.ndarray | None = None,
    first_seed: int = 0,
) -> Curves:
    """Play `horizon` rounds for seeds first_seed .. first_seed + num_seeds - 1, keeping totals at `checkpoints`
    (default: the end).

    One compiled call, in memory O(seeds), whatever the horizon. The rows of a seed depend on `key` and the seed
    alone. On a CPU it goes through the seeds `CPU_WIDTH` at a time, so that their states stay in the cache; on
    other devices through all at once. `LateEnsemble` on `BernoulliArms` has a loop of its own.
    """
    _check(bandit, environment, num_seeds, horizon)
    marks = np.asarray([horizon] if checkpoints is None else checkpoints)
    if marks.ndim != 1 or not np.all(np.diff(np.concatenate([[0], marks])) > 0) or marks[-1] != horizon:
        raise ValueError(
            f"checkpoints: got {marks.tolist()}, must increase from at least 1 to the horizon, {horizon}"
        )
    plain = type(bandit) is LateEnsemble and type(environment) is BernoulliArms
    plain = plain and bandit.num_policies <= UCB_POLICIES
    width = max(1, UCB_WIDTH // bandit.num_policies) if plain else CPU_WIDTH
    width = min(num_seeds, width) if jax.default_backend() == "cpu" else num_seeds
    play = _simulate_ucb if plain else _simulate
    seeds = first_seed + jnp.arange(num_seeds)
    return Curves(jnp.asarray(marks), *play(bandit, environment, key, seeds, jnp.asarray(marks), width))


def trace(
    bandit: Bandit, environment, key: PRNGKeyArray, num_seeds: int, horizon: int, first_seed: int = 0
) -> Trace:
    """Like `simulate`, but every round is kept: memory O(seeds x rounds)."""
    _check(bandit, environment, num_seeds, horizon)
    return _trace(bandit, environment, key, first_seed + jnp.arange(num_seeds), horizon)


def _check(bandit: Bandit, environment, num_seeds: int, horizon: int) -> None:
    if num_seeds < 1:
        raise ValueError(f"num_seeds: got {num_seeds}, must be at least 1")
    if bandit.num_policies != environment.num_policies:
        raise ValueError(
            f"bandit: has {bandit.num_policies} policies, the environment has {environment.num_policies}"
        )
    if horizon < bandit.num_policies:
        raise ValueError(
            f"horizon: got {horizon} rounds for {bandit.num_policies} policies; needs at least one for each policy"
        )


def log_spaced(horizon: int, count: int, also: tuple[int, ...] = (200,)) -> np.ndarray:
    """About `count` checkpoints from 10 to `horizon`, evenly spaced in log t, with those of `also` that fit among
    them.
    """
    grid = np.unique(np.round(np.geomspace(min(10, horizon), horizon, count)).astype(int))
    return np.unique(np.concatenate([grid, [t for t in also if t <= horizon], [horizon]]).astype(int))
