"""Model folders from a plan: tensor by tensor, looked at once more, and renamed into place at the end."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from vtcd_jax.base import files
from vtcd_jax.base.errors import InputError
from vtcd_jax.models import store
from vtcd_jax.models.language.tokenizer import Tokenizer
from vtcd_jax.models.types import Model

from .files.safetensors_file import read_safetensors
from .files.tensors import LazyTensor
from .tables.rules import Fill, make
from .vocabulary import with_sentences

Result = TypeVar("Result")
PARAMS = "params.safetensors"
ALIGNMENT = 64  # bytes; jax takes over an array that begins at a multiple


def check_out(out: Path, checkpoint: Path, overwrite: bool) -> None:
    """Raises InputError when ``out`` may not be written."""
    if not out.exists() and not out.is_symlink():
        return
    if not overwrite:
        raise InputError(f"{out} exists; choose another folder or pass --overwrite")
    if not out.is_dir() or (any(out.iterdir()) and not (out / "manifest.json").exists()):
        raise InputError(f"{out} is no model folder, so it is not overwritten; choose another folder")
    if out.resolve() in (checkpoint.resolve(), *checkpoint.resolve().parents):
        raise InputError(f"{out} holds the checkpoint itself; choose another folder")


def write(
    model: Model,
    fills: Mapping[str, Fill],
    shapes: Mapping[str, tuple[int, ...]],
    out: Path,
    manifest: Mapping[str, Any],
    format: str,
    tokenizer: Tokenizer | None,
    check: Callable[[Model], Result] | None,
) -> Result | None:
    """Writes the folder, or nothing where ``check`` of the finished model raises. Returns what it gives.

    Safetensors are made and written one by one; Orbax takes the whole tree.
    """
    with files.replacing_folder(out) as new:
        if format == "safetensors":
            lazy = {name: (shapes[name], "float32", lambda f=fill: make(f)) for name, fill in fills.items()}
            files.save_safetensors(new / PARAMS, lazy)
            params = read_params(new / PARAMS) if check or tokenizer else {}
        else:
            params = make_params(fills)
            _save_orbax(new / "params", params)
        full = with_sentences(dataclasses.replace(model, params=params), tokenizer)
        result = check and check(full)
        store.write_description(new, full, dict(manifest), tokenizer)
    return result


def make_params(fills: Mapping[str, Fill]) -> dict[str, Any]:
    """All parameters in memory, nested."""
    return files.unflatten({name: jax.device_put(make(fill)) for name, fill in fills.items()})


def read_params(path: Path) -> dict[str, Any]:
    """The parameters of a float32 file, read one by one to where jax on the CPU uses them without a copy, nested."""
    tensors = read_safetensors(path)
    with open(path, "rb", buffering=0) as file:
        return files.unflatten({name: jax.device_put(_read_aligned(file, t)) for name, t in tensors.items()})


def _read_aligned(file: FileIO, tensor: LazyTensor) -> np.ndarray:
    memory = np.empty(4 * tensor.size + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    values = memory[begin : begin + 4 * tensor.size]
    file.seek(tensor.start)
    if tensor.size and file.readinto(values.data) != values.size:
        raise OSError(errno.EIO, "ended while it was read", file.name)
    return values.view(np.float32).reshape(tensor.shape)


def _save_orbax(folder: Path, params: dict[str, Any]) -> None:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.resolve(), params)
        checkpointer.wait_until_finished()
