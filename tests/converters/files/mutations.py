"""Damaged and hostile copies of everything that a conversion reads, and what becomes of them.

Used by ``test_fuzz`` and, with thousands of files, by ``scripts/fuzz_converters.py``.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from tests.converters.torch_writer import Namespace, read_plain_safetensors, write_torch
from vtcd_jax.converters import convert
from vtcd_jax.converters.files.npz import read_npz
from vtcd_jax.models import InputError

LIMIT_S = 60
MAX_LINES = 210
NASTY_BYTES = (
    b"\xff" * 4, b"\xff" * 8, b"\x00" * 8, b"\x7f\xff\xff\xff", b"99999999999", b"]" * 64, b"(", b"R", b"\x81", b"b",
    b"PK\x01\x02", b"PK\x05\x06", b"cos\nsystem\n", b"\x8c\x02os\x8c\x06system\x93", b"../../x", b"\x96" + b"\xff" * 8,
)  # fmt: skip
NASTY_VALUES: tuple[Any, ...] = (
    -1, 0, 1, 2**31, 2**62, 2**64, 10**40, 0.5, -1e308, 1e400, float("nan"), "", "x", "../../etc/passwd", "a" * 5000,
    None, True, [], {}, [1], [0] * 200, [[[[]]]], {"a": 1}, [2**40, 2**40], "F32", "F8_E4M3", "BOOL",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A file to damage, and the whole way it is read. structured: a JSON text whose values are changed too."""

    name: str
    path: Path
    read: Callable[[], Any]
    structured: bool = False


class Fate(NamedTuple):
    """What became of a damaged file. outcome: "refused", "accepted", or what went wrong."""

    outcome: str
    seconds: float
    peak_bytes: int


# -- damage --------------------------------------------------------------------------------------------------------
def mutate(data: bytes, rng: np.random.Generator, structured: bool) -> bytes:
    """A damaged copy: bytes flipped, cut, inserted and moved, mostly near the index; or values of its JSON changed."""
    if structured and rng.random() < 0.7:
        return _encode(_mutate_json(json.loads(data), rng))
    if data[8:9] == b"{" and rng.random() < 0.6:
        return _mutate_header(data, rng)
    out = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        _damage(out, rng)
    return bytes(out)


def _damage(out: bytearray, rng: np.random.Generator) -> None:
    place, size = rng.random(), len(out)
    at = int(rng.integers(0, min(size, 900))) if place < 0.6 else int(rng.integers(0, size))
    at = max(0, size - 1 - at) if 0.4 < place < 0.6 else at
    kind, piece = rng.integers(0, 6), NASTY_BYTES[rng.integers(0, len(NASTY_BYTES))]
    if kind == 0:
        out[at] = int(rng.integers(0, 256))
    elif kind == 1:
        del out[at : at + int(rng.integers(1, 40))]
    elif kind == 2:
        out[at:at] = piece
    elif kind == 3:
        out[at : at + len(piece)] = piece
    elif kind == 4:
        other = int(rng.integers(0, size))
        out[at : at + 20] = out[other : other + 20]
    else:
        del out[at:]
    if not out:
        out += b"x"


def _mutate_header(data: bytes, rng: np.random.Generator) -> bytes:
    """A safetensors file whose header is another JSON, with the right or a wrong length before it."""
    length = int.from_bytes(data[:8], "little")
    text = _encode(_mutate_json(json.loads(data[8 : 8 + length]), rng))
    told = len(text) if rng.random() < 0.9 else int(rng.integers(0, 2**63))
    return struct.pack("<Q", told) + text + data[8 + length :]


def _mutate_json(value: Any, rng: np.random.Generator) -> Any:
    """The same JSON with a few values, anywhere in it, exchanged, removed or renamed."""
    for _ in range(rng.integers(1, 4)):
        node = value
        while isinstance(node, (dict, list)) and node:
            key = list(node)[rng.integers(0, len(node))] if isinstance(node, dict) else int(rng.integers(0, len(node)))
            if not (isinstance(node[key], (dict, list)) and node[key]) or rng.random() < 0.2:
                _exchange(node, key, rng)
                break
            node = node[key]
    return value


def _exchange(node: Any, key: Any, rng: np.random.Generator) -> None:
    kind = rng.random()
    if kind < 0.1:
        del node[key]
    elif kind < 0.2 and isinstance(node, dict):
        node[f"{key}{rng.integers(0, 99)}"] = node.pop(key)
    else:
        node[key] = copy.deepcopy(NASTY_VALUES[rng.integers(0, len(NASTY_VALUES))])


def _encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def truncations(data: bytes, parts: int = 50) -> Iterator[bytes]:
    """The file cut at every ``parts``-th of its length."""
    for i in range(parts):
        yield data[: len(data) * i // parts]


# -- what is damaged -----------------------------------------------------------------------------------------------
def subjects(golden: Path, folder: Path) -> list[Subject]:
    """Copies in ``folder`` of every reference checkpoint, in every container, with the files that go with them."""
    found = []
    for source in sorted((golden / "models").glob("*_tiny.safetensors")):
        name, state = source.stem.removesuffix("_tiny"), read_plain_safetensors(source)
        config = json.loads(source.with_suffix(".json").read_text())
        save_file(state, folder / f"{name}.safetensors")
        wrapped = {"module": state, "epoch": 3, "args": Namespace({"lr": 0.1, "x": [1, "y", (2, None)]})}
        write_torch(folder / f"{name}.pth", wrapped)
        for path in (folder / f"{name}.safetensors", folder / f"{name}.pth"):
            found.append(Subject(path.name, path, _conversion(path, folder, config)))
        if name.startswith("hf_"):
            found += _hub_subjects(folder / name, state, config.get("config", config))
    return found + _side_subjects(golden, folder)


def _conversion(path: Path, folder: Path, config: Any, **options: Any) -> Callable[[], Any]:
    return lambda: convert(path, folder / "out", config=config, dry_run=True, sanity=False, **options)


def _hub_subjects(folder: Path, state: dict[str, np.ndarray], config: dict[str, Any]) -> list[Subject]:
    """A Hugging Face folder of two shards: its index, its settings, a shard."""
    folder.mkdir()
    names = sorted(state)
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for shard, part in zip(shards, (names[::2], names[1::2]), strict=True):
        save_file({name: state[name] for name in part}, folder / shard)
    index = {"weight_map": {name: shards[i % 2] for i, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    read = _conversion(folder, folder.parent, None)
    paths = (folder / "model.safetensors.index.json", folder / "config.json", folder / "preprocessor_config.json")
    found = [Subject(f"{folder.name}/{path.name}", path, read, structured=True) for path in paths]
    return [*found, Subject(f"{folder.name}/shard", folder / shards[0], read)]


def _side_subjects(golden: Path, folder: Path) -> list[Subject]:
    """The files that a user gives beside the checkpoint: settings, class names, recorded values."""
    source, config = (golden / "models" / f"videomae_ft_tiny.{kind}" for kind in ("safetensors", "json"))
    (folder / "settings.json").write_bytes(config.read_bytes())
    (folder / "labels.json").write_text(json.dumps({f"class {i}": i for i in range(7)}))
    (folder / "labels.txt").write_text("".join(f"class {i}\n" for i in range(7)))
    rng = np.random.default_rng(0)
    arrays = {"video": rng.normal(size=(1, 8, 8, 8, 3)).astype(np.float32), "logits": rng.normal(size=(1, 7))}
    np.savez(folder / "io.npz", **arrays)
    np.savez_compressed(folder / "packed.npz", **arrays)
    known = json.loads(config.read_text())
    found = [Subject("settings.json", folder / "settings.json", _conversion(source, folder, folder / "settings.json"),
                     structured=True)]  # fmt: skip
    for name in ("labels.json", "labels.txt"):
        read = _conversion(source, folder, known, labels=folder / name)
        found.append(Subject(name, folder / name, read, structured=name.endswith("json")))
    for name in ("io.npz", "packed.npz"):
        found.append(
            Subject(name, folder / name, lambda name=name: [a.read() for a in read_npz(folder / name).values()])
        )
    return found


def _reading(path: Path) -> Callable[[], Any]:
    return lambda: [array.read() for array in read_npz(path).values()]


# -- what becomes of it --------------------------------------------------------------------------------------------
def fate(subject: Subject, data: bytes) -> Fate:
    """Reads ``data`` in the place of the subject's file; ends after ``LIMIT_S`` seconds at the latest."""
    subject.path.write_bytes(data)
    tracemalloc.reset_peak()
    before, begin = tracemalloc.get_traced_memory()[0], time.process_time()
    with _alarm():
        outcome = _outcome(subject.read)
    return Fate(outcome, time.process_time() - begin, tracemalloc.get_traced_memory()[1] - before)


def _outcome(read: Callable[[], Any]) -> str:
    try:
        read()
    except InputError as error:
        lines = str(error).splitlines()
        return "refused" if lines and len(lines) <= MAX_LINES else f"refused in {len(lines)} lines"
    except TimeoutError:
        return f"hang: more than {LIMIT_S} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"crash: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    return "accepted"


class _alarm:
    """Raises TimeoutError in the block after ``LIMIT_S`` seconds, where the system has alarms."""

    def __enter__(self) -> None:
        def ring(*_: Any) -> None:
            raise TimeoutError

        if os.name == "posix":
            self.before = signal.signal(signal.SIGALRM, ring)
            signal.alarm(LIMIT_S)

    def __exit__(self, *_: Any) -> None:
        if os.name == "posix":
            signal.alarm(0)
            signal.signal(signal.SIGALRM, self.before)
