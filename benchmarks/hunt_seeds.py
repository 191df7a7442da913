"""Do all false statements still fall as `falsification --preset quick` hunts them, whatever the seed?

    python benchmarks/hunt_seeds.py [--seeds 12]

Those that climb by gradients, all of them, and of the statistical ones the two that need many generations
(`mutant.B2.noC`, `mutant.B6.betting`): how many generations each needed, and what stood. The last line is JSON.
"""

import argparse
import json

import jax

from edittheory.claims.exact import attackable
from edittheory.claims.exact.attack_space import Space
from edittheory.claims.hunt import attackable_random, falsify, falsify_random
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


def main() -> None:
    """Print what fell, seed by seed."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=12)
    seeds = range(parser.parse_args().seeds)
    config = falsification.EXPERIMENT.presets["quick"]
    result: dict[str, object] = {"seeds": len(seeds)}
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
