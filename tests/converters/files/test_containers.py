"""Checkpoint files are read without torch, checked before they are used, and never executed."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.converters.torch_writer import Namespace, Raw, View, bfloat16, call, write_torch
from vtcd_jax.converters.files.containers import open_checkpoint
from vtcd_jax.converters.files.pickles import Record
from vtcd_jax.models import InputError

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 4)).astype(np.float32)


def content(path: Path):
    return open_checkpoint(path).content


def safetensors_bytes(header: dict | bytes, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


# -- honest files --------------------------------------------------------------------------------------------------
def test_safetensors_values_and_dtypes(tmp_path):
    given = {"a": A, "half": A.astype(np.float16), "n": np.arange(5), "empty": np.zeros((0, 3), np.float32)}
    save_file(given, tmp_path / "x.safetensors")
    read = content(tmp_path / "x.safetensors")
    assert set(read) == set(given)
    for name, value in given.items():
        np.testing.assert_array_equal(read[name].read(), value)
        assert read[name].dtype == value.dtype.name


def test_torch_zip_values_views_and_arguments(tmp_path):
    base = np.arange(24, dtype=np.float32)
    args = Namespace({"lr": 0.5, "model": "base", "nested": {"x": [1, (2, None)]}, "flag": True})
    path = write_torch(
        tmp_path / "x.pth",
        {
            "model": {"a": A, "half": A.astype(np.float16), "steps": np.array(7)},
            "transposed": View(base, 4, (4, 3), (1, 4)),
            "args": args,
            "epoch": 12,
        },
    )
    read = content(path)
    np.testing.assert_array_equal(read["model"]["a"].read(), A)
    np.testing.assert_array_equal(read["model"]["half"].read(), A.astype(np.float16))
    assert read["model"]["steps"].read() == 7 and read["model"]["steps"].shape == ()
    np.testing.assert_array_equal(read["transposed"].read(), base[4:16].reshape(3, 4).T)
    assert read["epoch"] == 12
    assert isinstance(read["args"], Record) and read["args"].name == "argparse.Namespace"
    assert read["args"].fields["nested"] == {"x": [1, (2, None)]}


def test_bfloat16_comes_as_float32(tmp_path):
    exact = np.array([1.0, -2.5, 0.15625], np.float32)
    np.testing.assert_array_equal(content(write_torch(tmp_path / "x.pth", {"a": bfloat16(exact)}))["a"].read(), exact)
    header = {"a": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}
    (tmp_path / "x.safetensors").write_bytes(safetensors_bytes(header, bfloat16(exact).tobytes()))
    np.testing.assert_array_equal(content(tmp_path / "x.safetensors")["a"].read(), exact)


def test_kind_is_told_by_content_not_by_name(tmp_path):
    save_file({"a": A}, tmp_path / "weights.bin")
    assert open_checkpoint(tmp_path / "weights.bin").kind == "safetensors file"
    write_torch(tmp_path / "weights.ckpt", {"a": A})
    assert open_checkpoint(tmp_path / "weights.ckpt").kind == "torch zip file"


def test_numpy_scalars_paths_and_sets_are_inert(tmp_path):
    dtype = call("numpy.dtype", "f8", False, True)
    scalar = Raw(
        b"cnumpy.core.multiarray\nscalar\n(" + dtype.code + call("_codecs.encode", "\0\0\0\0\0\0\xf8?", "latin1").code
        + b"tR"
    )  # fmt: skip
    given = {
        "best": scalar,
        "folder": call("pathlib.PosixPath", "/", "data", "clips"),
        "chosen": call("__builtin__.set", ["a"]),
        "size": call("torch.Size", (1, 2)),
        "device": call("torch.device", "cuda"),
    }
    read = content(write_torch(tmp_path / "x.pth", given))
    assert read == {"best": 1.5, "folder": "/data/clips", "chosen": ["a"], "size": (1, 2), "device": "cuda"}


def test_file_made_by_torch(tmp_path):
    torch = pytest.importorskip("torch")
    import argparse

    state = {"w": torch.arange(12.0).reshape(3, 4).T, "h": torch.ones(2).half(), "b": torch.ones(2).bfloat16()}
    parameter = torch.nn.Parameter(torch.full((2,), 3.0))
    torch.save({"model": state, "p": parameter, "args": argparse.Namespace(lr=0.1)}, tmp_path / "x.pth")
    read = content(tmp_path / "x.pth")
    for name, tensor in state.items():
        np.testing.assert_array_equal(read["model"][name].read(), tensor.float().numpy())
    np.testing.assert_array_equal(read["p"].read(), [3.0, 3.0])
    assert read["args"].fields == {"lr": 0.1}
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match="before version 1.6"):
        content(tmp_path / "old.pth")


def test_folder_with_shards(tmp_path):
    save_file({"a": A}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": A + 1}, tmp_path / "model-00002-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    read = open_checkpoint(tmp_path)
    np.testing.assert_array_equal(read.content["b"].read(), A + 1)
    assert len(read.hashes()) == 2
    for elsewhere in ("../outside.safetensors", "/etc/passwd", "..", "", "a" * 300, "\ud800", ["b"], 3, None):
        index["weight_map"]["b"] = elsewhere
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(InputError, match="do not lie beside it"):
            open_checkpoint(tmp_path)


# -- files that are no checkpoints ---------------------------------------------------------------------------------
def test_absent_empty_text_and_folder(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        open_checkpoint(tmp_path / "none.pth")
    (tmp_path / "zero.pth").write_bytes(b"")
    with pytest.raises(InputError, match=r"zero.pth is empty \(0 bytes\); download"):
        open_checkpoint(tmp_path / "zero.pth")
    (tmp_path / "text.pth").write_text("<html>not found</html>")
    with pytest.raises(InputError, match="text.pth is a web page"):
        open_checkpoint(tmp_path / "text.pth")
    with pytest.raises(InputError, match=r"holds several checkpoints \(text.pth, zero.pth\); give one of them"):
        open_checkpoint(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds none of model.safetensors"):
        open_checkpoint(tmp_path / "none")


def test_legacy_format_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "old.pth").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.")
    with pytest.raises(InputError) as error:
        open_checkpoint(tmp_path / "old.pth")
    assert "vtcd-jax[torch]" in str(error.value) and "weights_only=True" in str(error.value)
    assert len(str(error.value).splitlines()) == 2


def test_truncated_anywhere_is_refused(tmp_path):
    save_file({"a": A, "b": A}, tmp_path / "whole.safetensors")
    write_torch(tmp_path / "whole.pth", {"model": {"a": A, "b": A}})
    for name in ("whole.safetensors", "whole.pth"):
        whole = (tmp_path / name).read_bytes()
        for length in sorted({len(whole) * i // 60 for i in range(60)} | {8, 9, len(whole) - 1}):
            cut = tmp_path / f"cut{Path(name).suffix}"
            cut.write_bytes(whole[:length])
            with pytest.raises(InputError, match="cut"):
                open_checkpoint(cut)


def test_file_that_shrinks_after_it_was_opened(tmp_path):
    save_file({"a": A}, tmp_path / "x.safetensors")
    tensor = content(tmp_path / "x.safetensors")["a"]
    with open(tmp_path / "x.safetensors", "r+b") as file:
        file.truncate(90)
    with pytest.raises(InputError, match="ended while it was read"):
        tensor.read()


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (safetensors_bytes({"a": ENTRY}, bytes(8), length=2**40), "header should be"),
        (safetensors_bytes({"a": ENTRY}, bytes(8), length=2**63), "header should be"),
        (safetensors_bytes({"a": ENTRY}, bytes(4)), "truncated"),
        (safetensors_bytes({"a": ENTRY}, bytes(12)), "belong to nothing"),
        (safetensors_bytes({"a": ENTRY, "b": ENTRY}, bytes(8)), "overlaps"),
        (safetensors_bytes({"a": {**ENTRY, "data_offsets": [8, 16]}}, bytes(16)), "gap"),
        (safetensors_bytes({"a": {**ENTRY, "data_offsets": [8, 0]}}, bytes(8)), "does not take"),
        (safetensors_bytes({"a": {**ENTRY, "data_offsets": [-8, 0]}}, bytes(8)), "no valid data_offsets"),
        (safetensors_bytes({"a": {**ENTRY, "shape": [2**40, 2**40]}}, bytes(8)), "does not take"),
        (safetensors_bytes({"a": {**ENTRY, "shape": [2**70]}}, bytes(8)), "no valid shape"),
        (safetensors_bytes({"a": {**ENTRY, "shape": [True, 2]}}, bytes(8)), "no valid shape"),
        (safetensors_bytes({"a": {**ENTRY, "shape": [1] * 60 + [2]}}, bytes(8)), "no valid shape"),
        (safetensors_bytes({"a": {**ENTRY, "dtype": "F8_E4M3"}}, bytes(8)), "F8_E4M3"),
        (safetensors_bytes({"a": {"dtype": "F32"}}, bytes(8)), "not described"),
        (safetensors_bytes(b"[1, 2]  "), "no JSON object"),
        (safetensors_bytes(b'{"a": }'), "no valid JSON"),
        (safetensors_bytes(b'{"a":' * 50_000 + b"1"), "nested"),
        (safetensors_bytes(b'{"a":1,"a":1}'), "twice"),
    ],
)
def test_broken_safetensors_header(tmp_path, data, says):
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(InputError, match=says):
        open_checkpoint(tmp_path / "x.safetensors")


# -- hostile zips --------------------------------------------------------------------------------------------------
def test_compressed_entries_are_refused(tmp_path):
    path = write_torch(tmp_path / "bomb.pth", {"a": np.zeros(2**20, np.float32)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="compressed"):
        open_checkpoint(path)


def test_zips_that_torch_does_not_make(tmp_path):
    with zipfile.ZipFile(tmp_path / "docs.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match="not one that torch.save makes"):
        open_checkpoint(tmp_path / "docs.zip")
    with pytest.raises(InputError, match="big-endian"):
        open_checkpoint(write_torch(tmp_path / "big.pth", {"a": A}, byteorder="big"))
    script = write_torch(tmp_path / "script.pt", {"a": A})
    with zipfile.ZipFile(script, "a") as archive:
        archive.writestr("archive/constants.pkl", b"\x80\x02).")
    assert open_checkpoint(script).kind.startswith("TorchScript program")


def test_overlapping_and_misplaced_entries(tmp_path):
    whole = write_torch(tmp_path / "x.pth", {"a": A, "b": A + 1}).read_bytes()
    at = whole.rindex(b"archive/data/1") - 46
    first = struct.unpack("<I", whole[whole.rindex(b"archive/data/0") - 4 :][:4])[0]
    (tmp_path / "two.pth").write_bytes(whole[: at + 42] + struct.pack("<I", first) + whole[at + 46 :])
    with pytest.raises(InputError, match="overlap"):
        open_checkpoint(tmp_path / "two.pth")
    (tmp_path / "far.pth").write_bytes(whole[: at + 42] + struct.pack("<I", 5) + whole[at + 46 :])
    with pytest.raises(InputError, match="no header"):
        open_checkpoint(tmp_path / "far.pth")


@pytest.mark.parametrize(
    "view",
    [
        View(A, 0, (13,), (1,)),
        View(A, 10, (3,), (1,)),
        View(A, 0, (2, 2), (10, 2)),
        View(A, -1, (2,), (1,)),
        View(A, 0, (2,), (-1,)),
        View(A, 0, (2**62,), (0,)),
        View(A, 0, (2**31, 2**31), (0, 0)),
        View(A, 0, (1,) * 40, (1,) * 40),
        View(A, 0, (2, 2), (1,)),
    ],
)
def test_tensors_that_reach_beyond_their_storage(tmp_path, view):
    path = write_torch(tmp_path / "x.pth", {"a": view})
    with pytest.raises(InputError, match="tensor"):
        open_checkpoint(path)


def test_storage_of_another_size_or_missing(tmp_path):
    with zipfile.ZipFile(write_torch(tmp_path / "x.pth", {"a": A})) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for change, says in (({"archive/data/0": bytes(40)}, "entry has 40 bytes"), ({"archive/data/0": None}, "missing")):
        with zipfile.ZipFile(tmp_path / "y.pth", "w") as archive:
            for name, data in (parts | change).items():
                if data is not None:
                    archive.writestr(name, data)
        with pytest.raises(InputError, match=says):
            open_checkpoint(tmp_path / "y.pth")
