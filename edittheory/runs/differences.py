"""In what two JSON values differ, leaf by leaf."""

import json
from typing import Any


def differences(old: Any, new: Any, where: str) -> list[str]:
    """One "name: old there, new here" for every leaf in which two JSON values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*new, *(name for name in old if name not in new)]
        return [
            line for name in names for line in differences(old.get(name), new.get(name), f"{where}.{name}")
        ]
    if old == new:
        return []
    return [f"{where}: {_short(old)} there, {_short(new)} here"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
