# %% [markdown]
# # A first problem
#
# A user, a log of their edits, a policy learned from it, and the exact price of what was learned. Runs in a
# few seconds.
#
# Terms: a **context** is what was asked, a **response** what the model wrote, an **edit** what the user
# made of it. A **policy** is a law of responses for each context, here as log-probabilities. Its **SubOpt**
# is how much worse than the best policy it is, in the units of the edit cost.

# %%
import jax
import jax.numpy as jnp

from edittheory import balanced_problem, bounds, learners

distance = 1.0 - jnp.eye(8)  # eight responses, all equally far apart
optimal = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (3, 8)))  # what the user wants
problem = balanced_problem(jnp.ones(3) / 3, optimal, distance, beta=0.3, strength=0.2, locality=1.0).check()
print("contexts and responses:", problem.log_reference.shape)
print(f"SubOpt of the model that wrote the log: {problem.suboptimality(problem.log_reference):.4f}")

# %% [markdown]
# The user is *balanced*: of two texts, edits end in one more often than in the other exactly as their costs
# differ. `strength` is the share of edits that go straight to a draw from the best policy; the rest are
# small steps towards it.
#
# ## A log, and three learners
#
# Each interaction says three things: the edit is a label, it is preferred to the response, and it cost
# something. SUP uses the labels, PREF the preferences, RL plug-in the costs. All choose from the same class
# of policies, which holds the best one.

# %%
data = problem.sample(jax.random.key(1), 1000)
x, y, edit = int(data.contexts[0]), int(data.responses[0]), int(data.edits[0])
print(f"the first edit: in context {x} response {y} became {edit}, which cost {data.costs[0]:.0f}")
rivals = jax.nn.log_softmax(jax.random.normal(jax.random.key(2), (30, 3, 8)))
log_class = jnp.concatenate([rivals, problem.edited(problem.log_reference)[None], optimal[None]])
costs = -problem.beta * (log_class - problem.log_reference)
costs = costs - costs[..., :1] + problem.expected_cost[:, :1]  # the costs that make each member best

names = ("SUP", "PREF", "RL plug-in")


def learned_from(log):
    policies = (
        log_class[learners.supervised(log_class, log)],
        log_class[learners.preference(log_class, problem.log_reference, log)],
        learners.pessimistic_cost(costs, problem.log_reference, log, problem.beta, radius=0.0),
    )
    return problem.suboptimality(jnp.stack(policies))


for n in (20, 100, 1000):
    keys = jax.random.split(jax.random.key(3), 200)
    found = jax.vmap(lambda key, n=n: learned_from(problem.sample(key, n)))(keys)  # 200 logs at once
    print(
        f"n = {n:5,}  "
        + "  ".join(f"{name} {mean:.4f}" for name, mean in zip(names, found.mean(axis=0), strict=True))
    )

# %% [markdown]
# Means over 200 logs. SubOpt is computed, not estimated: the problem is small enough to enumerate. SUP
# stops getting better: it learns the law of the *edits*, which for a user of strength 0.2 is not yet the
# best policy. That is its bias, and B1(b) says how large it can be.
#
# ## What the theory promises

# %%
for name, bound in (
    ("B1(b), SUP", bounds.supervised(problem, log_class, n=1000, delta=0.05, form="exact_bias")),
    ("B2(c), PREF", bounds.preference(problem, log_class, n=1000, delta=0.05, form="fast")),
):
    print(f"{name}: SubOpt at most {bound.value:.3g} with chance 95%; made of",
          {term: float(f"{value:.3g}") for term, value in bound.terms.items()})  # fmt: skip

# %% [markdown]
# Right, and loose. [Statements](../statements.md) has every bound with its proof and how often it failed on
# random problems; [Certificates](certificates.py) are bounds from the log alone, and much closer.
