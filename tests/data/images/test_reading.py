"""Images of every depth become the same 8 bits as by the definition, or are refused with a remedy."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from vtcd_jax.base.errors import InputError
from vtcd_jax.data.images.reading import read_image, read_mask


def deep(channels: int, most: int = 65535, dtype: type = np.uint16) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, most + 1, (5, 7, channels))
    values[0, 0], values[0, 1] = 0, most
    return values.astype(dtype)


def by_definition(values: np.ndarray, most: int) -> np.ndarray:
    """255 v / most, to the nearest, as RGB without alpha."""
    scaled = np.floor(values.astype(np.float64) * 255 / most + 0.5).astype(np.uint8)
    return scaled[..., :3] if scaled.shape[-1] > 2 else np.repeat(scaled[..., :1], 3, -1)


def write_png(path: Path, values: np.ndarray) -> Path:
    """A 16-bit PNG of 1 (grey), 2 (with alpha), 3 or 4 channels."""
    height, width, channels = values.shape

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_is_scaled_by_257(tmp_path, channels):
    values = deep(channels)
    np.testing.assert_array_equal(read_image(write_png(tmp_path / "x.png", values)), by_definition(values, 65535))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("dtype", "most"), [(np.uint8, 255), (np.uint16, 65535), (np.uint32, 2**32 - 1), (np.int16, 2**15 - 1)]
)
def test_tiff_of_any_depth_is_scaled_by_its_largest_value(tmp_path, channels, dtype, most):
    values = deep(channels, most, dtype)
    photometric = "minisblack" if channels == 1 else "rgb"
    tifffile.imwrite(tmp_path / "x.tif", values if channels > 1 else values[..., 0], photometric=photometric)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), by_definition(values, most))


@pytest.mark.parametrize("channels", [1, 3])
def test_floating_point_is_read_from_0_to_1_and_refused_outside(tmp_path, channels):
    values = np.random.default_rng(0).random((5, 7, channels)).astype(np.float32)
    kind = {"photometric": "minisblack" if channels == 1 else "rgb"}
    tifffile.imwrite(tmp_path / "x.tif", values.squeeze(), **kind)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), by_definition(values, 1))
    tifffile.imwrite(tmp_path / "x.tif", values.squeeze() * 255, **kind)
    with pytest.raises(InputError, match=r"x\.tif: floating-point values outside \[0, 1\]; scale"):
        read_image(tmp_path / "x.tif")


def test_negative_values_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", deep(1)[..., 0].astype(np.int32) - 5)
    with pytest.raises(InputError, match="negative values; shift them"):
        read_image(tmp_path / "x.tif")


def test_white_may_be_zero(tmp_path):
    values = deep(1)
    tifffile.imwrite(tmp_path / "x.tif", values[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), by_definition(65535 - values, 65535))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("most", [1, 100, 255, 1023, 4095, 65535])
def test_pgm_and_ppm_are_scaled_by_their_own_largest_value(tmp_path, channels, most):
    values = deep(channels, most)
    header = f"P{5 if channels == 1 else 6}\n7 5\n{most}\n".encode()
    (tmp_path / "x.ppm").write_bytes(header + values.astype(">u2" if most > 255 else "u1").tobytes())
    got = read_image(tmp_path / "x.ppm").astype(int)
    exact = np.repeat(values.astype(float), 3 // channels, -1) * 255.0 / most
    assert np.abs(got - exact).max() <= 0.5 + 1 / 257


def test_one_bit_is_black_and_white(tmp_path):
    bits = np.random.default_rng(0).random((5, 7)) > 0.5
    Image.fromarray(bits).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(tmp_path / "x.png")[..., 1], bits * 255)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_least_value_of_a_deep_mask_counts(tmp_path, channels):
    values = np.zeros((5, 7, channels), np.uint16)
    values[2, 3, 0] = 1  # lost when only the high byte is kept
    if channels == 2:
        values[..., 1] = 65535  # opaque everywhere, which is no mask
    got = read_mask(write_png(tmp_path / "x.png", values))
    assert got.sum() == 1 and got[2, 3]


def test_deep_images_are_turned_by_their_exif_orientation(tmp_path):
    values = deep(1)[..., 0]
    image = Image.fromarray(values)
    exif = image.getexif()
    for orientation, turned in ((3, np.rot90(values, 2)), (6, np.rot90(values, -1)), (8, np.rot90(values, 1))):
        exif[0x0112] = orientation
        image.save(tmp_path / "x.png", exif=exif)
        np.testing.assert_array_equal(read_image(tmp_path / "x.png"), by_definition(turned[..., None], 65535))


def test_damaged_deep_images_and_several_pictures_are_refused(tmp_path):
    path = write_png(tmp_path / "x.png", deep(3))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"x\.png: not an image that can be read"):
        read_image(path)
    pictures = [Image.fromarray(np.full((5, 7, 3), 90 * i, np.uint8)) for i in range(3)]
    pictures[0].save(tmp_path / "x.webp", save_all=True, append_images=pictures[1:], lossless=True)
    pictures[0].save(tmp_path / "x.tif", save_all=True, append_images=pictures[1:])
    for name in ("x.webp", "x.tif"):
        with pytest.raises(InputError, match="holds [23] pictures; write each into a file of its own"):
            read_image(tmp_path / name)
