"""A converted network is compared with recorded values of the original, or at least looked at, before it is written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.models.reference import channels_last
from vtcd_jax import models
from vtcd_jax.converters import convert
from vtcd_jax.models import InputError, Inputs, forward

from .tools import convert_only, settings, source
from .torch_writer import read_plain_safetensors, write_torch

pytestmark = pytest.mark.compile

SITES = ("block_0/attn/key", "block_1/attn/mixed", "block_2/resid_post")


@pytest.fixture(scope="module")
def recording(tmp_path_factory, golden) -> dict[str, np.ndarray]:
    """What a user records: the original's inputs and outputs, in our layout."""
    with np.load(golden / "models" / "videomae_ft_tiny_io.npz") as arrays:
        found = {"video": channels_last(arrays["video"]), "logits": arrays["logits"]}
        stream = {f"block_{i}/resid_post": arrays[f"block_out.{i}"].reshape(2, 4, 4, 4, 48) for i in range(3)}
    return found | stream


def test_the_golden_values_are_met(golden, tmp_path, recording):
    np.savez(tmp_path / "io.npz", **recording)
    config = settings(golden, "videomae_ft")
    report = convert(source(golden, "videomae_ft"), tmp_path / "m", config=config, verify=tmp_path / "io.npz")
    assert [row.name for row in report.verified] == [f"block_{i}/resid_post" for i in range(3)] + ["logits"]
    assert all(row.error < 1e-5 for row in report.verified)
    assert "verified: block_1/resid_post  2x4x4x4x48" in report.table()
    assert "4 recorded arrays within" in report.summary() and not report.sanity
    json.dumps(report.to_json())
    assert models.load(tmp_path / "m").config == report.config


def test_the_first_site_that_diverges_is_named_and_nothing_is_written(golden, tmp_path, recording):
    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    state["blocks.1.mlp.fc2.bias"] = state["blocks.1.mlp.fc2.bias"] + np.float32(0.01)
    path = write_torch(tmp_path / "x.pth", state)
    for dry_run in (False, True):
        with pytest.raises(InputError, match=r"differs from the recorded values: first at block_1/resid_post") as error:
            convert(path, tmp_path / "m", config=settings(golden, "videomae_ft"), verify=recording, dry_run=dry_run)
        lines = str(error.value).splitlines()
        assert lines[-2].split()[0] == "block_0/resid_post" and lines[-1].split()[0] == "block_1/resid_post"
        assert [p.name for p in tmp_path.iterdir()] == ["x.pth"]
    report = convert(path, tmp_path / "m", config=settings(golden, "videomae_ft"), verify=recording, tolerance=0.5)
    assert report.verified[0].error < 1e-5 < report.verified[1].error


def without(recording, *names):
    return {name: value for name, value in recording.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r | {"block_1/attn/keys": r["logits"]}, r"holds 'block_1/attn/keys', which is neither .* nearest"),
        (lambda r: without(r, "video"), r"holds no 'video', the network's input \[batch, 8, 32, 32, 3\]"),
        (lambda r: {"video": r["video"]}, "holds inputs only; record sites or outputs too"),
        (lambda r: r | {"video": r["video"].transpose(0, 4, 1, 2, 3)}, r"video has shape \[2, 3, 8, 32, 32\]"),
        (lambda r: r | {"video": (255 * r["video"]).astype(np.uint8)}, "video holds uint8, expected .* normalised"),
        (lambda r: r | {"logits": r["logits"].T}, r"logits has shape \[7, 2\], the converted network gives \[2, 7\]"),
        (lambda r: r | {"masks": r["logits"]}, "'masks', an output that this network does not have"),
        (lambda r: r | {"logits": r["logits"] * np.nan}, "first at logits, by inf"),
        (lambda r: r | {"logits": np.array(["a"] * 14)}, "'logits' holds no numbers"),
        (lambda r: r | {"token_mask": np.zeros(10**6, bool)}, "token_mask has shape .* too large"),
    ],
)  # fmt: skip
def test_recordings_that_do_not_fit_are_refused(golden, tmp_path, recording, change, says):
    with pytest.raises(InputError, match=says):
        convert(
            source(golden, "videomae_ft"), tmp_path / "m", config=settings(golden, "videomae_ft"),
            verify=change(recording),
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_masked_autoencoder_is_compared_with_its_mask(golden, tmp_path):
    convert_only(
        source(golden, "videomae_pretrain"), tmp_path / "m", config=settings(golden, "videomae_pretrain")
    )  # fmt: skip
    model = models.load(tmp_path / "m")
    rng = np.random.default_rng(1)
    video = rng.normal(size=(1, 16, 32, 32, 3)).astype(np.float32)
    mask = np.broadcast_to(rng.permutation(16).reshape(4, 4) < 12, (1, *model.config.grid))
    output, _ = forward(model, Inputs(video, token_mask=mask))
    recorded = {"video": video, "token_mask": mask, "patches": np.asarray(output.patches)}
    options = {"config": settings(golden, "videomae_pretrain"), "dry_run": True}
    report = convert(source(golden, "videomae_pretrain"), tmp_path / "n", verify=recorded, **options)
    assert report.verified[0].error < 1e-5
    with pytest.raises(InputError, match=r"the inputs do not fit the network \(cannot reshape"):
        convert(
            source(golden, "videomae_pretrain"),
            tmp_path / "n",
            verify=recorded | {"token_mask": mask[:, 1:]},
            **options,
        )
    with pytest.raises(InputError, match="first at patches"):
        convert(source(golden, "videomae_pretrain"), tmp_path / "n", verify=without(recorded, "token_mask"), **options)


# -- without a recording -------------------------------------------------------------------------------------------
def test_a_network_that_makes_sense_is_written(golden, tmp_path):
    report = convert(source(golden, "videomae_ft"), tmp_path / "m", config=settings(golden, "videomae_ft"))
    assert "finite, not constant, and differ for two clips" in report.sanity
    assert "sanity: outputs are finite" in report.table()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("head.weight", 0.0, "its logits are the same for two different clips"),
        ("head.", 0.0, "its logits are the same everywhere"),
        ("blocks.0.mlp.fc2.weight", 3e38, "its logits hold values that are not finite"),
    ],
)
def test_a_network_that_makes_none_is_refused(golden, tmp_path, name, value, says):
    state = {
        key: np.full_like(array, value) if key.startswith(name) else array
        for key, array in read_plain_safetensors(source(golden, "videomae_ft")).items()
    }
    path, config = write_torch(tmp_path / "x.pth", state), settings(golden, "videomae_ft")
    with pytest.raises(InputError, match=f"makes no sense: {says}; .*--no-sanity"):
        convert(path, tmp_path / "m", config=config)
    assert [p.name for p in tmp_path.iterdir()] == ["x.pth"]
    assert convert_only(path, tmp_path / "m", config=config).sanity == ""
