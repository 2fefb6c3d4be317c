"""Misspelt commands and options are answered in one line, with the nearest ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from vtcd_jax.base.errors import InputError, nearest

OPTION = re.compile(r"--[a-z][\w.-]*")


def check_command(arguments: Sequence[str], commands: Collection[str]) -> None:
    """Raises InputError where the first argument is no option and no command."""
    name = next(iter(arguments), "")
    if name and not name.startswith("-") and name not in commands:
        raise InputError(f"no command {name!r}; nearest: {nearest(name, commands)}; `vtcd --help` lists all")


def check_options(arguments: Sequence[str], said: str, options_of: Callable[[str], Collection[str]]) -> None:
    """Raises InputError where the parser did not know an option. said: its message.  options_of: of a command."""
    if not arguments or "nrecognized" not in said:
        return
    known = set(options_of(arguments[0]))
    given = (argument.split("=")[0] for argument in arguments[1:])
    wrong = next((option for option in given if OPTION.fullmatch(option) and option not in known), None)
    if wrong is not None:
        raise InputError(
            f"{arguments[0]} has no option {wrong}; nearest: {nearest(wrong, sorted(known))}; "
            f"`vtcd {arguments[0]} --help` lists all"
        )


def options_in(text: str) -> list[str]:
    """The options that a help text names, in its order."""
    return list(dict.fromkeys(OPTION.findall(text)))
