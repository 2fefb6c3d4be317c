"""Set-up and the project's everyday commands, with nothing but Python's standard library.

    python3 scripts/dev.py demo            the whole job on the shipped model, ends in an HTML report
    python3 scripts/dev.py test [ARGS]     the tests; ARGS go to pytest; --quick leaves the slow ones out
    python3 scripts/dev.py lint            ruff: lint and format check (`format` repairs)
    python3 scripts/dev.py types           pyright
    python3 scripts/dev.py bench ARGS      scripts/bench.py
    python3 scripts/dev.py map             writes the map of the house into CONTRIBUTING.md
    python3 scripts/dev.py imports         seconds that `import vtcd_jax` adds to `import jax`
    python3 scripts/dev.py docs            API pages in build/docs
    python3 scripts/dev.py setup           only the set-up
    python3 scripts/dev.py python ARGS     any script in the environment

The first call makes `.venv` and installs the package into it (editable, with the pins of constraints.txt); a
stamp in `.venv` lets later calls go straight to work. With uv on the PATH it is used, otherwise venv and pip.
Options before or after the command: --torch, --oracle, --cuda12, --cuda13, --tpu also install that extra.
"""

# No `from __future__ import annotations` and no modern syntax here: Python 3.6 must be able to read
# this file, so that an old `python3` gets a clear line from `main` instead of a SyntaxError.
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "vtcd_jax_stamp.json"
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = ("browser", "test", "viz")
OPTIONAL_EXTRAS = ("torch", "oracle", "cuda12", "cuda13", "tpu")
ROOMS = ("models", "converters")
QUICK = "not slow and not compile"

TIME_IMPORTS = """
import subprocess, sys, time
def seconds(code):
    def once():
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start
    return sorted(once() for _ in range(9))[4]
seconds("import jax, vtcd_jax")
alone, both = seconds("import jax"), seconds("import jax, vtcd_jax")
print(f"import jax {alone:.3f} s, with vtcd_jax {both:.3f} s: {both - alone:+.3f} s (medians of 9)")
"""


class Failure(Exception):
    """One line for the user."""

    status = 1


class Usage(Failure):
    status = 2


def say(line):
    print("dev.py:", line, file=sys.stderr, flush=True)


def key():
    """What an installation depends on; a stamp with another key is stale."""
    files = [path.read_text("utf-8") for path in (ROOT / "pyproject.toml", CONSTRAINTS)]
    parts = files + [sys.version, str(ROOT)]
    return hashlib.sha256("\0".join(parts).encode("utf-8")).hexdigest()


def read_stamp():
    try:
        stamp = json.loads(STAMP.read_text("utf-8"))
        return {"key": str(stamp["key"]), "extras": list(stamp["extras"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"key": "", "extras": []}


def write_stamp(extras):
    temporary = STAMP.with_suffix(".new")
    temporary.write_text(json.dumps({"key": key(), "extras": sorted(extras)}), "utf-8")
    temporary.replace(STAMP)


def run(command, **options):
    """Runs a command to its end; raises Failure with its name and exit status."""
    try:
        status = subprocess.call([str(part) for part in command], cwd=str(ROOT), **options)
    except OSError as error:
        raise Failure(f"cannot run {command[0]}: {error}") from None
    if status:
        shown = " ".join(str(part) for part in command[:4])
        raise Failure(f"`{shown} …` failed with exit status {status}; the reason stands above")


def fits(module="sys"):
    """Whether `.venv` holds this version of Python and can import ``module``."""
    code = f"import sys, {module}; sys.exit(sys.version != {sys.version!r})"
    try:
        return subprocess.call([str(PYTHON), "-c", code], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def clear():
    """Removes a virtual environment that cannot be used; never a folder that is something else."""
    if VENV.exists() and not (VENV / "pyvenv.cfg").is_file():
        raise Failure(f"{VENV} exists and is no virtual environment; move it away")
    shutil.rmtree(str(VENV), ignore_errors=True)


def install_with_uv(uv, targets):
    if not fits():
        clear()
        run([uv, "venv", "--quiet", "--python", sys.executable, VENV])
    for target in targets:
        run([uv, "pip", "install", "--python", PYTHON, "--constraint", CONSTRAINTS] + target)


def install_with_pip(targets):
    if not fits("pip"):
        clear()
        run([sys.executable, "-m", "venv", VENV])
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    pip += ["--constraint", CONSTRAINTS]
    if not sys.stdout.isatty():
        pip.append("--quiet")
    for target in targets:
        run(pip + target, env=dict(os.environ, PIP_USER="0"))


def install(extras):
    """Installs the package with these extras into `.venv`, by uv where there is one, else by pip."""
    # The build tool comes first and from the same pins: no isolated build, so nothing unpinned is fetched.
    editable = ["--no-build-isolation", "--editable", ".[{}]".format(",".join(extras))]
    targets = [["setuptools", "wheel"], editable]
    uv = shutil.which("uv")
    if uv:
        try:
            return install_with_uv(uv, targets)
        except Failure as error:
            say(f"{error}; trying again with pip")
    install_with_pip(targets)


def link_rooms():
    """Links vtcd_jax/models -> ../models and so on, with which pyright and editors find these rooms."""
    for room in ROOMS:
        link = ROOT / "vtcd_jax" / room
        if not link.exists() and (ROOT / room).is_dir():
            with contextlib.suppress(OSError):  # no right to make links (Windows): the package works without
                link.symlink_to(os.path.join("..", room), target_is_directory=True)


@contextlib.contextmanager
def lock():
    """One installation at a time; this file itself is what is locked. (No lock on Windows.)"""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(__file__, "r+b") as handle:
        with contextlib.suppress(OSError):  # file systems without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def missing(extras):
    """The extras to install: none if the stamp says that all is there."""
    stamp = read_stamp()
    if stamp["key"] == key() and set(extras) <= set(stamp["extras"]) and PYTHON.exists():
        return []
    return sorted(set(extras) | set(stamp["extras"]))


def ensure(extras):
    """Makes the environment hold the package with these extras; free when the stamp says so."""
    if missing(extras):
        with lock():
            wanted = missing(extras)  # another call may have installed it while we waited
            if wanted:
                say("installing into .venv (a few minutes the first time)")
                if STAMP.exists():
                    STAMP.unlink()  # from here on a broken installation is no installation
                install(wanted)
                write_stamp(wanted)
    link_rooms()


def cores():
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return count or 1


def pytest_arguments(arguments):
    """``arguments``, in parallel, file by file, unless they say something about it themselves."""
    arguments = quick(arguments)
    own = any(a.startswith(("-n", "--numprocesses", "--pdb", "--collect-only")) for a in arguments)
    workers = min(cores(), 4)
    return arguments if own or workers == 1 else ["-n", str(workers), "--dist", "loadfile"] + arguments


def quick(arguments):
    """``arguments`` with --quick as the markers that it leaves out."""
    if "--quick" not in arguments:
        return arguments
    if any(a.startswith("-m") for a in arguments):
        raise Usage("--quick and -m both choose tests by marker; give one of them")
    return ["-m", QUICK] + [a for a in arguments if a != "--quick"]


def commands(name, arguments):
    """The processes behind a command's name."""
    module = [PYTHON, "-m"]
    table = {
        "setup": [],
        "demo": [[BIN / "vtcd", "demo"] + arguments],
        "test": [module + ["pytest"] + pytest_arguments(arguments)],
        "lint": [module + ["ruff", "check"] + arguments, module + ["ruff", "format", "--check"] + arguments],
        "format": [module + ["ruff", "check", "--fix"] + arguments, module + ["ruff", "format"] + arguments],
        "types": [module + ["pyright"] + arguments],
        "bench": [[PYTHON, ROOT / "scripts" / "bench.py"] + arguments],
        "map": [[PYTHON, ROOT / "scripts" / "house_map.py"] + arguments],
        "imports": [[PYTHON, "-c", TIME_IMPORTS]],
        "docs": [module + ["pdoc", "--output-directory", "build/docs", "vtcd_jax"] + arguments],
        "python": [[PYTHON] + arguments],
    }
    if name not in table:
        raise Usage("unknown command {!r}; known: {}".format(name, ", ".join(table)))
    return table[name]


def start(command, cwd):
    """Runs a command of ours on the terminal and returns its exit status. Ctrl-C is left to it."""
    process = subprocess.Popen([str(part) for part in command], cwd=cwd)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def main(arguments):
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:2]))
        raise Failure(f"needs Python 3.11 or newer, this is {found}; call it with a newer one")
    options = ["--" + extra for extra in OPTIONAL_EXTRAS]
    extras = [a[2:] for a in arguments if a in options]
    words = [a for a in arguments if a not in options]
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if words else 2
    name, rest = words[0], words[1:]
    todo = commands(name, rest)
    ensure(list(EXTRAS) + extras + (["docs"] if name == "docs" else []))
    # Paths on a command line are relative to where the user stands; the checks run at the root.
    cwd = None if name in ("demo", "bench", "python") else str(ROOT)
    for command in todo:
        status = start(command, cwd)
        if status:
            return status if status > 0 else 128 - status
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failure as failure:
        say(failure)
        sys.exit(failure.status)
    except KeyboardInterrupt:
        sys.exit("dev.py: interrupted; call it again to go on")
