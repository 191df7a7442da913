"""One trial of a verification: a random instance with one log, and what every learner makes of it."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from edittheory.core.logspace import log_normalise
from edittheory.learn import learners
from edittheory.problem import EditProblem, cost_classes
from edittheory.problem.random_problems import Instance


class Trial(eqx.Module):
    """One instance, and what the learners make of one data set of n interactions.

    probe: a random policy for the deterministic statements; sup, pref, rl: the learned policies; rl_in_class: the
    minimiser of the pessimistic objective over the finite policy class on n fresh sampled contexts; members, pessimistic:
    confidence set and its largest cost; set_error: sum_i (f_hat - c)^2 over the data.
    """

    instance: Instance
    n: Float[Array, ""]
    delta: Float[Array, ""]
    probe: Float[Array, "X Y"]
    sup: Float[Array, "X Y"]
    pref: Float[Array, "X Y"]
    rl: Float[Array, "X Y"]
    rl_in_class: Float[Array, "X Y"]
    members: Bool[Array, " F"]
    pessimistic: Float[Array, "X Y"]
    set_error: Float[Array, ""]

    @property
    def problem(self) -> EditProblem:
        """The instance's problem."""
        return self.instance.problem

    @property
    def policies(self) -> Float[Array, "3 X Y"]:
        """What a statement about any policy is tried on: the probe, SUP's and RL's."""
        return jnp.stack([self.probe, self.sup, self.rl])


def make_trial(key: PRNGKeyArray, instance: Instance, n: int, delta: float | Float[Array, ""]) -> Trial:
    """Draw n interactions, train every learner, draw a probe."""
    data_key, probe_key, context_key = jax.random.split(key, 3)
    problem, log_class, cost_class = instance.problem, instance.log_class, instance.cost_class
    data = problem.sample(data_key, n)
    radius = cost_classes.confidence_radius(problem.cost_max, instance.num_candidates, delta)
    members = cost_classes.confidence_set(cost_class, data, radius)
    pessimistic = cost_classes.pessimistic(cost_class, members)
    values = cost_classes.predictions(cost_class, data)
    error = values[cost_classes.least_squares(cost_class, data)] - values[instance.truth]
    # The law of n sampled contexts: counts of uniforms between the steps of the cumulative law.
    steps = jnp.cumsum(problem.context_probs)
    fresh = jnp.minimum(
        jnp.searchsorted(steps, jax.random.uniform(context_key, (n,)) * steps[-1], side="right"),
        len(steps) - 1,
    )
    empirical = jnp.zeros(problem.num_contexts).at[fresh].add(1.0 / n)
    chosen = learners.cost_in_class(log_class, problem.log_reference, pessimistic, problem.beta, empirical)
    return Trial(
        instance=instance,
        n=jnp.asarray(n, dtype=float),
        delta=jnp.asarray(delta, dtype=float),
        probe=_probe(probe_key, problem),
        sup=log_class[learners.supervised(log_class, data)],
        pref=log_class[learners.preference(log_class, problem.log_reference, data)],
        rl=cost_classes.tilted(problem.log_reference, pessimistic, problem.beta),
        rl_in_class=log_class[chosen],
        members=members,
        pessimistic=pessimistic,
        set_error=jnp.sum(error**2),
    )


def _probe(key: PRNGKeyArray, problem: EditProblem) -> Float[Array, "X Y"]:
    """A random policy: near to or far from the optimum, smooth or two-valued against it."""
    noise = jax.random.normal(key, (problem.num_contexts + 1, problem.num_responses))
    settings, noise = jax.scipy.stats.norm.cdf(noise[0, :2]), noise[1:]
    scale = jnp.exp(jnp.log(0.05) + settings[0] * jnp.log(4.0 / 0.05))
    noise = jnp.where(settings[1] < 0.5, noise, jnp.sign(noise))
    return log_normalise(problem.log_optimal + scale * noise)
