"""Images of any depth to 8 bits.

    unsigned integers of b bits   255 v / (2^b - 1), rounded to the nearest (a half goes up)
    signed integers of b bits     255 v / (2^(b-1) - 1), likewise; negative values are refused
    floating point                255 v, likewise; values outside [0, 1] are refused
Bits are those that the file declares; PGM and PPM declare their largest value instead. Grey becomes three equal
channels, palettes their colours; alpha is dropped. Pillow reads what has 8 bits or one channel; of 16-bit images with
several channels it keeps the high bytes only, so FFmpeg reads those in PNG, and tifffile those in TIFF.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.base.errors import InputError

_DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _ORIENTATION = 258, 262, 339, 0x0112
_SIGNED, _FLOAT, _WHITE_IS_ZERO = 2, 3, 0
_FFMPEG_16 = {"gray16": 1, "ya16": 2, "rgb48": 3, "rgba64": 4}  # formats of pixels, and their channels


def read_image(path: Path) -> np.ndarray:
    """RGB uint8 [height, width, 3], upright by its EXIF orientation.

    Raises InputError where the file is no whole image, holds several pictures, or values that have no place in 8 bits.
    """
    values, turn = _load(path, "image")
    colours = values if values.ndim == 3 else values[..., None]
    colours = colours[..., :3] if colours.shape[-1] > 2 else np.repeat(colours[..., :1], 3, axis=-1)
    return np.ascontiguousarray(_upright(colours, turn))


def read_mask(path: Path) -> np.ndarray:
    """Bool [height, width]: where the image (grey, palette index or any colour channel, of any depth) is not zero."""
    values, _ = _load(path, "mask")
    if values.ndim == 2:
        return values != 0
    return np.any(values[..., : 3 if values.shape[-1] > 2 else 1] != 0, axis=-1)


def _load(path: Path, what: str) -> tuple[np.ndarray, int]:
    """(values [height, width] or [height, width, channel], EXIF orientation): of an image uint8, of a mask as they
    stand."""
    from PIL import Image

    unreadable = f"{path}: not an {what} that can be read; replace it, or remove its folder"
    try:
        with Image.open(path) as image:
            pictures = getattr(image, "n_frames", 1)
            if pictures > 1 and image.format not in ("MPO", "JPEG"):  # those hold one picture and what belongs to it
                raise InputError(f"{path}: holds {pictures} pictures; write each into a file of its own")
            image.load()
            values, most = _values(path, image, what)
            turn = image.getexif().get(_ORIENTATION, 1)
    except Image.UnidentifiedImageError as error:
        (values, most), turn = (_from_tiff(path), None), 1
        if values is None:
            raise InputError(unreadable) from error
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(unreadable) from error
    return (values if what == "mask" else to_8_bits(values, path, most)), turn


def _values(path: Path, image: Any, what: str) -> tuple[np.ndarray, int | None]:
    """The values of an opened image by the reader that keeps all of them, and what is white where the dtype does not
    tell."""
    many, values = image.mode not in _DEEP, None
    if image.format == "PNG" and many and _png_depth(path) == 16:
        values = _by_ffmpeg(path, "png_pipe")
    elif image.format == "TIFF" and max(image.tag_v2.get(_BITS, (1,))) > 8:
        if not many:
            return _from_pillow(image)
        values = _from_tiff(path)
    elif not many:  # Pillow gives PGM of more than 8 bits in mode I, scaled to 16
        return np.array(image), (1 << 16) - 1 if image.mode == "I" else None
    else:
        return np.array(image if what == "mask" else image.convert("RGB")), None
    if values is None:
        raise InputError(f"{path}: its depth and kind of pixels cannot be read exactly; save it as PNG")
    return values, None


def to_8_bits(values: np.ndarray, path: Path, most: int | None = None) -> np.ndarray:
    """Values of any depth as uint8; ``most`` is what becomes 255, by default the largest of the dtype."""
    if values.dtype == np.uint8 and most is None:
        return values
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise InputError(f"{path}: floating-point values outside [0, 1]; scale them, or save the image with 8 bits")
        return np.floor(values.astype(np.float64) * 255 + 0.5).astype(np.uint8)
    if values.min() < 0:
        raise InputError(f"{path}: negative values; shift them, or save the image with 8 bits")
    most = int(np.iinfo(values.dtype).max) if most is None else most
    if values.max() > most:
        raise InputError(f"{path}: values up to {values.max()} where its depth allows {most}; save it with 8 bits")
    if most < 1 << 31:
        return ((values.astype(np.int64) * 510 + most) // (2 * most)).astype(np.uint8)
    return np.floor(values.astype(np.float64) * (255 / most) + 0.5).astype(np.uint8)


def _from_pillow(image: Any) -> tuple[np.ndarray, int | None]:
    """A TIFF of one deep channel, and its largest value where the dtype does not tell."""
    tags, values, most = image.tag_v2, np.array(image), None
    bits, sign = max(tags.get(_BITS, (16,))), max(tags.get(_SAMPLE_FORMAT, (1,)))
    if sign == _SIGNED:
        most = (1 << bits - 1) - 1
    elif sign != _FLOAT:
        values = values.view(np.uint32) if values.dtype == np.int32 else values
        most = (1 << bits) - 1
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            values = most - values
    return values, most


def _from_tiff(path: Path) -> np.ndarray | None:
    """The first page of a TIFF file [height, width, channel]; None where this cannot be done exactly."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            bits = {page.bitspersample} if isinstance(page.bitspersample, int) else set(page.bitspersample)
            kind = page.photometric.name
            if bits != {8 * page.dtype.itemsize} or kind not in ("RGB", "MINISBLACK", "MINISWHITE"):
                return None
            try:
                values = page.asarray()
            except ValueError:  # a compression that tifffile has no code for
                return _by_ffmpeg(path, "tiff_pipe") if page.dtype == np.uint16 and kind != "MINISWHITE" else None
            planar = int(page.planarconfig) == 2
    except Exception:  # whatever a damaged file makes tifffile stumble over
        return None
    values = np.moveaxis(values, 0, -1) if planar and values.ndim == 3 else values
    return np.iinfo(values.dtype).max - values if kind == "MINISWHITE" and values.dtype.kind == "u" else values


def _by_ffmpeg(path: Path, reader: str) -> np.ndarray | None:
    """16-bit values [height, width] or [height, width, 3]; None where FFmpeg does not read them as such."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(f"file:{path}", format=reader, options={"format_whitelist": reader}) as container:
            container.streams.video[0].codec_context.options = {"err_detect": "explode"}
            frame = next(container.decode(video=0))
    except (FFmpegError, StopIteration, IndexError):
        return None
    kind, order = frame.format.name[:-2], {"le": "<u2", "be": ">u2"}.get(frame.format.name[-2:])
    if order is None or kind not in _FFMPEG_16:
        return None
    channels, plane = _FFMPEG_16[kind], frame.planes[0]
    # As they are decoded: a conversion by FFmpeg may round.
    rows = np.frombuffer(memoryview(plane), order).reshape(frame.height, plane.line_size // 2)[
        :, : frame.width * channels
    ]
    values = rows.reshape(frame.height, frame.width, channels).astype(np.uint16)
    return values[..., 0] if channels < 3 else values[..., :3]


def _png_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(25)[-1]


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turned and mirrored as EXIF's orientation, 1 to 8, asks for."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values
