"""A pickle is read as data: nothing in it is called, whatever it asks for."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import pytest

from tests.converters.torch_writer import Raw, call, write_torch
from vtcd_jax.converters.files import pickles
from vtcd_jax.converters.files.containers import open_checkpoint
from vtcd_jax.converters.files.pickles import Record
from vtcd_jax.converters.files.tensors import LazyTensor
from vtcd_jax.models import InputError

A = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def content(path: Path):
    return open_checkpoint(path).content


def os_system(path: Path) -> Raw:
    return call("os.system", f"touch {path}")


def test_a_pickle_that_calls_os_system_is_refused_and_does_not_run(tmp_path):
    import pickle

    proof = tmp_path / "owned"
    # The attack is a real one: Python's own reader runs it.
    pickle.loads(b"\x80\x02" + os_system(proof).code + b".")
    assert proof.exists()
    proof.unlink()
    path = write_torch(tmp_path / "x.pth", {"model": {"a": A}, "extra": os_system(proof)})
    with pytest.raises(InputError, match=r"'os.system', which is not on the allow-list; nothing was executed") as error:
        open_checkpoint(path)
    assert not proof.exists() and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name",
    [
        "posix.system", "builtins.eval", "builtins.exec", "__builtin__.getattr", "subprocess.Popen",
        "operator.attrgetter",
        "torch.load", "torch.hub.load", "numpy.load", "functools.partial", "pickle.loads", "builtins.__import__",
        "torch._utils.__builtins__", "collections.OrderedDict.fromkeys", "argparse.Namespace.__init__",
        "pathlib.Path.unlink",
    ],
)  # fmt: skip
def test_callables_off_the_allow_list(tmp_path, name):
    with pytest.raises(InputError, match="allow-list"):
        open_checkpoint(write_torch(tmp_path / "x.pth", {"a": call(name, "1")}))


def test_allowed_types_cannot_be_called_and_state_runs_nothing(tmp_path):
    for name in ("builtins.object", "torch.FloatStorage", "numpy.ndarray", "builtins.bytes"):
        with pytest.raises(InputError, match="allow-list"):
            open_checkpoint(write_torch(tmp_path / "x.pth", {"a": call(name, 10)}))
    proof = tmp_path / "owned"
    state = {"__reduce__": 1, "__class__": "x", "__setstate__": 2}
    built = Raw(b"cargparse\nNamespace\n)\x81" + b"}(" + b"".join(
        b"X" + struct.pack("<I", len(k)) + k.encode() + b"K\x01" for k in state) + b"ub")  # fmt: skip
    read = content(write_torch(tmp_path / "x.pth", {"a": built}))
    assert type(read["a"]) is Record and read["a"].fields == dict.fromkeys(state, 1) and not proof.exists()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (b"cos\nsystem\n", "os.system"),
        (b"(S'x'\nios\nsystem\n", "INST"),
        (b"(cos\nsystem\nS'x'\no", "os.system"),
        (b"\x8c\x02os\x8c\x06system\x93", "os.system"),
        (b"\x82\x01", "EXT1"),
        (b"Px\n", "PERSID"),
        (b"K\x01Q", "no storage"),
        (b"K\x01)R", "allow-list"),
        (b"}}K\x01s", "dict key of type dict"),
        (b"\x8b\xff\xff\xff\x7f", "damaged"),
        (b"\x8b\x00\x10\x00\x00" + b"\x7f" * 4096, "bits"),
        (b"h\x05", "never stored"),
        (b"j\xff\xff\xff\xff", "never stored"),
        (b"\x96" + b"\xff" * 8, "damaged"),
        (b"(((R", "damaged"),
        (b"RRR", "damaged"),
        (b"K\x01(t(u", "damaged"),
        (b"0" * 9, "damaged"),
    ],
)
def test_hostile_instructions(tmp_path, code, says):
    with pytest.raises(InputError, match=says):
        open_checkpoint(write_torch(tmp_path / "x.pth", {"a": Raw(code)}))


def test_doubling_references_and_deep_nesting_cost_nothing(tmp_path, monkeypatch):
    doubling = b")" + b"2\x86" * 5000
    deep = b"]" * 20_000 + b"a" * 19_999
    begin = time.process_time()
    for code in (doubling, deep):
        read = content(write_torch(tmp_path / "x.pth", {"a": Raw(code), "w": A}))
        assert isinstance(read["w"], LazyTensor)
        del read
    monkeypatch.setattr(pickles, "MAX_OPERATIONS", 10_000)
    many = Raw(b"N0" * 5_001 + b"N")
    with pytest.raises(InputError, match="instructions"):
        open_checkpoint(write_torch(tmp_path / "x.pth", {"a": many}))
    assert time.process_time() - begin < 30
