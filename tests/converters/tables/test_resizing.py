"""Position tables are resized as the originals' loading code does it, which is torch's interpolation."""

from __future__ import annotations

import numpy as np
import pytest

from vtcd_jax.converters.tables.resizing import bicubic_2d, crop_or_zero_pad, keep_class, nearest_1d

RNG = np.random.default_rng(3)
COUNTS = [(1, 5), (5, 1), (4, 8), (8, 4), (8, 30), (30, 8), (8, 96), (49, 196), (7, 7), (300, 1568)]
SIDES = [(1, 3), (2, 7), (7, 2), (14, 16), (16, 14), (14, 24), (7, 7)]


def table(count: int, width: int = 6) -> np.ndarray:
    return RNG.normal(size=(1, count, width)).astype(np.float32)


@pytest.mark.parametrize(("old", "new"), COUNTS)
def test_tables_along_one_axis_are_torchs(old, new):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    given = table(old)
    channels_first = torch.from_numpy(given).transpose(1, 2)
    expected = functional.interpolate(channels_first, size=new, mode="nearest").transpose(1, 2).numpy()
    np.testing.assert_array_equal(nearest_1d(given, (1, new, 6)), expected)


def test_nearest_positions_are_torchs_at_every_size():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    for old in range(1, 40):
        given = np.arange(old, dtype=np.float32)[None, :, None]
        for new in range(1, 90):
            expected = functional.interpolate(torch.from_numpy(given).transpose(1, 2), size=new, mode="nearest")
            np.testing.assert_array_equal(nearest_1d(given, (1, new, 1))[0, :, 0], expected[0, 0].numpy())


@pytest.mark.parametrize(("old", "new"), SIDES)
def test_grids_are_torchs_bicubic(old, new):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    given = table(old * old)
    grid = torch.from_numpy(given.reshape(1, old, old, 6)).permute(0, 3, 1, 2)
    expected = functional.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    expected = expected.permute(0, 2, 3, 1).reshape(1, new * new, 6).numpy()
    np.testing.assert_allclose(bicubic_2d(given, (1, new * new, 6)), expected, rtol=1e-5, atol=3e-6)


def test_the_class_position_stays():
    given = table(1 + 16)
    for resize in (nearest_1d, bicubic_2d):
        resized = keep_class(resize)(given, (1, 1 + 36, 6))
        np.testing.assert_array_equal(resized[:, 0], given[:, 0])
        np.testing.assert_array_equal(resized[:, 1:], resize(given[:, 1:], (1, 36, 6)))


def test_constant_tables_stay_constant():
    for resize in (nearest_1d, bicubic_2d):
        for new in (4, 9, 25):
            np.testing.assert_allclose(resize(np.full((16, 2), 3.0, np.float32), (new, 2)), 3.0, rtol=1e-6)


def test_frames_are_cropped_or_filled_with_zeros():
    given = table(4)
    np.testing.assert_array_equal(crop_or_zero_pad(given, (1, 2, 6)), given[:, :2])
    padded = crop_or_zero_pad(given, (1, 7, 6))
    np.testing.assert_array_equal(padded[:, :4], given)
    assert not padded[:, 4:].any() and padded.dtype == np.float32


@pytest.mark.parametrize("resize", [nearest_1d, bicubic_2d, crop_or_zero_pad, keep_class(nearest_1d)])
@pytest.mark.parametrize("shape", [(1, 9, 7), (2, 9, 6), (9, 6), (1, 0, 6), (6,)])
def test_only_the_number_of_positions_can_change(resize, shape):
    with pytest.raises(ValueError, match="positions? can be changed|cannot be resized|needs another position"):
        resize(table(16), shape)


def test_grids_that_are_not_square_cannot_be_resized():
    for old, new in ((12, 16), (16, 12)):
        with pytest.raises(ValueError, match="only square grids"):
            bicubic_2d(table(old), (1, new, 6))
