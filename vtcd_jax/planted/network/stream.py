"""The stream of the hand-written network: named quantities in its channels.

    F  AMPLITUDE: a quantity of 1 stands as +F in one channel and -F in another
    B  BALLAST: +B and -B in two channels of every token
    s  the standard deviation that layer norm divides by; nearly constant, because B is far above all else

So the mean over channels is that of the position table alone, and (plus - minus) · s / (2 F) reads a quantity from the
result of a layer norm. The network adds the position table to *all* channels. Positions are read from the first
channels, which hold nothing else. The quantities are in channels where the table changes slowly, each in two channels
with nearly equal values of the table (sines, or cosines, of neighbouring frequencies).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from vtcd_jax.models.layers import sine_cosine_table

Row = Float[np.ndarray, "channel"]
GRID = (4, 8, 8)  # tokens along time, height and width
WIDTH = 76  # makes one frequency of the table 2π / 8 (to 0.1 %), so that the position in a row of 8 can be read
TABLE = 36  # channels that hold the table of positions alone
AMPLITUDE, BALLAST = 64.0, 2048.0
QUANTITIES = (
    "ballast",
    "chroma_red", "chroma_green", "chroma_blue", "brightness", "cosine_1", "sine_1", "cosine_2", "sine_2",  # patches
    "red", "green", "blue", "motion", "right", "left",  # written by the MLPs
    "direction", "hue",  # written by heads
)  # fmt: skip


Amounts = Mapping[str, float | int]
"""Amounts of named quantities."""


def channels(name: str) -> tuple[int, int]:
    """The channels of a quantity: (plus, minus)."""
    four, second = divmod(QUANTITIES.index(name), 2)
    first = TABLE + 4 * four + second
    return first, first + 2


def write(amounts: Amounts) -> Row:
    """The vector that adds these amounts of named quantities to the stream."""
    added = np.zeros(WIDTH)
    for name, amount in amounts.items():
        plus, minus = channels(name)
        added[plus], added[minus] = amount * AMPLITUDE, -amount * AMPLITUDE
    return added


def read(weights: Amounts) -> Row:
    """Reads the weighted sum of named quantities from a layer norm's result."""
    row = np.zeros(WIDTH)
    for name, weight in weights.items():
        plus, minus = channels(name)
        row[plus] = weight * deviation() / (2 * AMPLITUDE)
        row[minus] = -row[plus]
    return row


def read_one() -> Row:
    """Reads the constant 1 (the ballast) from a layer norm's result."""
    return read({"ballast": AMPLITUDE / BALLAST})


def read_position(values: Float[np.ndarray, "token"], ridge: float = 1e-3) -> Row:
    """Reads a function of a token's position from a layer norm's result, as the best fit on the table's channels."""
    table = sine_cosine_table(len(values), WIDTH).astype(np.float64)
    centred = (table - table.mean(1, keepdims=True))[:, :TABLE]
    row = np.zeros(WIDTH)
    row[:TABLE] = np.linalg.solve(centred.T @ centred + ridge * np.eye(TABLE), centred.T @ values) * deviation()
    return row


def everything() -> list[Row]:
    """Reads all of a layer norm's result: the position of a token (length 1), and every quantity except the ballast
    (half as long)."""
    position = np.zeros((TABLE, WIDTH))
    np.fill_diagonal(position, deviation() / np.sqrt(TABLE / 2))
    return [*position, *(read({name: 0.5}) for name in QUANTITIES[1:])]


def deviation() -> float:
    """The divisor of layer norm if all quantities are 0. The table's squares add up to half a channel each."""
    return float(np.sqrt((2 * BALLAST**2 + WIDTH / 2) / WIDTH))
