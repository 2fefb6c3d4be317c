"""``vtcd doctor``: what to paste into a bug report."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from vtcd_jax.devices import machine

from .cache import cache_folder
from .options import COMMON, Common, Flat

PACKAGES = ("jax", "jaxlib", "flax", "numpy", "av", "pillow")
OPTIONAL = ("torch", "matplotlib", "playwright")


def doctor(*, common: Annotated[Common, Flat] = COMMON) -> None:
    """Versions, devices, decoders and free memory: what to paste into a bug report. Names no user and no host.

    Args:
        common: Options of every command.
    """
    for name, value in facts():
        print(machine.without_names(f"{name:<20} {value}").rstrip())


def facts() -> Iterable[tuple[str, str]]:
    """(name, value), in the order in which they are printed."""
    import vtcd_jax

    yield "vtcd_jax", vtcd_jax.__version__
    yield "python", f"{platform.python_implementation()} {platform.python_version()}"
    yield "platform", f"{platform.platform()}, {os.cpu_count()} cores"
    yield from ((name, machine.installed(name) or "not installed") for name in PACKAGES)
    yield "ffmpeg", machine.ffmpeg_version() or "PyAV cannot be loaded"
    yield "decoders", ", ".join(f"{codec}: {name or 'none'}" for codec, name in machine.decoders().items())
    yield from _devices()
    yield "free memory", machine.amount(machine.free_memory())
    yield "working folder", _folder(Path.cwd())
    yield "compilation cache", _cache()
    yield from ((name, machine.installed(name) or "not installed") for name in OPTIONAL)
    yield "chromium", "on the PATH" if machine.chromium() else "not on the PATH"


def _devices() -> Iterable[tuple[str, str]]:
    """The devices, equal ones in one line, and the precision of passes; or why there are none."""
    from vtcd_jax.ablation.engine import resolved_dtype

    try:
        devices = machine.devices()
    except RuntimeError as error:  # a driver that is missing or too old
        yield "devices", f"none: {' '.join(str(error).split())}"
        return
    for device in dict.fromkeys(devices):
        memory = "" if device.memory is None else f", {machine.amount(device.memory)} each"
        yield "devices", f"{devices.count(device)} x {device.kind} ({device.platform}{memory})"
    yield "passes compute with", resolved_dtype(None)


def _cache() -> str:
    """The folder of compiled programs, as chosen by ``cache.keep_compilations``."""
    import jax

    if not jax.config.values["jax_enable_compilation_cache"]:
        return "switched off"
    return _folder(Path(jax.config.values["jax_compilation_cache_dir"] or cache_folder()))


def _folder(path: Path) -> str:
    return f"{path} ({machine.amount(machine.free_disk(path))} free)"
