"""Does one learner of all feedback keep up with the best of the single ones everywhere, and what is its certificate worth?

Two tracks. "finite": classes of exchangeable random costs, every strength x habit x noise, scored with certificates.
"linear": the worlds of phase_diagram on its panels of user strength, balance violation and cost noise, with its trained
learners. A cell with no strength is the prototype of theory.md B7: strengths drawn at random.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory import medley
from edittheory.certify import certified_policies, evidence
from edittheory.core.trials import map_trials
from edittheory.core.validation import check_each, check_int, check_non_negative, check_probability
from edittheory.learn import learners
from edittheory.medley import likelihoods
from edittheory.problem import EditDataset, cost_classes, random_problems
from edittheory.runs.identity import execution_field, later_field

from . import medley_report, spaces, worlds
from .experiment import Experiment
from .medley_linear import linear_cell
from .phase_diagram import PANELS
from .world_configs import TextWorldConfig, provenance, resolve

LINEAR_PANELS = ("user strength", "balance violation", "cost noise")
PROTOTYPE_HABITS = (0.0, 0.3, 0.7)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TextWorldConfig):
    """strengths, habits, noises: the grid of the finite track, with num_candidates costs; noise is a standard deviation as a
    share of c_max. values: of each knob of the linear track on `spaces`, `linear_trials` worlds each. sample_sizes:
    prefixes of the same logs; linear_sizes: those of the linear track. balance, strong: priors of `edittheory.medley`.
    by_risk: whether the linear track has `linear.BY_RISK` too, as "medley by risk".
    """

    sample_sizes: tuple[int, ...] = (30, 100, 300, 1000)
    strengths: tuple[float, ...] = (0.05, 0.3, 0.9)
    habits: tuple[float, ...] = (0.0, 0.15, 0.3, 0.6)
    noises: tuple[float, ...] = (0.0, 1.0)
    num_candidates: int = 256
    linear_sizes: tuple[int, ...] = (30, 100, 300, 1000, 3000, 10000)
    linear_trials: int = 20
    values: int = 4
    balance: float = medley.DEFAULT.balance
    strong: float = medley.DEFAULT.strong
    supervised_weight: float = 0.1
    by_risk: bool = later_field(False)
    width: int = execution_field(10)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("sample_sizes", "linear_sizes"):
            sizes = getattr(self, name)
            check_each(name, sizes, check_int, 10, 10**6)
            if list(sizes) != sorted(set(sizes)):
                raise ValueError(f"{name} must be ascending, but it is {sizes!r}")
        check_each("strengths", self.strengths, check_probability)
        check_each("habits", self.habits, check_probability)
        check_each("noises", self.noises, check_non_negative)
        check_int("num_candidates", self.num_candidates, 2, 4096)
        check_int("linear_trials", self.linear_trials, 2, 10**6)
        check_int("values", self.values, 2, 1000)
        check_probability("balance", self.balance)
        check_probability("strong", self.strong)
        check_int("width", self.width, 1, 10**6)


def cells(config: Config) -> list[dict]:
    """Finite cells (strength, habit, noise), the prototype's, then linear ones (space, panel, strength, habit, noise)."""
    found = [
        {"track": "finite", "space": "strings", "panel": "grid", "strength": g, "habit": h, "noise": s}
        for g in config.strengths
        for h in config.habits
        for s in config.noises
    ]
    found += [
        {
            "track": "finite",
            "space": "strings",
            "panel": "prototype",
            "strength": -1.0,
            "habit": h,
            "noise": 0.0,
        }
        for h in PROTOTYPE_HABITS
    ]
    for space in config.spaces:
        for panel in LINEAR_PANELS:
            knob, low, high, _, others = PANELS[panel]
            for value in np.linspace(low, high, config.values):
                knobs = worlds.Knobs()._asdict() | others | {knob: float(f"{value:.6g}")}
                found.append(
                    {"track": "linear", "space": space, "panel": panel}
                    | {name: float(knobs[name]) for name in ("strength", "habit", "noise")}
                )
    return found


# -- finite classes ------------------------------------------------------------------------------------------------------


def _finite_trial(keys, strength, habit, noise, config: Config):
    """SubOpt (M,) of every learner of one instance, and the medley's certificates."""
    problem_key, strength_key, data_key, noise_key = jax.random.split(keys, 4)
    coin, strong, weak = jax.random.uniform(strength_key, (3,))
    drawn = jnp.where(coin < 0.5, 0.5 + 0.47 * strong, 0.02 + 0.28 * weak)
    instance = random_problems.balanced_backwards(
        problem_key,
        spaces.strings(config.num_letters, config.max_length),
        config.num_contexts,
        config.num_candidates,
        beta=config.beta,
        strength=jnp.where(strength < 0, drawn, strength),
        habit=habit,
    )
    problem, cost_class = instance.problem, instance.cost_class
    reference, beta, cost_max = problem.log_reference, problem.beta, problem.cost_max
    clean = problem.sample(data_key, config.sample_sizes[-1])
    # Uniform noise: bounded, so that the certificate's assumption can be met.
    reach = jnp.sqrt(3.0) * noise * cost_max
    noisy = clean.costs + reach * jax.random.uniform(noise_key, clean.costs.shape, minval=-1.0, maxval=1.0)
    data = EditDataset(clean.contexts, clean.responses, clean.edits, noisy)
    found: dict[str, list] = {}
    for n in config.sample_sizes:
        part = jax.tree.map(lambda leaf, n=n: leaf[:n], data)
        for name, policy in learners.every_learner(
            instance, part, config.delta, config.supervised_weight
        ).items():
            found.setdefault(name, []).append(policy)
    policies = {name: jnp.stack(values) for name, values in found.items()}
    priors = medley.Medley(balance=config.balance, strong=config.strong, delta=config.delta)
    result = medley.fit_path(
        cost_class,
        reference,
        data,
        problem.context_probs,
        beta,
        cost_max,
        config.sample_sizes,
        priors,
        cost_max + reach,
    )
    counts = likelihoods.count(
        data, jnp.asarray(config.sample_sizes), problem.num_contexts, problem.num_responses
    )
    preference = likelihoods.preference_likelihood(cost_class, counts, beta)
    cost = likelihoods.cost_likelihood(cost_class, counts, cost_max)
    policies |= {
        "medley": result.log_policy,
        "posterior PREF": _posterior_policy(preference, instance, beta),
        "posterior cost": _posterior_policy(cost, instance, beta),
        "prototype": _prototype(instance, data, config, cost_max + reach, preference + cost),
        "oracle": _oracle(instance, counts, beta, cost_max, priors, habit),
    }
    losses = {name: problem.suboptimality(policy) for name, policy in policies.items()}
    return losses, (result.certificate, result.certificate_if_balanced, result.balance_refuted, result.models)


def _posterior_policy(likelihood, instance, beta):
    mean = jnp.einsum("mf,fxy->mxy", jax.nn.softmax(likelihood, axis=-1), instance.cost_class)
    return cost_classes.tilted(instance.problem.log_reference, mean, beta)


def _prototype(instance, data, config: Config, cost_range, likelihood):
    """theory.md B7 to the letter: the product of likelihoods on V_P and V_C until they exclude each other, then the cost's."""
    problem = instance.problem
    policies = cost_classes.tilted(problem.log_reference, instance.cost_class, problem.beta)
    of_costs = evidence.betting_evidence(instance.cost_class, data, cost_range)
    of_pairs = evidence.mixture_evidence(
        evidence.preference_log_likelihood(policies, problem.log_reference, data)
    )
    sizes, half = config.sample_sizes, config.delta / 2
    members = evidence.anytime_members(of_costs, half, sizes)
    both = members & evidence.anytime_members(of_pairs, half, sizes)
    counts = likelihoods.count(data, jnp.asarray(sizes), problem.num_contexts, problem.num_responses)
    cost = likelihoods.cost_likelihood(instance.cost_class, counts, problem.cost_max)
    kept = jnp.any(both, axis=-1, keepdims=True)
    weights = jax.vmap(certified_policies.posterior_weights)(
        jnp.where(kept, likelihood, cost), jnp.where(kept, both, members)
    )
    mean = jnp.einsum("mf,fxy->mxy", weights, instance.cost_class)
    return cost_classes.tilted(problem.log_reference, mean, problem.beta)


def _oracle(instance, counts, beta, cost_max, priors: medley.Medley, habit):
    """The medley told whether the user is balanced (and that a user who is not is not to be imitated either)."""
    reference = instance.problem.log_reference
    told = medley.posterior(
        instance.cost_class, reference, counts, beta, cost_max, dataclasses.replace(priors, balance=1.0)
    )
    cost = likelihoods.cost_likelihood(instance.cost_class, counts, cost_max)
    weights = jnp.where(habit > 0, jax.nn.softmax(cost, axis=-1), told.weights)
    return cost_classes.tilted(reference, jnp.einsum("mf,fxy->mxy", weights, instance.cost_class), beta)


def _finite_cell(config: Config, cell: dict, key):
    knobs = (jnp.float64(cell[name]) for name in ("strength", "habit", "noise"))
    found = map_trials(_finite_trial, key, config.trials, config.width, *knobs, config)
    return found[0], found[1], config.sample_sizes


# -- log-linear classes --------------------------------------------------------------------------------------------------


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: the cell's fields, n, seed, learner, suboptimality; of the finite medley also certificate,
    certificate_if_balanced (both null where none is issued), refuted, and the posterior chance of balance."""
    run = _finite_cell if cell["track"] == "finite" else linear_cell
    losses, extras, sizes = run(config, cell, key)
    frames = []
    for name, values in losses.items():
        trials = len(values)
        size = trials * len(sizes)
        columns: dict[str, Any] = {label: [value] * size for label, value in cell.items()}
        columns |= {
            "n": np.tile(np.asarray(sizes, dtype=np.int32), trials),
            "seed": np.repeat(np.arange(trials, dtype=np.int32), len(sizes)),
            "learner": [name] * size,
            "suboptimality": np.asarray(values).reshape(-1).astype(np.float32),
        }
        issued = extras if name == "medley" and extras is not None else None
        for place, label in enumerate(("certificate", "certificate_if_balanced")):
            bound = np.full(size, np.inf) if issued is None else np.asarray(issued[place]).reshape(-1)
            columns[label] = pl.Series(bound.astype(np.float32)).set(pl.Series(~np.isfinite(bound)), None)
        columns["refuted"] = [None] * size if issued is None else np.asarray(issued[2]).reshape(-1).tolist()
        chance = None if issued is None else np.asarray(issued[3])[..., [1, 3]].sum(axis=-1).reshape(-1)
        columns["balance_chance"] = [None] * size if chance is None else chance.tolist()
        frames.append(
            pl.DataFrame(columns).with_columns(
                pl.col("refuted").cast(pl.Boolean), pl.col("balance_chance").cast(pl.Float32)
            )
        )
    return pl.concat(frames)


EXPERIMENT = Experiment(
    name="medley",
    summary="one learner of all feedback against the best of SUP, PREF, Early, RL and RL plug-in in each cell, and its certificate",
    config_class=Config,
    presets={
        "quick": Config(trials=20, spaces=("strings",), noises=(0.0, 1.0), values=3),
        "standard": Config(trials=100, sample_sizes=(30, 100, 300, 1000, 3000), linear_trials=60, values=6),
        "paper": Config(
            trials=1000,
            sample_sizes=(30, 100, 300, 1000, 3000, 10000),
            strengths=(0.03, 0.1, 0.3, 0.6, 0.95),
            habits=(0.0, 0.05, 0.1, 0.2, 0.4, 0.6),
            noises=(0.0, 0.5, 1.0, 2.0),
            linear_trials=400,
            values=20,
            width=100,
        ),
    },
    times={
        "quick": "100 s of processor time",
        "standard": "about 15 minutes of processor time",
        "paper": "for a GPU, not run",
    },
    cells=cells,
    run_cell=run_cell,
    report=medley_report.report,
    provenance=provenance,
    resolve=resolve,
)
