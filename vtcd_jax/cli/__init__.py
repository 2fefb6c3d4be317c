"""The ``vtcd`` command: parses, calls the stages, prints. No science.

Exit codes: 0 done, 2 bad input or usage (one or two lines that name the file and the remedy), 1 failure (disk, device).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import sys
from collections.abc import Callable

DESCRIPTION = "Concepts inside video transformers: discover them, rank them by what they do, look at them."
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# How each command goes on after an interruption; the others start again.
_GOES_ON = {
    "demo": "go on with `vtcd report RUN`",
    "run": "go on with --resume",
    "discover": "go on with --resume",
    **dict.fromkeys(("rank", "curves", "report", "merge"), "go on with the same command"),
}


def main(arguments: list[str] | None = None) -> int:
    """Entry of the ``vtcd`` command; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    from vtcd_jax.base.errors import InputError
    from vtcd_jax.data.notices import printed

    try:
        with printed(lambda text: print(f"vtcd: warning: {text}", file=sys.stderr, flush=True)):
            _parse(arguments)()
        return 0
    except SystemExit as end:  # tyro: 0 after --help, 2 for usage
        return end.code if isinstance(end.code, int) else 2
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments:
            raise
        print(f"vtcd: {_message(error, _command(arguments))}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1


def _parse(arguments: list[str]) -> Callable[[], None]:
    """The command with its arguments, ready to be called. Raises SystemExit after help or wrong usage."""
    import tyro

    from vtcd_jax.base.errors import InputError

    from . import commands

    every = (
        commands.demo,
        commands.run,
        commands.discover,
        commands.rank,
        commands.curves,
        commands.report,
        commands.merge,
        commands.convert,
        commands.models,
        commands.benchmark,
    )
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.subcommand_cli_from_dict(
                {command.__name__: _later(command) for command in every},
                prog="vtcd",
                description=DESCRIPTION,
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff),
            )
    except SystemExit as end:
        cause: BaseException | None = end
        while cause is not None:  # a setting that refused its value says it better than the box around it
            if isinstance(cause, InputError):
                raise cause from None
            cause = cause.__context__
        sys.stderr.write(said.getvalue())
        raise


def _later(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """``command`` that only takes its arguments, so that parsing ends before the work begins."""

    @functools.wraps(command)
    def take(*arguments: object, **options: object) -> Callable[[], None]:
        return functools.partial(command, *arguments, **options)

    return take


def _command(arguments: list[str]) -> str:
    """The name of the command, "" where there is none."""
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _message(error: BaseException, command: str) -> str:
    """One or two lines for the user."""
    from vtcd_jax.base.errors import InputError

    lines = [line.rstrip() for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    if isinstance(error, InputError):
        return "\n".join(lines)
    again = _GOES_ON.get(command, "start again")
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted; what was finished is saved: {again}" if command in _GOES_ON else f"interrupted; {again}"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        full = f"; no half-written file was left: make room and {again}" if error.errno in _FULL else ""
        return f"{where}{error.strerror or lines[0]}{full}"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in lines[0]:
        return "out of memory; begin a new run with a smaller --chunk, fewer clips or a smaller model"
    return f"failed: {type(error).__name__}: {lines[0]} (--debug shows where)"
