"""Do all false statements still fall as `falsification --preset quick` hunts them, whatever the seed?

    python benchmarks/hunt_seeds.py [--seeds 12] [--horizon 1000]     # rounds of the bandits, those of `quick` unless given

Those that climb by gradients and those about bandits, all of them, and of the statistical ones the two that need many
generations (`mutant.B2.noC`, `mutant.B6.betting`): how many generations each needed, and what stood. The last line is JSON.
"""

import argparse
import dataclasses
import json

import jax

from edittheory.claims.exact import attackable
from edittheory.claims.exact.attack_space import Space
from edittheory.claims.hunt import attackable_random, falsify, falsify_bandits, falsify_random
from edittheory.claims.hunt.control import Control, best, parts, until_it_falls
from experiments import falsification

MARGINAL = {"mutant.B2.noC": (True, "learners"), "mutant.B6.betting": (False, "certificates")}


def climbs(config: falsification.Config, balanced: bool, seed: int) -> list[str]:
    """The statements by gradients whose verdict is wrong."""
    attacks = [attack for attack in attackable.ATTACKS if attack.balanced == balanced]
    space = Space(balanced, config.num_contexts, config.num_responses)
    found = falsify.falsify(
        attacks, space, jax.random.key(seed), starts=config.starts, steps=config.steps, apart=config.apart
    )
    return [
        one.name for attack, one in zip(attacks, found, strict=True) if one.check.refuted != attack.mutant
    ]


def evolution(config: falsification.Config, name: str, seed: int) -> tuple[int, bool]:
    """Generations of a false statistical statement, and whether it fell."""
    balanced, group = MARGINAL[name]
    sizes = config.certificate_sizes if group == "certificates" else config.sample_sizes
    for attacks in parts(attackable_random.groups(balanced)[group]):
        if name not in {attack.name for attack in attacks}:
            continue
        level = config.level / falsification.confirmations(config)
        space = Space(balanced, 1, config.num_responses)
        arena = falsify_random.Arena(
            attacks, space, sizes[0], config.population, config.data_sets, jax.random.key(100 + seed)
        )
        index = [attack.name for attack in attacks].index(name)
        control = Control(config.control_multiple, config.control_floor)
        thetas, scores = arena.screen(config.batches)
        first = best(thetas, scores[:, index], arena.population)
        limit = control.patience * config.generations
        spent = until_it_falls(arena, index, first, limit, seed + index, level)
        return spent, arena.confirm(index, arena.best_thetas[index], level).refuted
    raise KeyError(name)


def bandits(config: falsification.Config, seed: int) -> tuple[dict[str, int], list[str]]:
    """Generations of each false statement about bandits, and which statements have the wrong verdict."""
    found = falsify_bandits.falsify_bandits(
        falsify_bandits.ATTACKS,
        config.horizon,
        jax.random.key(200 + seed),
        shared_horizon=config.shared_horizon,
        population=config.bandit_population,
        runs=config.bandit_runs,
        generations=config.bandit_generations,
        level=config.level * len(falsify_bandits.ATTACKS) / falsification.confirmations(config),
        seed=config.seed + seed,
        stop_refuted=config.stop_refuted,
        control=Control(config.control_multiple, config.control_floor),
    )
    false = {attack.name for attack in falsify_bandits.MUTANTS}
    spent = {one.name: one.generations for one in found if one.name in false}
    return spent, [one.name for one in found if one.check.refuted != (one.name in false)]


def main() -> None:
    """Print what fell, seed by seed."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--horizon", type=int)
    options = parser.parse_args()
    seeds = range(options.seeds)
    config = falsification.EXPERIMENT.presets["quick"]
    config = dataclasses.replace(config, horizon=options.horizon or config.horizon)
    result: dict[str, object] = {"seeds": len(seeds), "horizon": config.horizon}
    hunted = [bandits(config, seed) for seed in seeds]
    for name in hunted[0][0]:
        result[name] = [spent[name] for spent, _ in hunted]
        print(name, result[name], flush=True)
    result["bandits"] = {"wrong verdicts": [wrong for _, wrong in hunted]}
    print("bandits: wrong verdicts", [wrong for _, wrong in hunted], flush=True)
    for name in MARGINAL:
        found = [evolution(config, name, seed) for seed in seeds]
        result[name] = {"generations": [spent for spent, _ in found], "fell": sum(fell for _, fell in found)}
        print(name, result[name], flush=True)
    for balanced in (True, False):
        wrong = [climbs(config, balanced, seed) for seed in seeds]
        result["balanced" if balanced else "any user"] = {"wrong verdicts": wrong}
        print(f"by gradients, balanced {balanced}: wrong verdicts {wrong}", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
