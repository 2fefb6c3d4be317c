"""A tiny network, the smallest settings, and the command called inside the test process."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

import jax

from vtcd_jax import models
from vtcd_jax.cli import main
from vtcd_jax.models.families.videomae import VideoMAEConfig, VideoMAEPretrainConfig

LABELS = ("rolling left", "rolling right", "picking up", "staying still", "camera pan")
SIZES = {"image_size": 24, "patch_size": 8, "num_frames": 8, "width": 24, "depth": 2, "num_heads": 2}
CLASSIFIER = VideoMAEConfig(**SIZES, num_classes=len(LABELS))
AUTOENCODER = VideoMAEPretrainConfig(**SIZES, decoder_width=12, decoder_depth=1, decoder_num_heads=2)
# Few concepts, few passes; a given class saves the pass that predicts one.
NMF = (
    "--nmf.elbow.rule",
    "fixed",
    "--nmf.elbow.number",
    "3",
    "--nmf.restarts",
    "2",
    "--nmf.max-steps",
    "60",
    "--nmf.refits",
    "0",
)
FAST = (
    *NMF, "--masks", "8", "--steps", "2", "--repeats", "1", "--controls", "2", "--control-masks", "8", "--top", "1",
    "--target", "0",
)  # fmt: skip


class Said(NamedTuple):
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


def vtcd(*arguments: object) -> Said:
    """Runs ``vtcd ARGUMENTS``."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Said(code, out.getvalue(), err.getvalue())


def save_model(folder: Path, config: VideoMAEConfig | VideoMAEPretrainConfig = CLASSIFIER, seed: int = 0) -> Path:
    """A model folder with random weights."""
    labels = LABELS if isinstance(config, VideoMAEConfig) else ()
    model = models.build(config, key=jax.random.key(seed), labels=labels)
    models.save(model, folder, manifest={"source": "random weights"})
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder but the log."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != "events.jsonl")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def assert_same(found: Path, expected: Path) -> None:
    """The two run folders hold the same bytes under the same names."""
    a, b = tree(found), tree(expected)
    assert sorted(a) == sorted(b)
    assert [name for name in a if a[name] != b[name]] == []
