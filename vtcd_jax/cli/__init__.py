"""The ``vtcd`` command: parses arguments, runs jobs, prints results.

Exit codes: 0 done, 2 bad input or usage (one or two lines that name the file and the remedy), 1 failure (disk, device).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from .spelling import check_command, check_options, options_in

DESCRIPTION = "Concepts inside video transformers: discover them, rank them by their effect, view them."
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(arguments: list[str] | None = None) -> int:
    """Entry of the ``vtcd`` command; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(f"vtcd_jax {_version()}")
        return 0
    from vtcd_jax.base.errors import InputError
    from vtcd_jax.data.notices import printed

    try:
        with printed(lambda text: print(f"vtcd: warning: {text}", file=sys.stderr, flush=True)):
            _parse(arguments)()
            sys.stdout.flush()
        return 0
    except SystemExit as end:  # tyro: 0 after --help, 2 for usage
        return end.code if isinstance(end.code, int) else 2
    except BrokenPipeError:  # who reads what is printed has enough of it, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments:
            raise
        print(f"vtcd: {_message(error, _command(arguments))}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1


def _parse(arguments: list[str]) -> Callable[[], None]:
    """The command with its arguments, ready to be called. Raises SystemExit after help or wrong usage."""
    import tyro

    from vtcd_jax.base.errors import InputError

    commands = _commands()
    check_command(arguments, commands)
    arguments, commands = _with_defaults(arguments, commands)
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr), _colours():
            return tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(command) for name, command in commands.items()},
                prog="vtcd",
                description=DESCRIPTION,
                args=arguments,
                config=_config(),
            )
    except SystemExit as end:
        cause: BaseException | None = end
        while cause is not None:  # the setting's message is clearer than tyro's box
            if isinstance(cause, InputError):
                raise cause from None
            cause = cause.__context__
        check_options(arguments, stderr.getvalue(), functools.partial(_options_of, commands))
        sys.stderr.write(stderr.getvalue())
        raise


def _options_of(commands: dict[str, Callable[..., None]], name: str) -> list[str]:
    """The options of a command, from its help."""
    import tyro

    text = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(text):
        tyro.extras.subcommand_cli_from_dict(dict(commands), prog="vtcd", args=[name, "--help"], config=_config())
    return options_in(text.getvalue())


def _version() -> str:
    import vtcd_jax

    return vtcd_jax.__version__


@contextlib.contextmanager
def _colours() -> Iterator[None]:
    """Help without colours where NO_COLOR is set (no-color.org): tyro leaves them out for a dumb terminal."""
    terminal = os.environ.get("TERM")
    if os.environ.get("NO_COLOR"):
        os.environ["TERM"] = "dumb"
    try:
        yield
    finally:
        if terminal is not None:
            os.environ["TERM"] = terminal


def _config() -> tuple[Any, ...]:
    """Of tyro: no --no-… options, no help from comments."""
    import tyro

    return tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff


def _commands() -> dict[str, Callable[..., None]]:
    """name -> command: those of the jobs, and those written by hand."""
    from vtcd_jax.jobs.find import find_jobs

    from . import commands
    from .jobs import job_commands

    return {"demo": commands.demo, **job_commands(find_jobs()), **{c.__name__: c for c in commands.OTHERS}}


def _with_defaults(
    arguments: list[str], commands: dict[str, Callable[..., None]]
) -> tuple[list[str], dict[str, Callable[..., None]]]:
    """Removes ``--preset NAME`` and ``--config FILE`` from the arguments of a job's command; their values become the
    command's defaults."""
    from vtcd_jax.jobs.find import find_jobs

    from .jobs import entry_command, settings_defaults

    name = _command(arguments)
    job = next((job for job in find_jobs().values() if name in job.entry_commands), None)
    if job is None or any(argument in ("-h", "--help") for argument in arguments):
        return arguments, commands
    preset, arguments = _taken("--preset", arguments)
    path, arguments = _taken("--config", arguments)
    if preset is None and path is None:
        return arguments, commands
    named = [] if preset is None else ["--preset", preset]  # the command says whether one was given
    return [*arguments, *named], {**commands, name: entry_command(job, name, settings_defaults(job, preset, path))}


def _taken(option: str, arguments: list[str]) -> tuple[str | None, list[str]]:
    """The value of an option, None without it; and the arguments without both."""
    for i, argument in enumerate(arguments):
        if argument == option:
            return next(iter(arguments[i + 1 :]), ""), [*arguments[:i], *arguments[i + 2 :]]
        if argument.startswith(f"{option}="):
            return argument.removeprefix(f"{option}="), [*arguments[:i], *arguments[i + 1 :]]
    return None, arguments


def _deferred(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """``command`` with bound arguments instead of a call, so that parsing ends before the work begins."""

    @functools.wraps(command)
    def take(*arguments: Any, **options: Any) -> Callable[[], None]:
        return functools.partial(command, *arguments, **options)

    return take


def _command(arguments: list[str]) -> str:
    """The name of the command, "" if there is none."""
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _message(error: BaseException, command: str) -> str:
    """One or two lines for the user."""
    from vtcd_jax.base.errors import InputError

    lines = [line.rstrip() for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    if isinstance(error, InputError):
        return "\n".join(lines)
    hint = _resume_hint(command)
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted; finished work is saved: {hint}" if hint else "interrupted; start again"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        full = (
            f"; no partial file was left: free some space and {hint or 'start again'}" if error.errno in _FULL else ""
        )
        return f"{where}{error.strerror or lines[0]}{full}"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in lines[0]:
        return "out of memory; begin a new run with a smaller --chunk, fewer clips or a smaller model"
    return f"failed: {type(error).__name__}: {lines[0]} (--debug shows where)"


def _resume_hint(command: str) -> str:
    """How to resume a command after an interruption; "" for a command that starts again."""
    from vtcd_jax.jobs.find import find_jobs

    jobs = find_jobs().values()
    if command == "demo":
        return "resume with `vtcd report RUN`"
    if any(command in job.entry_commands for job in jobs):
        return "resume with --resume"
    if command == "merge" or any(command == stage.name for job in jobs for stage in job.stages):
        return "resume with the same command"
    return ""
