"""SLIC labels on disk: ``concepts_labels.npz``, an array uint8 [video, time, height, width, head] per site.

The file is what ``numpy.savez_compressed`` makes and ``numpy.load`` reads. It is written and read clip by clip, so that
the labels of all clips never lie in memory side by side; a site is read, and packed, when it is first asked for.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import replacing

from ..labels import Labels, Packed, pack_clip

DAMAGE = (KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


def save_labels(labels: Labels, sites: Sequence[str], path: Path) -> None:
    """Writes the file, whole or not at all; equal labels give equal bytes."""
    with (
        replacing(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive,
    ):
        for site in sorted(sites):
            shape = (len(labels.packed[site]), *labels.grid[site], labels.heads(site))
            with archive.open(f"{site}.npy", "w", force_zip64=True) as member:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                for video in range(len(labels.packed[site])):
                    member.write(labels.clip(site, video).tobytes())


def load_labels(path: Path, grid: Mapping[str, tuple[int, int, int]]) -> Labels:
    """The labels of a file, none of which is read yet.

    Raises InputError, now or when a site is read, for a damaged file; FileNotFoundError for one that is not there.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for site in grid:
                archive.getinfo(f"{site}.npy")
    except DAMAGE as error:
        raise _damaged(path, error) from None
    return Labels(grid, _File(path, grid))


class _File(Mapping[str, Packed]):
    """Site -> its packed volumes, read when first asked for."""

    def __init__(self, path: Path, grid: Mapping[str, tuple[int, int, int]]) -> None:
        self._path, self._grid = path, grid
        self._known: dict[str, Packed] = {}

    def __getitem__(self, site: str) -> Packed:
        if site not in self._known:
            self._known[site] = _read(self._path, site, self._grid[site])
        return self._known[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self._grid)

    def __len__(self) -> int:
        return len(self._grid)


def _read(path: Path, site: str, grid: tuple[int, int, int]) -> Packed:
    try:
        with zipfile.ZipFile(path) as archive, cast(zipfile.ZipExtFile, archive.open(f"{site}.npy")) as member:
            shape = _shape(member)
            if shape[1:4] != grid:
                raise ValueError(f"labels of {site} are {list(shape)}, their volumes should be {list(grid)}")
            packed = tuple(pack_clip(_array(member, shape[1:])) for _ in range(shape[0]))
            if member.read(1):  # the end is where the checksum is compared
                raise ValueError(f"labels of {site} go on after the last clip")
            return packed
    except FileNotFoundError:
        raise InputError(f"{path}: is not there any more; run `vtcd discover` again") from None
    except DAMAGE as error:
        raise _damaged(path, error) from None


def _shape(member: zipfile.ZipExtFile) -> tuple[int, ...]:
    """The shape of the array that begins here. Raises ValueError for one that holds no labels."""
    if np.lib.format.read_magic(member) != (1, 0):
        raise ValueError("not an array of labels")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
    if fortran or dtype != np.uint8 or len(shape) != 5:
        raise ValueError(f"not an array of labels: {dtype} {list(shape)}")
    return shape


def _array(member: zipfile.ZipExtFile, shape: tuple[int, ...]) -> np.ndarray:
    data = member.read(math.prod(shape))
    if len(data) < math.prod(shape):
        raise EOFError("it ends early")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: is damaged ({error}); delete it and run `vtcd discover` again")
