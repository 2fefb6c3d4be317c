"""SLIC labels stay packed: in memory, on disk, and until someone asks for them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from vtcd_jax.concepts.files.labels import load_labels, save_labels
from vtcd_jax.concepts.labels import Labels
from vtcd_jax.models import InputError

SITES = ("block_1/attn/key", "block_0/attn/key")


def volumes() -> dict[str, np.ndarray]:
    """Blocks of equal labels; the sites have different sizes and heads."""
    rng = np.random.default_rng(0)
    shapes = dict(zip(SITES, ((3, 4, 6, 5, 2), (3, 8, 12, 12, 3)), strict=True))
    return {site: np.repeat(rng.integers(0, 12, shape[:-2] + (1, shape[-1])), shape[3], 3).astype(np.uint8)
            for site, shape in shapes.items()}  # fmt: skip


def test_every_volume_comes_back():
    given = volumes()
    labels = Labels.of(given)
    for site, clips in given.items():
        assert labels.heads(site) == clips.shape[-1] and labels.grid[site] == clips.shape[1:4]
        for video, clip in enumerate(clips):
            np.testing.assert_array_equal(labels.clip(site, video), clip)
            for head in range(clip.shape[-1]):
                np.testing.assert_array_equal(labels.volume(site, video, head), clip[..., head])


def test_packed_labels_take_a_small_share_of_the_memory():
    clips = np.repeat(np.arange(16, dtype=np.uint8), 1024).reshape(1, 16, 32, 32, 1)
    packed = Labels.of({"site": clips}).packed["site"]
    assert packed[0][0].nbytes < clips.nbytes / 50


def test_the_file_is_numpys_compressed_archive(tmp_path):
    given = volumes()
    save_labels(Labels.of(given), SITES, tmp_path / "ours.npz")
    np.savez_compressed(tmp_path / "numpys.npz", **{site: given[site] for site in sorted(given)})
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "numpys.npz").read_bytes()
    labels = load_labels(tmp_path / "ours.npz", Labels.of(given).grid)
    for site, clips in given.items():
        np.testing.assert_array_equal(labels.clip(site, 2), clips[2])


def damaged(path: Path) -> Path:
    """Bytes in the middle of the first site's labels are changed; the archive itself is whole."""
    with zipfile.ZipFile(path) as archive:
        info = archive.infolist()[0]
    data = bytearray(path.read_bytes())
    middle = info.header_offset + len(info.filename) + 30 + info.compress_size // 2
    data[middle : middle + 8] = bytes(255 - byte for byte in data[middle : middle + 8])
    path.write_bytes(bytes(data))
    return path


def test_a_site_is_read_when_it_is_asked_for_and_damage_is_named_then(tmp_path):
    given = volumes()
    save_labels(Labels.of(given), SITES, tmp_path / "labels.npz")
    labels = load_labels(damaged(tmp_path / "labels.npz"), Labels.of(given).grid)
    np.testing.assert_array_equal(labels.clip("block_1/attn/key", 0), given["block_1/attn/key"][0])
    with pytest.raises(InputError, match=r"labels\.npz: is damaged .*; delete it and run `vtcd discover` again"):
        labels.volume("block_0/attn/key", 0, 0)


@pytest.mark.parametrize("other", [
    {"block_0/attn/key": np.zeros((3, 8, 12, 12, 3), np.float32)},
    {"block_0/attn/key": np.zeros((3, 8, 12, 11, 3), np.uint8)},
    {"block_0/attn/key": np.array([{}], object)},
])  # fmt: skip
def test_an_archive_of_something_else_is_refused(tmp_path, other):
    np.savez_compressed(tmp_path / "labels.npz", allow_pickle=True, **other)
    labels = load_labels(tmp_path / "labels.npz", {"block_0/attn/key": (8, 12, 12)})
    with pytest.raises(InputError, match="is damaged"):
        labels.volume("block_0/attn/key", 0, 0)


def test_an_archive_without_a_site_is_refused_at_once(tmp_path):
    np.savez_compressed(tmp_path / "labels.npz", other=np.zeros(1, np.uint8))
    with pytest.raises(InputError, match="is damaged"):
        load_labels(tmp_path / "labels.npz", {"block_0/attn/key": (8, 12, 12)})
    (tmp_path / "labels.npz").write_bytes(b"not an archive")
    with pytest.raises(InputError, match="is damaged"):
        load_labels(tmp_path / "labels.npz", {"block_0/attn/key": (8, 12, 12)})
