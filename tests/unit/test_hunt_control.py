"""How long true statements are hunted at `quick`: as long as the false ones of their kind needed, and it is written down."""

import jax
import numpy as np
import pytest

from edittheory.claims.exact import attackable
from edittheory.claims.exact.attack_space import Space
from edittheory.claims.hunt import attackable_random, falsify, falsify_random
from edittheory.claims.hunt.control import Control, kind, parts
from edittheory.runs.identity import canonical
from experiments import falsification

CONTROL = Control(multiple=3, floor=0.3)


@pytest.mark.parametrize(
    ("needed", "generations", "budget"),
    [(0, 30, 9), (2, 30, 9), (4, 30, 12), (9, 30, 27), (21, 30, 30), (None, 30, 30), (1, 6, 3), (0, 0, 0)],
)
def test_the_budget_is_a_multiple_between_a_floor_and_all(needed, generations, budget):
    assert CONTROL.budget(needed, generations) == budget


class StandIn:
    """An arena in which false statements fall after a number of generations, confirmed by fresh data at a given attempt."""

    falls: dict[str, int]
    confirmed_at = 1

    def __init__(self, attacks, space, n, population, data_sets, key):
        self.attacks, self.population, self.tried, self.hunted = tuple(attacks), 5, 0, []
        self.best_scores, self.best_thetas = np.zeros(len(attacks)), np.zeros((len(attacks), 1))
        StandIn.last = self

    def screen(self, batches):
        return np.zeros((1, 1)), np.zeros((1, len(self.attacks)))

    def evolve(self, index, first, generations, seed, enough):
        name = self.attacks[index].name
        self.hunted.append((name, generations, bool(np.isfinite(enough))))
        return min(generations, self.falls.get(name, generations)), first

    def afresh(self, number):
        return self

    def confirm(self, index, theta, level, number=0):
        verdict = number == 0 or number >= self.confirmed_at
        return falsify_random.RandomCheck(0.0, 0.0, 0.0, 0, 0, 0.0, 0.0, verdict)


def hunted(monkeypatch, falls, **options):
    names = ("B1.b", "MLE.tv", "B3.set", "B3.a", "mutant.B1.nobias", "mutant.B1.c.noM", "mutant.B3.set16")
    known = {attack.name: attack for attack in attackable_random.ATTACKS}
    monkeypatch.setattr(falsify_random, "Arena", StandIn)
    StandIn.falls = falls
    found = falsify_random.falsify_random(
        [known[name] for name in names], Space(False, 1, 3), 40, None, generations=30, **options
    )
    assert [one.name for one in found] == list(names)
    return StandIn.last.hunted, {one.name: one.generations for one in found}


def test_a_false_statement_that_falls_slowly_lengthens_the_hunt_of_the_true_ones_of_its_kind(monkeypatch):
    falls = {"mutant.B1.nobias": 0, "mutant.B1.c.noM": 6, "mutant.B3.set16": 0}
    order, spent = hunted(monkeypatch, falls, control=CONTROL)
    assert [name for name, *_ in order[:3]] == ["mutant.B1.nobias", "mutant.B1.c.noM", "mutant.B3.set16"]
    assert all(generations == 8 * 30 and stops for _, generations, stops in order[:3])
    budgets = {name: generations for name, generations, _ in order[3:]}
    assert budgets == {
        "B1.b": 18,
        "MLE.tv": 30,
        "B3.set": 9,
        "B3.a": 9,
    }  # MLE.tv: no false one of its kind here
    assert not any(stops for *_, stops in order[3:])
    assert spent == budgets | falls


def test_a_false_statement_that_stands_gives_the_true_ones_all_generations(monkeypatch):
    _, spent = hunted(monkeypatch, {}, control=CONTROL)
    assert {n for name, n in spent.items() if name.startswith("mutant.")} == {8 * 30}
    assert {n for name, n in spent.items() if not name.startswith("mutant.")} == {30}


def test_a_false_statement_is_hunted_on_until_fresh_data_confirm(monkeypatch):
    monkeypatch.setattr(StandIn, "confirmed_at", 3)
    falls = {"mutant.B1.nobias": 0, "mutant.B1.c.noM": 4, "mutant.B3.set16": 0}
    order, spent = hunted(monkeypatch, falls, control=CONTROL)
    assert [limit for name, limit, _ in order if name == "mutant.B1.c.noM"] == [240, 236, 232]
    assert spent["mutant.B1.c.noM"] == 12 and spent["B1.b"] == 30


def test_without_a_control_all_are_hunted_to_the_end_in_their_order(monkeypatch):
    order, spent = hunted(monkeypatch, {"mutant.B1.nobias": 2})
    assert [name for name, *_ in order] == list(spent) and all(
        generations == 30 and not stops for _, generations, stops in order
    )


def test_every_true_statistical_statement_but_b5_has_false_ones_of_its_kind_beside_it():
    """In the part in which it is hunted: else the control says nothing of it."""
    without = set()
    for balanced in (True, False):
        for group in attackable_random.groups(balanced).values():
            found = parts(group)
            assert sorted(a.name for part in found for a in part) == sorted(a.name for a in group)
            for part in found:
                false = {kind(attack.statement.source) for attack in part if attack.mutant}
                without |= {a.name for a in part if not a.mutant and kind(a.statement.source) not in false}
    assert without == {"B1.a", "B5"}


def test_quick_says_so_in_its_identity_and_the_other_presets_are_as_they_were():
    presets = falsification.EXPERIMENT.presets
    new = {"control_multiple", "control_floor", "apart", "stop_refuted"}
    assert canonical(presets["quick"]).items() >= {"control_multiple": 3, "apart": True}.items()
    for name in ("standard", "paper"):
        assert not new & set(canonical(presets[name]))
    for field, value in (("control_multiple", -1), ("control_floor", 1.5)):
        with pytest.raises(ValueError, match=field):
            falsification.Config(**{field: value})


def test_apart_each_source_climbs_alone_from_the_same_starts(monkeypatch):
    """The programs get the starts that the common one would get, in the order of the attacks."""
    seen = {}

    def climbed(attacks, space, theta, rates, chunk, fast):
        seen[tuple(attack.name for attack in attacks)] = theta, fast
        return np.zeros((len(attacks), space.size))

    monkeypatch.setattr(falsify, "_climbed", climbed)
    monkeypatch.setattr(falsify, "check_all", lambda attacks, points, fast: [None] * len(attacks))
    attacks = [a for a in attackable.ATTACKS if not a.balanced and a.source in ("B0", "B1(c)")]
    space = Space(False, 2, 3)
    for apart in (False, True):
        falsify.falsify(attacks, space, jax.random.key(0), starts=2, steps=1, apart=apart)
    whole = tuple(attack.name for attack in attacks)
    together, fast = seen.pop(whole)
    assert not fast and {attacks[0].source for _ in seen} and len(seen) == 2
    for names, (theta, fast) in seen.items():
        assert fast  # neither is over a path
        for place, name in enumerate(names):
            at = whole.index(name)
            np.testing.assert_array_equal(theta[2 * place : 2 * place + 2], together[2 * at : 2 * at + 2])
