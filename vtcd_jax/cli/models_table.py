"""Output of `vtcd models`: a line per model, or all details of one."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax

from vtcd_jax import models
from vtcd_jax.models import InputError, Model, Preprocessing
from vtcd_jax.models.macs import macs
from vtcd_jax.models.store import folder_of

MAX_DEPTH = 4
MODEL_FILES = ("config.json", "manifest.json")


def outline(folder: Path) -> Model:
    """A model from the descriptions in a folder, with shapes instead of parameters.

    Raises InputError, naming the file, if they do not describe a network.
    """
    path = folder / "config.json"
    fields = _read(path)
    colours = fields.pop("preprocessing", None)
    try:
        kind = models.all_families()[fields.get("family")]
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
        config = kind.config(**values)
        preprocessing = Preprocessing.from_json(colours) if colours else kind.preprocessing(config)
        params = models.param_shapes(config)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} does not describe a network ({reason}); convert the checkpoint again") from None
    labels = _read(folder / "labels.json", list)
    return Model(params, kind.module(config), config, preprocessing, tuple(map(str, labels)), folder.name)


def find_models(folders: Iterable[Path]) -> list[Path]:
    """Model folders at or below ``folders``, in order. Raises InputError for a missing folder."""
    models_found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give folders that hold converted models")
        models_found += _search(folder, MAX_DEPTH)
    return list(dict.fromkeys(models_found))


def table(folders: Iterable[Path]) -> list[str]:
    """A line per model: name, family, clip, parameters, GMACs per clip, classes."""
    rows = [("model", "family", "clip", "parameters", "GMACs", "classes")]
    rows += [_row(folder) for folder in folders]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def description(folder_or_name: str) -> list[str]:
    """Everything about one model, in lines: sizes, preprocessing, classes, sites, source."""
    folder = folder_of(folder_or_name)
    model = outline(folder)
    clip, parameters, products = _sizes(model)
    lines = [f"{model.name}: {model.config.family}, {parameters} parameters, {products} GMACs per clip of {clip}"]
    lines += _section("sizes", dataclasses.asdict(model.config))
    lines += _section("preprocessing", model.preprocessing.to_json())
    lines += ["sites, at batch 1:", *(f"  {line}" for line in site_lines(model))]
    lines += [f"classes ({len(model.labels)}): {'; '.join(model.labels) or 'none'}"]
    return lines + _section("manifest", _read(folder / "manifest.json"))


def site_lines(model: Model) -> list[str]:
    """A line per kind of site with its shape; blocks that differ only by their number share a line."""
    groups: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for site, value in models.sites(model).items():
        groups.setdefault((re.sub(r"_\d+(?=/)", "_N", site), tuple(value.shape)), []).append(site)
    width = max(len(pattern) for pattern, _ in groups)
    return [
        f"{pattern:<{width}}  {'x'.join(map(str, shape))}{_numbers(pattern, names)}"
        for (pattern, shape), names in groups.items()
    ]


def _numbers(pattern: str, names: list[str]) -> str:
    if "_N" not in pattern:
        return ""
    numbers = [re.findall(r"_(\d+)(?=/)", name) for name in names]
    return f"  N = {', '.join(numbers[0])}" + (f" to {', '.join(numbers[-1])}" if len(names) > 1 else "")


def _row(folder: Path) -> tuple[str, ...]:
    try:
        model = outline(folder)
        return str(_model_argument(folder)), model.config.family, *_sizes(model), str(len(model.labels) or "")
    except InputError as error:
        return str(_model_argument(folder)), f"damaged: {error}", "", "", "", ""


def _model_argument(folder: Path) -> Path | str:
    """The value for `--model`: the name of a shipped model, else the folder."""
    shipped = folder.name in models.names() and folder_of(folder.name) == folder
    return folder.name if shipped else folder


def _sizes(model: Model) -> tuple[str, str, str]:
    p = model.preprocessing
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(model.params))
    clip = f"{p.num_frames} x {p.height} x {p.width}"
    return clip, f"{parameters / 1e6:.3g} M", f"{macs(model.config) / 1e9:.3g}"


def _section(title: str, values: dict[str, Any]) -> list[str]:
    return [f"{title}:", *(f"  {name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())]


def _search(folder: Path, depth: int) -> list[Path]:
    if all((folder / name).is_file() for name in MODEL_FILES):
        return [folder]
    if depth == 0:
        return []
    below = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return [model for entry in below for model in _search(entry, depth - 1)]


def _read(path: Path, kind: type = dict) -> Any:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); convert the checkpoint again") from None
    if not isinstance(value, kind):
        raise InputError(f"{path} does not hold a {kind.__name__}; convert the checkpoint again")
    return value
