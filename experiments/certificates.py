"""Do certificates hold, and how tight are they? Coverage of every set, with and without faults, and the ladder of bounds."""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from rich.table import Table

from edittheory import (
    bounds,
    certificates,
    certified_policies,
    costs,
    coverage,
    evidence,
    families,
    learners,
    statistics,
    supervised_certificates,
)
from edittheory.batching import map_chunks
from edittheory.families import Instance, Spaces
from edittheory.identity import execution_field
from edittheory.problem import EditDataset
from edittheory.validation import check_each, check_in, check_int
from experiments import spaces
from experiments.experiment import Experiment, Report


class Fault(NamedTuple):
    """What is wrong with the data or the class, as numbers, and which kinds of set it leaves valid."""

    habit: float = 0.0
    flips: float = 0.0
    noise: float = 0.0
    left_out: float = 0.0
    valid: tuple[str, ...] = ("preference", "cost", "both", "edits")


FAULTS = {
    "none": Fault(),
    "habit .3": Fault(habit=0.3, valid=("cost",)),
    "preferences flipped .1": Fault(flips=0.1, valid=("cost", "edits")),
    "cost noise .5": Fault(noise=0.5, valid=("preference", "edits")),
    "truth left out": Fault(left_out=1.0, valid=()),
}
SETS = {
    "likelihood ratio": "preference",
    "mixture": "preference",
    "least squares": "cost",
    "squares": "cost",
    "betting": "cost",
    "intersection": "both",
    "average": "both",
    "joint": "both",
    "edits": "edits",
}
"""Every confidence set and what it is made from; only the least-squares set is not valid at every n at once."""
BOUNDS = {
    "B2 paper": "PREF",
    "B2 sharp": "PREF",
    "B2 fast": "PREF",
    "B3 slow": "RL",
    "B3 fast": "RL",
}
LEARNER = {"preference": "PREF", "cost": "RL plug-in", "both": "RL plug-in", "edits": "SUP"}
FAMILIES = ("backwards", "sinkhorn", "line")
"""Scattered candidates built backwards; exchangeable ones for a given reference; a dense class, candidates along a line."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Cells are families without fault, and every fault on the first family; `trials` random problems each.

    delta: chance of failure of every set and bound; level: declared chance that any true claim is called broken.
    """

    families: tuple[str, ...] = FAMILIES
    faults: tuple[str, ...] = tuple(FAULTS)
    sizes: tuple[int, ...] = (30, 100, 300, 1000)
    trials: int = 300
    delta: float = 0.1
    level: float = 0.01
    beta: float = 0.1
    num_contexts: int = 3
    num_candidates: int = 64
    num_letters: int = 2
    max_length: int = 3
    seed: int = 0
    width: int = execution_field(20)

    def __post_init__(self):
        check_each("families", self.families, check_in, FAMILIES)
        check_each("faults", self.faults, check_in, tuple(FAULTS))
        check_each("sizes", self.sizes, check_int, 1, 10**6)
        check_int("trials", self.trials, 1, 10**7)
        statistics.check_level(self.delta)
        statistics.check_level(self.level)
        check_int("num_contexts", self.num_contexts, 1, 64)
        check_int("num_candidates", self.num_candidates, 2, 4096)
        check_int("width", self.width, 1, 10**6)


@eqx.filter_jit
def _draw(family: str, keys, space: Spaces, num_contexts: int, num_candidates: int, beta, habit) -> Instance:
    def one(key):
        if family == "sinkhorn":
            return families.balanced_sinkhorn(key, space, num_contexts, num_candidates)
        tastes = families.on_a_line if family == "line" else families.scattered
        return families.balanced_backwards(
            key, space, num_contexts, num_candidates, beta=beta, habit=habit, tastes=tastes
        )

    return jax.vmap(one)(keys)


def all_members(log_class, log_edited, instance: Instance, prefer, data, sizes, delta):
    """Every set of `SETS` at each size, (M, K); `prefer` is the log with the directions that preferences see."""
    problem, cost_class = instance.problem, instance.cost_class
    likelihood = evidence.preference_log_likelihood(log_class, problem.log_reference, prefer)
    mixture = evidence.mixture_evidence(likelihood)
    betting = evidence.betting_evidence(cost_class, data, problem.cost_max)
    joint = evidence.joint_evidence(likelihood, betting)
    laws = evidence.mixture_evidence(evidence.edit_log_likelihood(log_edited, data))
    gamma = coverage.gamma_min(problem)

    def anytime(log_e, chance):
        return evidence.anytime_members(log_e, chance, sizes)

    def optima(members):
        return supervised_certificates.possible_optima(
            log_class, problem.log_reference, log_edited, members, gamma
        )

    sets = {
        "likelihood ratio": evidence.likelihood_ratio_members(likelihood, delta, sizes=sizes),
        "mixture": anytime(mixture, delta),
        "least squares": evidence.least_squares_members(
            cost_class, data, problem.cost_max, delta, sizes=sizes
        ),
        "squares": anytime(evidence.squares_evidence(cost_class, data, problem.cost_max), delta),
        "betting": anytime(betting, delta),
        "intersection": anytime(mixture, delta / 2) & anytime(betting, delta / 2),
        "average": anytime(evidence.average_evidence(mixture, betting), delta),
        "joint": anytime(evidence.average_evidence(mixture, betting, joint), delta),
        "edits": jax.vmap(optima)(anytime(laws, delta)),
    }
    at = jnp.asarray(sizes) - 1
    preferring = jnp.cumsum(likelihood, axis=0)[at]
    costing = certified_policies.cost_log_likelihood(cost_class, data, problem.cost_max)[at]
    weights = {"preference": preferring, "cost": costing, "both": preferring + costing, "edits": preferring}
    return sets, weights


@eqx.filter_jit
def _evaluate(keys, instances: Instance, sizes: tuple[int, ...], delta: float, flips, noise, left_out):
    """Per trial, set and size: whether the set covers, its size, certificate and SubOpt of three players."""

    def one(key, instance):
        problem, num_k = instance.problem, instance.num_candidates
        data_key, flip_key, noise_key = jax.random.split(key, 3)
        data = problem.sample(data_key, max(sizes))
        jitter = noise * problem.cost_max * jax.random.normal(noise_key, (data.size,))
        flip = jax.random.uniform(flip_key, (data.size,)) < flips
        first = jnp.where(flip, data.edits, data.responses)
        second = jnp.where(flip, data.responses, data.edits)
        prefer = EditDataset(data.contexts, first, second, data.costs)
        data = EditDataset(data.contexts, data.responses, data.edits, data.costs + jitter)
        # Leaving the truth out: another member takes its place.
        kept = jnp.where(
            (left_out > 0) & (jnp.arange(num_k) == instance.truth),
            (instance.truth + 1) % num_k,
            jnp.arange(num_k),
        )
        cost_class = instance.cost_class[kept]
        log_edited = instance.log_class[num_k:][kept]
        instance = eqx.tree_at(lambda i: i.cost_class, instance, cost_class)
        log_class = costs.tilted(problem.log_reference, cost_class, problem.beta)
        sets, likelihoods = all_members(log_class, log_edited, instance, prefer, data, sizes, delta)
        fitted = {
            "preference": jnp.argmax(likelihoods["preference"], axis=-1),
            "cost": jnp.argmax(likelihoods["cost"], axis=-1),
        }
        edits = jnp.cumsum(evidence.edit_log_likelihood(log_class, data), axis=0)[jnp.asarray(sizes) - 1]
        fitted |= {"both": fitted["cost"], "edits": jnp.argmax(edits, axis=-1)}

        def player(members, likelihood, index):
            posterior = certified_policies.posterior_player(log_class, likelihood, members)
            centre = certified_policies.reverse_kl_centre(
                log_class, members, problem.context_probs, problem.beta, tolerance=1e-2, most_iterations=150
            )
            plays = jnp.stack([log_class[index], posterior, centre.log_policy])
            certificate = certificates.certify(plays, log_class, members, problem.context_probs, problem.beta)
            return certificate, problem.suboptimality(plays)

        found = {}
        for name, source in SETS.items():
            members = sets[name]
            certificate, realised = jax.vmap(player)(members, likelihoods[source], fitted[source])
            found[name] = {
                "covers": members[:, instance.truth],
                "size": jnp.sum(members, axis=-1),
                "certificate": certificate,
                "realised": realised,
            }
        return found

    return jax.vmap(one)(keys, instances)


@eqx.filter_jit
def _bounds(keys, instances: Instance, sizes: tuple[int, ...], delta: float):
    """Theory's bounds on the same logs, and what they bound; each (M,)."""

    def one(key, instance):
        problem = instance.problem
        data = problem.sample(jax.random.split(key, 3)[0], max(sizes))
        cost_class = instance.cost_class
        log_class = costs.tilted(problem.log_reference, cost_class, problem.beta)
        found: dict[str, list] = {name: [] for name in BOUNDS}
        for n in sizes:
            prefix = jax.tree.map(lambda a, n=n: a[:n], data)
            pref = log_class[learners.preference(log_class, problem.log_reference, prefix)]
            # B3 holds with chance 1 - 2 delta' for a set at delta': halve delta.
            radius = costs.confidence_radius(problem.cost_max, cost_class.shape[0], delta / 2)
            rl = learners.pessimistic_cost(cost_class, problem.log_reference, prefix, problem.beta, radius)
            forms = {
                "B2 paper": bounds.preference(problem, log_class, n, delta, "paper", check=False),
                "B2 sharp": bounds.preference(problem, log_class, n, delta, "hellinger", check=False),
                "B2 fast": bounds.preference(problem, log_class, n, delta, "fast", check=False),
                "B3 slow": bounds.cost(problem, cost_class, n, delta / 2, "slow", check=False),
                "B3 fast": bounds.cost(problem, cost_class, n, delta / 2, "fast", rl, check=False),
            }
            for name, bound in forms.items():
                realised = problem.suboptimality(pref if BOUNDS[name] == "PREF" else rl)
                found[name].append(jnp.stack([bound.value, realised]))
        return {name: jnp.stack(pairs) for name, pairs in found.items()}

    return jax.vmap(one)(keys, instances)


def cells(config: Config) -> list[dict]:
    """One cell for each family without fault, and for each fault of the first."""
    plain = [{"family": family, "fault": "none"} for family in config.families if "none" in config.faults]
    return plain + [
        {"family": config.families[0], "fault": fault} for fault in config.faults if fault != "none"
    ]


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: family, fault, seed, n, form, player, value (certificate or bound), realised, covers, size."""
    fault = FAULTS[cell["fault"]]
    space = spaces.strings(config.num_letters, config.max_length)
    knobs = [jnp.asarray(number) for number in (fault.flips, fault.noise, fault.left_out)]

    def batch(keys):
        pairs = jax.vmap(jax.random.split)(keys)
        instances = _draw(
            cell["family"],
            pairs[:, 0],
            space,
            config.num_contexts,
            config.num_candidates,
            jnp.asarray(config.beta),
            jnp.asarray(fault.habit),
        )
        found = _evaluate(pairs[:, 1], instances, tuple(config.sizes), config.delta, *knobs)
        ladder = (
            _bounds(pairs[:, 1], instances, tuple(config.sizes), config.delta)
            if cell["fault"] == "none"
            else {}
        )
        return found, ladder

    found, ladder = map_chunks(batch, key, config.trials, config.width)
    frames = []

    def add(form, player, n, value, realised, covers=None, size=None):
        count = config.trials
        frames.append(
            pl.DataFrame(
                {
                    "family": [cell["family"]] * count,
                    "fault": [cell["fault"]] * count,
                    "seed": np.arange(count, dtype=np.int32),
                    "n": np.full(count, n, dtype=np.int32),
                    "form": [form] * count,
                    "player": [player] * count,
                    "value": value,
                    "realised": realised.astype(np.float32),
                    "holds": realised <= value * (1 + 1e-9) + 1e-12,
                    "covers": pl.Series(covers, dtype=pl.Boolean)
                    if covers is not None
                    else pl.Series([None] * count, dtype=pl.Boolean),
                    "size": pl.Series(size, dtype=pl.Int32)
                    if size is not None
                    else pl.Series([None] * count, dtype=pl.Int32),
                }
            )
        )

    for index, n in enumerate(config.sizes):
        for form, source in SETS.items():
            record = found[form]
            covers = record["covers"][:, index]
            for j, player in enumerate((LEARNER[source], "posterior", "centre")):
                add(
                    form,
                    player,
                    n,
                    record["certificate"][:, index, j],
                    record["realised"][:, index, j],
                    covers,
                    record["size"][:, index].astype(np.int32),
                )
        for form, player in BOUNDS.items():
            if form in ladder:
                add(form, player, n, ladder[form][:, index, 0], ladder[form][:, index, 1])
    return pl.concat(frames)


def coverages(rows: pl.DataFrame, config: Config) -> list[dict]:
    """For each (family, fault, form, n): how often the truth is outside the set, whether the set was promised to hold it,
    and whether the promise is refuted at the declared level, divided by the number of promises."""
    rows = rows.filter((pl.col("player") == "posterior") & pl.col("covers").is_not_null())
    groups = list(rows.group_by("family", "fault", "form", "n", maintain_order=True))
    promised = sum(SETS[key[2]] in FAULTS[key[1]].valid for key, _ in groups)
    divided = statistics.bonferroni(config.level, max(promised, 1))
    records = []
    for (family, fault, form, n), part in groups:
        missed, wrong = int((~part["covers"]).sum()), int((~part["holds"]).sum())
        low, high = statistics.clopper_pearson(missed, len(part), 0.05)
        record = {
            "family": family,
            "fault": fault,
            "form": form,
            "n": int(n),
            "promised": SETS[form] in FAULTS[fault].valid,
            "missed": missed / len(part),
            "low": float(low),
            "high": float(high),
            "certificate_wrong": wrong / len(part),
            "empty": float(np.mean(part["size"].to_numpy() == 0)),
        }
        verdict = statistics.violation_check(missed, len(part), config.delta, divided)
        record["broken"] = bool(record["promised"] and verdict.violated)
        records.append(record)
    return records


def means(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean value and realised SubOpt of each (form, player, n) over the trials whose set is not empty."""
    issued = rows.filter(pl.col("value").is_finite())
    return issued.group_by("form", "player", "n", maintain_order=True).agg(
        pl.col("value").mean(), pl.col("realised").mean(), pl.len().alias("trials")
    )


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Coverage by n, and the ladder's medians."""
    records = coverages(rows, config)
    last = max(config.sizes)
    title = (
        f"Truth outside the set by n = {last:,} (certificate of the posterior player wrong), "
        f"delta = {config.delta:g}; * not promised"
    )
    table = Table(title=title, title_justify="left")
    found = {(r["family"], r["fault"], r["form"]): r for r in records if r["n"] == last}
    conditions = list(dict.fromkeys((r["family"], r["fault"]) for r in records))
    table.add_column("set")
    for family, fault in conditions:
        table.add_column(f"{family}\n{fault}", justify="right")
    for form in SETS:
        entries = [found[(*condition, form)] for condition in conditions]
        table.add_row(
            form,
            *(
                f"{r['missed']:.3f} ({r['certificate_wrong']:.3f}){'' if r['promised'] else '*'}"
                for r in entries
            ),
        )
    shown = [table]
    for family in config.families if "none" in config.faults else ():
        ladder = Table(
            title=f"Mean value where the set is not empty, family {family} without fault; realised in the last column",
            title_justify="left",
        )
        for column in ("form", "player", *(f"n = {n:,}" for n in config.sizes), f"realised, n = {last:,}"):
            ladder.add_column(column, justify="left" if column in ("form", "player") else "right")
        plain = rows.filter((pl.col("fault") == "none") & (pl.col("family") == family))
        for (form, player), part in means(plain).group_by("form", "player", maintain_order=True):
            values = part.sort("n")
            row = [f"{value:.3g}" for value in values["value"]]
            ladder.add_row(str(form), str(player), *row, f"{values['realised'][-1]:.2g}")
        shown.append(ladder)
    broken = [f"{r['form']} ({r['family']}, {r['fault']}, n = {r['n']})" for r in records if r["broken"]]
    line = (
        f"Promised coverage is refuted for: {'; '.join(broken)}."
        if broken
        else "No promised coverage is refuted."
    )
    return Report((*shown, line), not broken, {"coverage": records})


EXPERIMENT = Experiment(
    name="certificates",
    summary="do bounds computed from the data alone hold, what breaks them, and how do they compare with theory's?",
    config_class=Config,
    presets={
        "quick": Config(trials=60, sizes=(30, 100, 300), num_candidates=32),
        "standard": Config(trials=400, sizes=(30, 100, 300, 1000, 3000)),
        "paper": Config(trials=5000, sizes=(30, 100, 300, 1000, 3000, 10000), num_candidates=256),
    },
    times={
        "quick": "about 1 minute on one CPU core",
        "standard": "about 6 minutes on one CPU core",
        "paper": "for a GPU, not run",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
