# %% [markdown]
# # Your own learner, your own claim
#
# A learner is a loss on log-probabilities. A claim is two sides of an inequality. Both take a few lines,
# and nothing in the package has to be edited.
#
# ## A learner
#
# `class_loss` turns a loss of one interaction into the mean loss of every member of a finite class. Here:
# IPO, which asks the edit to be ahead of the response by a margin, in the place of DPO's sigmoid.

# %%
import jax
import jax.numpy as jnp

from edittheory import balanced_problem, learners
from edittheory.claims import Claim, falsify_claims, verify
from edittheory.core.logspace import total_variation
from edittheory.learn.class_losses import class_loss


def ipo(logp_edit, logp_response, ref_logp_edit, ref_logp_response, margin=1.0):
    ahead = (logp_edit - ref_logp_edit) - (logp_response - ref_logp_response)
    return (ahead - margin) ** 2


distance = 1.0 - jnp.eye(8)
optimal = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (3, 8)))
problem = balanced_problem(jnp.ones(3) / 3, optimal, distance, beta=0.3, strength=0.2, locality=1.0).check()
rivals = jax.nn.log_softmax(jax.random.normal(jax.random.key(2), (30, 3, 8)))
log_class = jnp.concatenate([rivals, optimal[None]])

# %% [markdown]
# One log says little about a learner. So: 200 logs of the same problem, drawn and learned from at once.


# %%
@jax.jit
def compared(key):
    data = problem.sample(key, 100)
    dpo = learners.preference(log_class, problem.log_reference, data)
    mine = jnp.argmin(class_loss(ipo, log_class, problem.log_reference, data))
    return problem.suboptimality(log_class[jnp.stack([dpo, mine])])


found = jax.vmap(compared)(jax.random.split(jax.random.key(3), 200))
error = 1.96 * found.std(axis=0) / jnp.sqrt(len(found))
for name, mean, half in zip(("DPO (PREF)", "IPO"), found.mean(axis=0), error, strict=True):
    print(f"{name}: mean SubOpt {mean:.4f} +- {half:.4f} (95%)")

# %% [markdown]
# One problem, one margin: this shows how to compare, not which is better. `edittheory run separation`
# compares over 400 random problems.
#
# ## A claim
#
# You believe that one quantity is at most another. Write both sides; `verify` counts violations on random
# problems, `falsify_claims` looks for the problem on which you are most wrong. The first claim below is
# Pinsker's inequality, the second is too good to be true.


# %%
def distance_to_best(view):
    problem = view.problem
    return problem.context_probs @ total_variation(view.probe, problem.log_optimal)


pinsker = Claim(
    "pinsker",
    "D^2 <= SubOpt / (2 beta)",
    lambda v: (distance_to_best(v) ** 2, v.problem.suboptimality(v.probe) / (2 * v.problem.beta)),
)
hopeful = Claim("hopeful", "SubOpt <= c_max D",
                lambda v: (v.problem.suboptimality(v.probe), v.problem.cost_max * distance_to_best(v)))  # fmt: skip

for verdict in verify(claims=(pinsker, hopeful), trials=50, sizes=(30,)):
    print(f"{verdict.claim}: {verdict.violations} of {verdict.trials} violated on random problems")
for worst in falsify_claims(claims=(pinsker, hopeful), starts=4, steps=60):
    print(f"{worst.claim}: {worst.verdict}; left / right = {worst.ratio:.3g} at worst")

# %% [markdown]
# A claim that stands was not refuted by this search, which is no proof. More: [your own
# claim](../your-own-claim.md).
