"""Damaged files: whatever is done to their bytes, reading ends soon, in values or in an ``InputError``."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from vtcd_jax.converters.containers import open_checkpoint
from vtcd_jax.converters.layouts import recognise
from vtcd_jax.converters.rules import value_problems
from vtcd_jax.models import InputError

from .torch_writer import Namespace, write_torch

NASTY = (
    b"\xff" * 4,
    b"\xff" * 8,
    b"\x00" * 8,
    b"\x7f\xff\xff\xff",
    b"99999999999",
    b"]" * 64,
    b"(",
    b"R",
    b"\x81",
    b"b",
)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """A copy with a few flips, cuts, insertions or moved pieces, mostly where the index lies."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        near_start = rng.random() < 0.7
        at = int(rng.integers(0, min(len(out), 900) if near_start else len(out)))
        kind = rng.integers(0, 5)
        if kind == 0:
            out[at] = int(rng.integers(0, 256))
        elif kind == 1:
            del out[at : at + int(rng.integers(1, 40))]
        elif kind == 2:
            out[at:at] = NASTY[rng.integers(0, len(NASTY))]
        elif kind == 3:
            piece = NASTY[rng.integers(0, len(NASTY))]
            out[at : at + len(piece)] = piece
        else:
            other = int(rng.integers(0, len(out)))
            out[at : at + 20] = out[other : other + 20]
        if not out:
            out = bytearray(b"x")
    return bytes(out)


def read_all(path: Path) -> str:
    """The whole way of a checkpoint up to its values."""
    try:
        state = recognise(open_checkpoint(path).content, str(path))
        value_problems(state.tensors, state.names, state.layout.rules)
        for tensor in state.tensors.values():
            tensor.read()
    except InputError as error:
        assert str(error) and len(str(error).splitlines()) <= 2
        return "refused"
    return "read"


def test_mutated_files_are_read_or_refused(tmp_path, capsys):
    rng = np.random.default_rng(20)
    state = {f"blocks.0.attn.{n}": rng.normal(size=(6,)).astype(np.float32) for n in ("q_bias", "v_bias")}
    state |= {"head.weight": rng.normal(size=(3, 2)).astype(np.float32)}
    save_file(state, tmp_path / "a.safetensors")
    write_torch(tmp_path / "a.pth", {"module": state, "args": Namespace({"lr": 0.1, "x": [1, "y", (2, None)]})})
    seen = {"read": 0, "refused": 0}
    slowest = 0.0
    tracemalloc.start()
    for name in ("a.safetensors", "a.pth"):
        whole = (tmp_path / name).read_bytes()
        assert read_all(tmp_path / name) == "read"
        for _ in range(400):
            path = tmp_path / f"mutated{Path(name).suffix}"
            path.write_bytes(mutate(whole, rng))
            begin = time.process_time()
            seen[read_all(path)] += 1
            slowest = max(slowest, time.process_time() - begin)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert min(seen.values()) > 20, seen
    assert slowest < 5 and peak < 64 * 2**20, (slowest, peak)
