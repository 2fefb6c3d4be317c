"""``config.json``: every setting that a run's results depend on. A folder with this file is a run.

Settings are compared by their dotted names: ``nmf.elbow.rule`` is the field ``rule`` of the group ``elbow`` of ``nmf``.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vtcd_jax.base.files import write_json

FORMAT = "vtcd-run/2"


def read_config(folder: str | os.PathLike) -> dict[str, Any] | None:
    """The settings of a run; None if the folder is not a run."""
    try:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(config, dict) or config.pop("format", None) != FORMAT:
        return None
    return config


def other_format(folder: str | os.PathLike) -> str | None:
    """The format of a run folder that this version does not read; None for one that it reads, and for no run."""
    try:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        name = str(config["format"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if name.startswith(FORMAT.split("/")[0]) and name != FORMAT else None


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Writes the settings of a run atomically."""
    write_json(folder / "config.json", {"format": FORMAT, **config})


def as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config as it reads back from JSON (tuples become lists), so that it can be compared."""
    if "format" in config:
        raise ValueError("the setting 'format' is reserved for the run folder")
    return json.loads(json.dumps(config, allow_nan=False))


def differences(old: Mapping[str, Any], new: Mapping[str, Any], ignore: Sequence[str] = ()) -> list[str]:
    """The settings that differ, by dotted name, as "name: old -> new"; a missing one is shown as (none).

    ignore: dotted names of settings, or of groups of settings, that are not compared.
    """
    before, after = _dotted(old), _dotted(new)
    return [
        f"{name}: {_show(before, name)} -> {_show(after, name)}"
        for name in sorted({*before, *after})
        if not _same(before.get(name, ...), after.get(name, ...))
        and not any(name == skip or name.startswith(f"{skip}.") for skip in ignore)
    ]


def _dotted(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping) or (prefix and not value):
        return {prefix: value}
    pairs: dict[str, Any] = {}
    for name, inner in value.items():
        pairs |= _dotted(inner, f"{prefix}.{name}" if prefix else str(name))
    return pairs


def _same(old: Any, new: Any) -> bool:
    return old == new and isinstance(old, bool) == isinstance(new, bool)  # True equals 1, but not as a setting


def _show(values: Mapping[str, Any], name: str) -> str:
    text = json.dumps(values[name], ensure_ascii=False) if name in values else "(none)"
    return text if len(text) <= 60 else text[:57] + "..."


def manifest(*, precision: str | None = None) -> dict[str, Any]:
    """Versions, device and precision. Starts JAX's backend."""
    from importlib.metadata import version

    import jax

    import vtcd_jax

    devices = jax.devices()
    return {
        "vtcd_jax": vtcd_jax.__version__,
        "jax": jax.__version__,
        "jaxlib": version("jaxlib"),
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "devices": len(devices),
        "precision": precision or "default",
    }
