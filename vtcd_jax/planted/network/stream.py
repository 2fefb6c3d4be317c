"""Where a hand-written network keeps what it knows: named quantities in the channels of its stream.

    F  AMPLITUDE: a quantity of 1 stands as +F in one channel and -F in another
    B  BALLAST: +B and -B in two channels of every token
    s  the standard deviation that layer norm divides by; nearly constant, because B is far above all else

So the mean over channels is that of the table of positions alone, and (plus - minus) · s / (2 F) reads a quantity out
of what a layer norm gives. The network adds the table of positions to *all* channels: places are read from the first
ones, which hold nothing else; the quantities lie where the table is slow, each in two channels that it treats alike
(sines, or cosines, of neighbouring frequencies).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from vtcd_jax.models.layers import sine_cosine_table

Row = Float[np.ndarray, "channel"]
GRID = (4, 8, 8)  # tokens along time, height and width
WIDTH = 76  # makes one frequency of the table 2π / 8 (to 0.1 %), so that a token can tell its place in a row of 8
TABLE = 36  # channels that hold the table of positions alone
AMPLITUDE, BALLAST = 64.0, 2048.0
QUANTITIES = (
    "ballast",
    "chroma_red", "chroma_green", "chroma_blue", "brightness", "cosine_1", "sine_1", "cosine_2", "sine_2",  # patches
    "red", "green", "blue", "motion", "right", "left",  # written by the MLPs
    "direction", "hue",  # written by heads
)  # fmt: skip


Amounts = Mapping[str, float | int]
"""Of named quantities."""


def channels(name: str) -> tuple[int, int]:
    """The channels of a quantity: (plus, minus)."""
    four, second = divmod(QUANTITIES.index(name), 2)
    first = TABLE + 4 * four + second
    return first, first + 2


def write(amounts: Amounts) -> Row:
    """What is added to the stream so that each named quantity grows by its amount."""
    added = np.zeros(WIDTH)
    for name, amount in amounts.items():
        plus, minus = channels(name)
        added[plus], added[minus] = amount * AMPLITUDE, -amount * AMPLITUDE
    return added


def read(weights: Amounts) -> Row:
    """Of a layer norm's result, the sum of the named quantities with their weights."""
    row = np.zeros(WIDTH)
    for name, weight in weights.items():
        plus, minus = channels(name)
        row[plus] = weight * deviation() / (2 * AMPLITUDE)
        row[minus] = -row[plus]
    return row


def read_one() -> Row:
    """Of a layer norm's result, the constant 1: the ballast."""
    return read({"ballast": AMPLITUDE / BALLAST})


def read_place(values: Float[np.ndarray, "token"], ridge: float = 1e-3) -> Row:
    """Of a layer norm's result, a function of a token's place, as near as the table's channels come to it."""
    table = sine_cosine_table(len(values), WIDTH).astype(np.float64)
    known = (table - table.mean(1, keepdims=True))[:, :TABLE]
    row = np.zeros(WIDTH)
    row[:TABLE] = np.linalg.solve(known.T @ known + ridge * np.eye(TABLE), known.T @ values) * deviation()
    return row


def everything() -> list[Row]:
    """Of a layer norm's result, all that a stream holds: the place of a token (of length 1 in all), and every quantity
    but the ballast, half as long."""
    place = np.zeros((TABLE, WIDTH))
    np.fill_diagonal(place, deviation() / np.sqrt(TABLE / 2))
    return [*place, *(read({name: 0.5}) for name in QUANTITIES[1:])]


def deviation() -> float:
    """What layer norm divides by where all quantities are 0. The table's squares add up to half a channel each."""
    return float(np.sqrt((2 * BALLAST**2 + WIDTH / 2) / WIDTH))
