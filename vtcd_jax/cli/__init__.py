"""The ``vtcd`` command: parses, calls the stages, prints. No science.

Exit codes: 0 done, 2 bad input or usage (one or two lines that name the file and the remedy), 1 failure (disk, device).
"""

from __future__ import annotations

import sys

DESCRIPTION = "Concepts inside video transformers: discover them, rank them by what they do, look at them."


def main(arguments: list[str] | None = None) -> int:
    """Entry of the ``vtcd`` command; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    from vtcd_jax.models.errors import InputError

    try:
        _dispatch(arguments)
        return 0
    except SystemExit as end:  # tyro: 0 after --help, 2 for usage
        return end.code if isinstance(end.code, int) else 2
    except (InputError, OSError, MemoryError, RuntimeError, KeyboardInterrupt) as error:
        if "--debug" in arguments:
            raise
        print(f"vtcd: {_message(error)}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1


def _dispatch(arguments: list[str]) -> None:
    import tyro

    from . import commands

    tyro.extras.subcommand_cli_from_dict(
        {
            "demo": commands.demo,
            "run": commands.run,
            "discover": commands.discover,
            "rank": commands.rank,
            "curves": commands.curves,
            "report": commands.report,
            "convert": commands.convert,
            "models": commands.models,
        },
        prog="vtcd",
        description=DESCRIPTION,
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff),
    )


def _message(error: BaseException) -> str:
    """One or two lines for the user."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; what was finished is saved: go on with --resume"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}; no half-written file was left, free the disk and go on with --resume"
    if isinstance(error, MemoryError):
        return "out of memory; take fewer clips or a smaller model"
    lines = [line for line in str(error).splitlines() if line.strip()]
    return "\n".join(lines[:40]) if error.__class__.__name__ == "InputError" else f"{type(error).__name__}: {lines[0]}"
