# %% [markdown]
# # Certificates
#
# The bounds of the theory contain what nobody knows: coverage, the best policy, the class's extremes. A
# **certificate** is an upper bound on SubOpt computed from the log alone. It may be wrong with chance
# delta, here 10%. This notebook computes one, compares it with the truth, and then breaks it.

# %%
import jax
import jax.numpy as jnp

from edittheory import balanced_problem, bounds, certificates, learners
from edittheory.problem import EditProblem, users

DELTA, BETA = 0.1, 0.3
contexts = jnp.ones(3) / 3
distance = 1.0 - jnp.eye(6)
optimal = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (3, 6)))
problem = balanced_problem(contexts, optimal, distance, beta=BETA, strength=0.3, locality=1.0).check()
direction = jax.random.normal(jax.random.key(1), (3, 6))
steps = jnp.linspace(-1.0, 1.0, 41)
log_class = jax.nn.log_softmax(
    optimal + steps[:, None, None] * direction
)  # 41 policies on a line, the best in the middle

# %% [markdown]
# ## One log
#
# The certificate: of all policies in the class, keep those that the log's preferences do not contradict;
# the worst that they could say of the learned policy is the bound.


# %%
@jax.jit
def one(key, problem):
    data = problem.sample(key, 300)
    chosen = learners.preference(log_class, problem.log_reference, data)
    found = certificates.preference(log_class, problem.log_reference, data, contexts, BETA, DELTA)
    return found.certificate[chosen], problem.suboptimality(log_class[chosen]), found.members.sum()


value, realised, kept = one(jax.random.key(2), problem)
theory = bounds.preference(problem, log_class, n=300, delta=DELTA, form="hellinger").value
print(
    f"certificate {value:.4f}, true SubOpt {realised:.4f}, bound B2(b) {theory:.3g}; {kept} of {len(log_class)} policies kept"
)

# %% [markdown]
# ## Is it right nine times in ten?
#
# 400 logs. A certificate is wrong when the true SubOpt is above it.

# %%
keys = jax.random.split(jax.random.key(3), 400)
values, truths, _ = jax.vmap(lambda key: one(key, problem))(keys)
wrong = float(jnp.mean(truths > values * (1 + 1e-9)))
print(
    f"balanced user: wrong in {wrong:.1%} of 400 logs (promised: at most {DELTA:.0%}); median certificate {jnp.median(values):.4f}"
)

# %% [markdown]
# ## What breaks it
#
# The proof needs a balanced user. One with a habit, who in 30% of the edits writes the same text whatever
# was asked, is not balanced, and the log's preferences then speak for the habit.

# %%
habit = users.habit(problem.user, jax.nn.one_hot(0, 6), 0.3)
stubborn = EditProblem(contexts, problem.log_reference, habit, distance, problem.beta).check()
values, truths, _ = jax.vmap(lambda key: one(key, stubborn))(keys)
wrong = float(jnp.mean(truths > values * (1 + 1e-9)))
print(f"a 30% habit: wrong in {wrong:.1%} of 400 logs")

# %% [markdown]
# The best policy for that user is no longer in the class either, so both assumptions fail at once.
# Certificates from costs alone do not need balance, and a test says when balance does not hold:
# [certificates, with proofs](../theory-certificates.md); measured over many problems: `edittheory run
# exact_certificates`.
