"""Concepts on disk: arrays in ``concepts.safetensors``, SLIC labels compressed in ``concepts_labels.npz``, a
table in ``concepts.csv`` with one row per concept. Files are whole or absent, and their bytes depend on the
content alone.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import save_safetensors, write_text

from ..labels import Grid
from ..types import Concepts, Tubelets
from .labels import load_labels, save_labels

ARRAYS = "concepts.safetensors"
LABELS = "concepts_labels.npz"
TABLE = "concepts.csv"
FILES = (TABLE, LABELS, ARRAYS)
# fmt: off
_CONCEPT_FIELDS = (
    "site", "head", "number", "dictionary", "assignment", "weights", "memberships", "silhouette", "error", "converged",
)
_STABILITY = ("stability_seeds", "stability_clips", "stability_centres")
_OPTIONAL_FIELDS = ("encoder", "centres", "parent", *_STABILITY)
_TUBELET_FIELDS = ("site", "head", "video", "label", "size", "feature")
_TEXT_FIELDS = ("sites", "settings", "video_names", "video_hashes")
_GRIDS = ("grid", "slic_grid")  # of all sites together where they are equal, else site -> grid
# fmt: on


def save_concepts(concepts: Concepts, folder: str | Path, prefix: str = "") -> None:
    """Writes the three files into ``folder`` (made if missing); ``prefix`` is put before their names."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: getattr(concepts, name) for name in _CONCEPT_FIELDS}
    tensors |= {name: value for name in _OPTIONAL_FIELDS if (value := getattr(concepts, name)) is not None}
    tensors |= {f"tubelets/{name}": getattr(concepts.tubelets, name) for name in _TUBELET_FIELDS}
    if concepts.origin is not None:
        tensors |= {f"origin/{name}": getattr(concepts.origin, name) for name in _TUBELET_FIELDS}
    tensors |= {f"ids/{site}": concepts.ids[site] for site in concepts.sites}
    text = {name: getattr(concepts, name) for name in _TEXT_FIELDS}
    text |= {name: _shared(getattr(concepts, name)) for name in _GRIDS}
    if concepts.frames is not None:
        text["frames"] = concepts.frames
    if concepts.channels:
        text["channels"] = dict(concepts.channels)
    metadata = {name: json.dumps(value, sort_keys=True) for name, value in text.items()}
    save_labels(concepts.labels, concepts.sites, folder / (prefix + LABELS))
    write_text(folder / (prefix + TABLE), table(concepts))
    save_safetensors(folder / (prefix + ARRAYS), tensors, metadata)


def load_concepts(folder: str | Path, prefix: str = "") -> Concepts:
    """Reads what ``save_concepts`` wrote, labels when they are first asked for.

    Raises InputError for missing or damaged files.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / (prefix + ARRAYS)
    try:
        with safe_open(str(path), framework="numpy") as source:
            metadata = source.metadata() or {}
            tensors = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118
        text = {name: json.loads(metadata[name]) for name in (*_TEXT_FIELDS, *_GRIDS)}
        fields: dict[str, Any] = {name: tensors[name] for name in _CONCEPT_FIELDS}
        fields |= {name: tuple(text[name]) for name in _TEXT_FIELDS if name != "settings"}
        fields |= {name: _by_site(text[name], text["sites"]) for name in _GRIDS}
        fields["frames"] = tuple(json.loads(metadata["frames"])) if "frames" in metadata else None
        fields["channels"] = json.loads(metadata.get("channels", "{}"))
        labels = load_labels(Path(folder) / (prefix + LABELS), fields["slic_grid"])
        tubelets = Tubelets(**{name: tensors[f"tubelets/{name}"] for name in _TUBELET_FIELDS})
        origin = {name: tensors[f"origin/{name}"] for name in _TUBELET_FIELDS if "centres" in tensors}
        fields["origin"] = Tubelets(**origin) if origin else None
        ids = {site: tensors[f"ids/{site}"] for site in text["sites"]}
        fields |= {"settings": text["settings"], **{name: tensors.get(name) for name in _OPTIONAL_FIELDS}}
        return Concepts(**fields, tubelets=tubelets, ids=ids, labels=labels)
    except FileNotFoundError as error:
        raise InputError(f"no concepts in {folder} ({error}); run `vtcd discover` first") from None
    except InputError:  # of the labels
        raise
    except (SafetensorError, KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"{path} is damaged ({error}); run `vtcd discover` again") from None


def _shared(grid: Mapping[str, Grid]) -> Any:
    """The grid of all sites; site -> grid where they differ."""
    values = set(grid.values())
    return values.pop() if len(values) == 1 else dict(grid)


def _by_site(grid: Any, sites: Sequence[str]) -> dict[str, Grid]:
    """What ``_shared`` was given."""
    by_site: dict[str, Any] = grid if isinstance(grid, dict) else dict.fromkeys(sites, grid)
    return {site: (by_site[site][0], by_site[site][1], by_site[site][2]) for site in sites}


def table(concepts: Concepts) -> str:
    """The CSV text: one row per concept, empty cells where a value is undefined."""
    columns, text = concepts.table(), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Six digits of a number; nothing for NaN and None."""
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else f"{value:.6g}"
    return "" if value is None else value
