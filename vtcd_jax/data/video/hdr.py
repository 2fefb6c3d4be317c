"""Pictures of high dynamic range to the range of a usual screen.

    PQ    SMPTE ST 2084: the signal stands for cd/m2
    HLG   ARIB STD-B67: scene light, shown on a screen of 1,000 cd/m2 with its system gamma of 1.2
Both as in ITU-R BT.2100. The reference white of 203 cd/m2 (ITU-R BT.2408) becomes white; what is brighter is clipped.
BT.2020 colours become BT.709 (ITU-R BT.2087), out of range clipped, then the sRGB curve (IEC 61966-2-1).
"""

from __future__ import annotations

import numpy as np

PQ, HLG = 16, 18  # transfer characteristics, ITU-T H.273
NAMES = {PQ: "PQ", HLG: "HLG"}
_BT2020 = 9
_WHITE, _PEAK, _GAMMA = 203.0, 1000.0, 1.2
_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)  # fmt: skip
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)


def to_sdr(signal: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """uint16 R'G'B' [..., 3] over the full range, of transfer PQ or HLG, as uint8 sRGB."""
    values = signal.astype(np.float32) / 65535
    light = (_from_pq(values) if transfer == PQ else _from_hlg(values)) / _WHITE
    if primaries == _BT2020:
        light = light @ _TO_BT709.T
    light = np.clip(light, 0, 1)
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.floor(255 * shown + 0.5).astype(np.uint8)


def _from_pq(values: np.ndarray) -> np.ndarray:
    root = values ** (32 / 2523)
    return 10_000 * (np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (16384 / 2610)


def _from_hlg(values: np.ndarray) -> np.ndarray:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
    brightness = np.maximum(scene @ _LUMINANCE, 1e-9)[..., None]
    return _PEAK * brightness ** (_GAMMA - 1) * scene
