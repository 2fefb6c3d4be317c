"""Concepts on disk: arrays in ``concepts.safetensors``, SLIC labels compressed in ``concepts_labels.npz``, a
table in ``concepts.csv`` with one row per concept. Files are whole or absent, and their bytes depend on the
content alone.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import replacing, save_safetensors, write_text

from .types import Concepts, Tubelets

ARRAYS = "concepts.safetensors"
LABELS = "concepts_labels.npz"
TABLE = "concepts.csv"
# fmt: off
COLUMNS = (
    "id", "name", "site", "layer", "head", "number", "tubelets", "videos", "spread", "silhouette", "error",
    "stability_seeds", "stability_clips", "best_clip",
)

_CONCEPT_FIELDS = (
    "site", "head", "number", "dictionary", "assignment", "weights", "memberships", "silhouette", "error", "converged",
)
_OPTIONAL_FIELDS = ("encoder", "stability_seeds", "stability_clips")
_TUBELET_FIELDS = ("site", "head", "video", "label", "size", "feature")
_TEXT_FIELDS = ("sites", "grid", "slic_grid", "settings", "video_names", "video_hashes")
# fmt: on


def save_concepts(concepts: Concepts, folder: str | Path, prefix: str = "") -> None:
    """Writes the three files into ``folder`` (made if missing); ``prefix`` is put before their names."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: getattr(concepts, name) for name in _CONCEPT_FIELDS}
    tensors |= {name: value for name in _OPTIONAL_FIELDS if (value := getattr(concepts, name)) is not None}
    tensors |= {f"tubelets/{name}": getattr(concepts.tubelets, name) for name in _TUBELET_FIELDS}
    tensors |= {f"ids/{site}": concepts.ids[site] for site in concepts.sites}
    metadata = {name: json.dumps(getattr(concepts, name), sort_keys=True) for name in _TEXT_FIELDS}
    with replacing(folder / (prefix + LABELS)) as file:
        labels: dict[str, Any] = {site: concepts.labels[site] for site in sorted(concepts.sites)}
        np.savez_compressed(file, **labels)
    write_text(folder / (prefix + TABLE), table(concepts))
    save_safetensors(folder / (prefix + ARRAYS), tensors, metadata)


def load_concepts(folder: str | Path, prefix: str = "") -> Concepts:
    """Reads what ``save_concepts`` wrote. Raises InputError for missing or damaged files."""
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / (prefix + ARRAYS)
    try:
        with safe_open(str(path), framework="numpy") as source:
            metadata = source.metadata() or {}
            tensors = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118
        text = {name: json.loads(metadata[name]) for name in _TEXT_FIELDS}
        labels_path = Path(folder) / (prefix + LABELS)
        with np.load(labels_path) as archive:
            labels = {site: archive[site] for site in text["sites"]}
        fields: dict[str, Any] = {name: tensors[name] for name in _CONCEPT_FIELDS}
        fields |= {name: tuple(text[name]) for name in _TEXT_FIELDS if name != "settings"}
        tubelets = Tubelets(**{name: tensors[f"tubelets/{name}"] for name in _TUBELET_FIELDS})
        ids = {site: tensors[f"ids/{site}"] for site in text["sites"]}
        fields |= {"settings": text["settings"], **{name: tensors.get(name) for name in _OPTIONAL_FIELDS}}
        return Concepts(**fields, tubelets=tubelets, ids=ids, labels=labels)
    except FileNotFoundError as error:
        raise InputError(f"no concepts in {folder} ({error}); run `vtcd discover` first") from None
    except (SafetensorError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} or its labels are damaged ({error}); run `vtcd discover` again") from None


def table(concepts: Concepts) -> str:
    """The CSV text: one row per concept, empty cells where a value is undefined."""
    count, videos, spread = concepts.count(), concepts.present().sum(0), concepts.spread()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for i, name in enumerate(concepts.names):
        site = int(concepts.site[i])
        where = (concepts.sites[site], concepts.layers[site], int(concepts.head[i]), int(concepts.number[i]))
        again = (np.nan if s is None else s[i] for s in (concepts.stability_seeds, concepts.stability_clips))
        numbers = (spread[i], concepts.silhouette[i], concepts.error[i], *again)
        cells = ("" if np.isnan(value) else f"{value:.6g}" for value in numbers)
        best = [concepts.video_names[v] for v in concepts.best_clips(i, 1)] or [""]
        writer.writerow([i, name, *where, int(count[i]), int(videos[i]), *cells, *best])
    return text.getvalue()
