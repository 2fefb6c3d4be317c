"""Opens what a user calls a checkpoint: a ``.safetensors`` file, a torch zip file, or a Hugging Face folder.

The kind is told from the content, never from the file's name. Only indexes are read here; tensors stay on the disk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtcd_jax.base.errors import InputError

from .safetensors_file import read_safetensors
from .signatures import WEIGHT_ENDINGS, refuse_other_kinds
from .tensors import LazyTensor, file_size
from .torch_file import read_torch

MAX_JSON = 32 * 2**20
MAX_SHARDS = 1000
MAX_NAME = 255
WEIGHTS = (
    "model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)  # fmt: skip
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin", "adapter_config.json")
# Files of a training program that have the endings of weights.
_NO_WEIGHTS = ("training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt", "rng_state.pth")
_INDEXES = tuple(f"{name}.index.json" for name in WEIGHTS)


@dataclass(frozen=True)
class Container:
    """An opened checkpoint.

    path: what the user gave.  files: the weight files, in order.  kind: e.g. "safetensors file".
    content: nested dicts with ``LazyTensor`` leaves, ``Record`` for other objects.
    """

    path: Path
    files: tuple[Path, ...]
    kind: str
    content: Any

    @property
    def adapters(self) -> tuple[str, ...]:
        """Files of an adapter (peft's) beside the weights."""
        folder, taken = self.files[0].parent, {file.name for file in self.files}
        return tuple(name for name in ADAPTERS if name not in taken and (folder / name).is_file())

    def beside(self, name: str) -> dict[str, Any] | None:
        """The JSON object in the file of that name beside the weights (``config.json``), None when there is none."""
        return _object(self.files[0].parent / name)

    def hashes(self) -> dict[str, str]:
        """File name -> SHA-256 of its bytes."""
        return {file.name: _sha256(file) for file in self.files}


def open_checkpoint(path: str | Path) -> Container:
    """Reads the index of a checkpoint. Raises InputError when it is no such thing, or damaged."""
    path = Path(path)
    files = _weight_files(path) if path.is_dir() else (path,)
    opened = [(file, *_read(file)) for file in files]
    kind, content = opened[0][1:] if len(opened) == 1 else (f"{len(opened)} shards, {opened[0][1]}s", _merged(opened))
    if path.is_dir():
        kind = f"Hugging Face folder ({kind})"
    return Container(path, files, kind, content)


def _read(file: Path) -> tuple[str, Any]:
    """(kind, content). A safetensors file begins with the length of its header and "{", a torch file is a zip."""
    file_size(file)
    with open(file, "rb") as opened:
        start = opened.read(9)
    is_zip = start.startswith(b"PK\x03\x04")
    if not is_zip:
        refuse_other_kinds(file)
    if not is_zip and (file.suffix == ".safetensors" or (start[8:9] == b"{" and not start.startswith(b"\x80"))):
        return "safetensors file", read_safetensors(file)
    return read_torch(file)


def _weight_files(folder: Path) -> tuple[Path, ...]:
    for name in WEIGHTS:
        if (folder / name).exists():
            return (folder / name,)
    for name in _INDEXES:
        if (folder / name).exists():
            return _shards(folder / name)
    names = sorted(f.name for f in folder.iterdir() if f.suffix.lower() in WEIGHT_ENDINGS and f.is_file())
    weights = [name for name in names if name not in ADAPTERS and name not in _NO_WEIGHTS]
    if len(weights) == 1:
        return (folder / weights[0],)
    if weights:
        raise InputError(f"{folder} holds several checkpoints ({', '.join(weights[:6])}); give one of them")
    if any(name in ADAPTERS for name in names):
        raise InputError(f"{folder} holds an adapter without its base; merge them first (peft: merge_and_unload())")
    if (folder / "data.pkl").exists():
        raise InputError(f"{folder} is an unpacked torch file; pack it again (zip -0 -r x.pth {folder.name})")
    raise InputError(f"{folder} holds none of {', '.join((*WEIGHTS, *_INDEXES))}; give the checkpoint file itself")


def _shards(index: Path) -> tuple[Path, ...]:
    weight_map = (_object(index) or {}).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{index} has no weight_map; download it again")
    names = {name if _is_file_name(name) else "" for name in weight_map.values()}
    if "" in names or len(names) > MAX_SHARDS:
        raise InputError(f"{index} names files that do not lie beside it; download it again")
    return tuple(index.parent / name for name in sorted(names))


def _is_file_name(name: Any) -> bool:
    """Whether it leads nowhere but to a file in the same folder."""
    if not isinstance(name, str) or name in ("", ".", "..") or not name.isprintable():
        return False
    return Path(name).name == name and len(name.encode()) <= MAX_NAME


def _merged(opened: Sequence[tuple[Path, str, Any]]) -> dict[str, LazyTensor]:
    merged: dict[str, Any] = {}
    for file, _, content in opened:
        if not isinstance(content, dict):
            raise InputError(f"{file} holds no tensors; download it again")
        twice = sorted(set(merged) & set(content))
        if twice:
            raise InputError(f"{file} repeats tensors of another shard ({twice[0]!r}); download the folder again")
        merged |= content
    return merged


def read_json(path: str | Path) -> Any:
    """A small JSON file. Raises InputError naming it when it is missing, too large or no JSON."""
    path = Path(path)
    if file_size(path) > MAX_JSON:
        raise InputError(f"{path} is too large for a settings file")
    try:
        return json.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else error
        raise InputError(f"{path} is no valid JSON ({reason}); correct it or download it again") from None


def _object(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no JSON object; correct it or download it again")
    return value


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
