"""Results read back as they were, from a file whose bytes depend on them alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from vtcd_jax.models import InputError
from vtcd_jax.runs.results import load_results, save_results


@dataclass(frozen=True)
class Result:
    values: np.ndarray
    name: str
    counts: tuple[int, ...] = ()
    error: float = 0.0
    extra: np.ndarray | None = None


ONE = Result(np.arange(6, dtype=np.float32).reshape(2, 3), "größer", (1, 2), float("nan"))
TWO = Result(np.array(True), "", extra=np.zeros((0, 4), np.int64))


def test_results_read_back_as_they_were(tmp_path):
    save_results(tmp_path / "r.safetensors", {"a/b": ONE, "a/c": TWO})
    found = load_results(tmp_path / "r.safetensors", {"a": Result})
    assert list(found) == ["a/b", "a/c"]
    for result, expected in zip(found.values(), (ONE, TWO), strict=True):
        np.testing.assert_array_equal(result.values, expected.values)
        assert result.values.dtype == expected.values.dtype and result.values.shape == expected.values.shape
        assert (result.name, result.counts) == (expected.name, expected.counts)
    assert np.isnan(found["a/b"].error) and found["a/b"].extra is None and found["a/c"].extra.shape == (0, 4)


def test_equal_results_have_equal_bytes(tmp_path):
    save_results(tmp_path / "a.safetensors", {"x": ONE, "y": TWO})
    save_results(tmp_path / "b.safetensors", {"y": TWO, "x": ONE})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize("damage", ["missing", "noise", "other", "kind"])
def test_a_file_that_is_not_what_it_should_be_is_named(tmp_path, damage):
    path = tmp_path / "r.safetensors"
    if damage != "missing":
        save_results(path, {"a": ONE})
    if damage == "noise":
        path.write_bytes(path.read_bytes()[:40])
    if damage == "other":
        from safetensors.numpy import save_file

        save_file({"a/values": ONE.values}, path)
    with pytest.raises(InputError, match="r.safetensors"):
        load_results(path, {"b" if damage == "kind" else "a": Result})
