"""The finite user-edit setting, exact by enumeration (docs/theory.md, section A).

`EditProblem` is an equinox module, hence a pytree: every quantity below is differentiable in its fields and vmaps over a
batch of problems (`equinox.filter_vmap`). `check()` looks at concrete values and belongs outside of jit.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from edittheory.core.inlined import inlined
from edittheory.core.logspace import expect, kl, log_normalise, safe_log, squared_hellinger, total_variation
from edittheory.core.shapes import shaped
from edittheory.problem.kernels import balanced_kernel
from edittheory.problem.problem_checks import check_distance, check_law, check_shapes, real, refuse

LARGEST_RATIO = 1e300
"""Of a distance to beta."""


class EditDataset(eqx.Module):
    """n logged interactions: context x_i, response y_i ~ reference, edit y'_i ~ user, cost c_i = distance(y_i, y'_i)."""

    contexts: Int[Array, "*batch N"]
    responses: Int[Array, "*batch N"]
    edits: Int[Array, "*batch N"]
    costs: Float[Array, "*batch N"]

    @property
    def size(self) -> int:
        """The number of interactions, N."""
        return self.contexts.shape[-1]


class EditProblem(eqx.Module):
    """Contexts, a reference policy and a user who edits; theory.md A.

    Fields (X contexts, Y responses):
      context_probs: (X,) law rho of the contexts.
      log_reference: (X, Y) log-probabilities of the reference policy, all finite.
      user: (X, Y, Y) with user[x, y, y'] = q(y'|x, y), the chance that response y is edited into y'.
      distance: (Y, Y), or (X, Y, Y) where responses differ by context: edit distance, zero exactly on the diagonal.
      beta: strength of the regularisation, in units of cost per nat.
    """

    context_probs: Float[Array, "*batch X"] = eqx.field(converter=real("context_probs"))
    log_reference: Float[Array, "*batch X Y"] = eqx.field(converter=real("log_reference"))
    user: Float[Array, "*batch X Y Y"] = eqx.field(converter=real("user"))
    distance: Float[Array, "..."] = eqx.field(converter=real("distance"))
    beta: Float[Array, "*batch"] = eqx.field(converter=real("beta"))

    @property
    def num_contexts(self) -> int:
        """X."""
        return self.log_reference.shape[-2]

    @property
    def num_responses(self) -> int:
        """Y."""
        return self.log_reference.shape[-1]

    @property
    def cost_max(self) -> Float[Array, ""]:
        """The largest edit distance, c_max."""
        return jnp.max(self.distance)

    @property
    def expected_cost(self) -> Float[Array, "X Y"]:
        """c(x, y) = E distance(y, y') over the user's edit y'."""
        return jnp.sum(self.user * self.distance, axis=-1)

    @property
    def log_optimal(self) -> Float[Array, "X Y"]:
        """log pi*, with pi*(y|x) proportional to reference(y|x) exp(-c(x,y)/beta): the minimiser of the objective."""
        return log_normalise(self.log_reference - self.expected_cost / self.beta)

    @shaped
    def value(self, log_policy: Float[Array, "*batch X Y"]) -> Float[Array, "*batch"]:
        """J(pi): the expected edit cost of the policy's responses."""
        return self._over_contexts(expect(log_policy, self.expected_cost))

    @shaped
    def objective(self, log_policy: Float[Array, "*batch X Y"]) -> Float[Array, "*batch"]:
        """J_beta(pi): expected edit cost plus beta times KL(pi || reference)."""
        return self.value(log_policy) + self.beta * self._over_contexts(kl(log_policy, self.log_reference))

    @shaped
    def suboptimality(self, log_policy: Float[Array, "*batch X Y"]) -> Float[Array, "*batch"]:
        """SubOpt(pi) = J_beta(pi) - J_beta(pi*), computed as beta E KL(pi || pi*), which cannot round below zero."""
        return self.beta * self._over_contexts(kl(log_policy, self.log_optimal))

    @shaped
    def total_variation(
        self, log_p: Float[Array, "*batch X Y"], log_q: Float[Array, "*#batch X Y"]
    ) -> Float[Array, "..."]:
        """D(pi, pi') = E_x TV(pi(.|x), pi'(.|x))."""
        return self._over_contexts(total_variation(log_p, log_q))

    @shaped
    def squared_hellinger(
        self, log_p: Float[Array, "*batch X Y"], log_q: Float[Array, "*#batch X Y"]
    ) -> Float[Array, "..."]:
        """E_x H2(pi(.|x), pi'(.|x)), H2 = sum (sqrt p - sqrt q)^2."""
        return self._over_contexts(squared_hellinger(log_p, log_q))

    def _over_contexts(self, values: Float[Array, "*batch X"]) -> Float[Array, "*batch"]:
        """Mean of per-context values; contexts of probability zero do not count, even where the value is infinite."""
        seen = self.context_probs > 0
        return jnp.sum(jnp.where(seen, self.context_probs * jnp.where(seen, values, 0.0), 0.0), axis=-1)

    @shaped
    def edited(self, log_policy: Float[Array, "*batch X Y"]) -> Float[Array, "*batch X Y"]:
        """log-probabilities of q o pi, the law of the text that the user leaves behind when pi answers."""
        return safe_log(jnp.einsum("...xa,xab->...xb", jnp.exp(log_policy), self.user))

    def pair_law(self) -> Float[Array, "X Y Y"]:
        """w(a, b | x) = reference(a|x) q(b|x, a): the law of (response, edit) in context x."""
        return jnp.exp(self.log_reference)[..., None] * self.user

    @shaped
    def with_user(self, user: Float[Array, "X Y Y"]) -> "EditProblem":
        """The same contexts, reference, distance and beta with another user: a shift between training and test."""
        return EditProblem(self.context_probs, self.log_reference, user, self.distance, self.beta)

    @shaped
    def sample(
        self, key: PRNGKeyArray, n: int, log_behaviour: Float[Array, "X Y"] | None = None
    ) -> EditDataset:
        """n i.i.d. interactions, with responses from the reference or from `log_behaviour`.

        One uniform a sample, inverted through the joint law of (x, y, y'): the first m samples of a longer draw with the
        same key are not those of a shorter one, but cells of probability zero are never drawn.
        """
        if n < 1:
            raise ValueError(f"n: got {n}, must be at least 1")
        return _draw(self, key, n, self.log_reference if log_behaviour is None else log_behaviour)

    def costs_of(self, contexts, responses, edits) -> Float[Array, "*batch"]:
        """distance(y, y') of each (x, y, y')."""
        if self.distance.ndim == 2:
            return self.distance[responses, edits]
        return self.distance[contexts, responses, edits]

    def normalised(self, tolerance: float = 1e-5) -> "EditProblem":
        """The problem with every row of probabilities divided by its sum: for rows that were rounded to float32.

        Raises ValueError naming the field and the row of the first sum further than `tolerance` from 1.
        """
        check_shapes(self)
        rows = {
            "context_probs": self.context_probs,
            "log_reference": jnp.exp(self.log_reference),
            "user": self.user,
        }
        for name, probs in rows.items():
            check_law(
                name,
                np.asarray(probs),
                "probabilities of row" if name == "log_reference" else "row",
                tolerance,
            )
        return EditProblem(
            self.context_probs / jnp.sum(self.context_probs),
            log_normalise(self.log_reference),
            self.user / jnp.sum(self.user, axis=-1, keepdims=True),
            self.distance,
            self.beta,
        )

    @classmethod
    def from_counts(
        cls,
        responses: Float[Array, "X Y"] | Int[Array, "X Y"] | np.ndarray,
        edits: Float[Array, "X Y Y"] | Int[Array, "X Y Y"] | np.ndarray,
        distance: Float[Array, "..."] | np.ndarray,
        beta: float | Float[Array, ""],
        smoothing: float = 0.5,
    ) -> "EditProblem":
        """The problem that counts of a log suggest: responses (X, Y), and edits (X, Y, Y) from row y into column y'.

        Contexts get their share of all responses; the reference is that of the responses with `smoothing` added to every
        count, since its support must be full; a response that was never edited is left as it is. Raises ValueError
        naming the field and the place of a count that is negative or not finite, and for a context without responses.
        """
        counts, moves = np.asarray(responses, dtype=float), np.asarray(edits, dtype=float)
        if counts.ndim != 2 or moves.shape != (*counts.shape, counts.shape[-1]):
            raise ValueError(
                f"edits: shape {moves.shape}, must be (X, Y, Y) for responses of shape (X, Y) = {counts.shape}"
            )
        for name, array in (("responses", counts), ("edits", moves)):
            refuse(name, array, ~np.isfinite(array) | (array < 0), "must be a count >= 0")
        if not smoothing > 0:
            raise ValueError(f"smoothing: got {smoothing}, must be positive (the reference has full support)")
        refuse(
            "responses summed by context",
            counts.sum(-1),
            counts.sum(-1) <= 0,
            "must hold at least one response",
        )
        out = moves.sum(axis=-1, keepdims=True)
        user = np.where(out > 0, moves / np.where(out > 0, out, 1.0), np.eye(counts.shape[-1]))
        smooth = counts + smoothing
        reference = jnp.log(jnp.asarray(smooth / smooth.sum(-1, keepdims=True)))
        law = jnp.asarray(counts.sum(-1) / counts.sum())
        return cls(law, reference, jnp.asarray(user), jnp.asarray(distance), jnp.asarray(beta)).check()

    def check(self) -> "EditProblem":
        """The problem itself if it is well formed; otherwise a ValueError that names the field, the row and the value.

        Rows must sum to 1 within TOLERANCE; `normalised` takes those that float32 has rounded.
        """
        check_shapes(self)
        arrays = {name: np.asarray(getattr(self, name)) for name in _FIELDS}
        for name, array in arrays.items():
            refuse(name, array, np.isnan(array), "must not be NaN")
        check_law("context_probs", arrays["context_probs"])
        reference = arrays["log_reference"]
        refuse(
            "log_reference",
            reference,
            ~np.isfinite(reference),
            "must be finite (the reference has full support)",
        )
        check_law("log_reference", np.exp(reference), "probabilities of row")
        check_law("user", arrays["user"])
        check_distance(arrays["distance"])
        if not arrays["beta"] > 0 or np.isinf(arrays["beta"]):
            raise ValueError(f"beta: got {arrays['beta']}, must be positive and finite")
        if not arrays["distance"].max() / LARGEST_RATIO <= arrays["beta"]:
            raise ValueError(
                f"beta: got {arrays['beta']}, must be at least the largest distance over {LARGEST_RATIO:g}, or costs "
                "in units of beta are no numbers"
            )
        return self


def balanced_problem(
    context_probs: Float[Array, " X"],
    log_optimal: Float[Array, "X Y"],
    distance: Float[Array, "..."],
    beta: float | Float[Array, ""],
    strength: float | Float[Array, "..."],
    locality: float | Float[Array, ""],
) -> EditProblem:
    """A problem with a prescribed optimal policy whose user satisfies the balance assumption exactly; theory.md C.

    Built backwards: the user is `kernels.balanced_kernel(log_optimal, distance, strength, locality)`, its expected cost c
    follows, and the reference is proportional to optimal * exp(c / beta), so that the optimum is `log_optimal` again.
    `strength` (scalar or one for each context, in [0, 1]) is the share of edits that go straight to a draw from the
    optimal policy; `locality` >= 0 keeps the other edits short.
    """
    log_optimal = log_normalise(jnp.asarray(log_optimal, dtype=float))
    distance = jnp.asarray(distance, dtype=float)
    user = balanced_kernel(log_optimal, distance, strength, locality)
    cost = jnp.sum(user * distance, axis=-1)
    log_reference = log_normalise(log_optimal + cost / beta)
    return EditProblem(context_probs, log_reference, user, distance, jnp.asarray(beta, dtype=float))


_FIELDS = ("context_probs", "log_reference", "user", "distance", "beta")


@functools.partial(inlined, static_argnames=("n",))
def _draw(problem: EditProblem, key: PRNGKeyArray, n: int, log_answer: Float[Array, "X Y"]) -> EditDataset:
    joint = problem.context_probs[:, None, None] * jnp.exp(log_answer)[..., None] * problem.user
    cumulative = jnp.cumsum(joint.reshape(-1))
    total = cumulative[-1]
    last = jnp.searchsorted(cumulative, total, side="left")
    uniform = jax.random.uniform(key, (n,), dtype=cumulative.dtype)
    cell = jnp.minimum(jnp.searchsorted(cumulative, uniform * total, side="right"), last)
    size = problem.num_responses
    contexts, rest = cell // (size * size), cell % (size * size)
    responses, edits = rest // size, rest % size
    return EditDataset(contexts, responses, edits, problem.costs_of(contexts, responses, edits))
