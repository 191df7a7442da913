"""Spaces and attacks by name, for the tests of the hunt."""

from edittheory.claims.exact import attackable
from edittheory.claims.exact.attack_space import Space

SPACES = {balanced: Space(balanced, 2, 3) for balanced in (True, False)}


ATTACKS = {attack.name: attack for attack in attackable.ATTACKS}
