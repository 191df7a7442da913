"""What stands before and after a user's text in a checkpoint's chat format, from its own Jinja template.

A template is a program of somebody else's: it is rendered in Jinja's immutable sandbox, without a clock. Needs the package
`jinja2`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from edittheory.core.errors import InputError

_TEXT = "What-the-user-says"
Frame = tuple[str, str]


def read_template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The chat template of a checkpoint's folder: of chat_template.jinja, else of its tokenizer_config.json (`config`).

    None if there is none; of several named ones "default". Raises InputError if it is no text.
    """
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    if found is not None and not isinstance(found, str):
        raise InputError(
            f"{folder / 'tokenizer_config.json'}: chat_template must be text, but it is {found!r}"
        )
    return found


def frame_of(template: str, specials: Mapping[str, str | None], name: str) -> Frame:
    """(before, after): what the template writes around a first user's text when an answer is to follow.

    specials: "bos_token" and the like, for the template's use. Raises InputError calling the template `name` if it is no
    template, fails, or does not show the text exactly once.
    """
    try:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise InputError(f"{name} needs the package jinja2: install edittheory[language]") from None

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = refuse
    try:
        shown = environment.from_string(template).render(
            messages=[{"role": "user", "content": _TEXT}], add_generation_prompt=True, **specials
        )
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise InputError(f"{name} cannot be rendered: {error}") from None
    if shown.count(_TEXT) != 1:
        raise InputError(f"{name} shows a user's text {shown.count(_TEXT)} times, must be once")
    before, _, after = shown.partition(_TEXT)
    return before, after
