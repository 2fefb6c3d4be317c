"""Designs of slopes: random gates at which the slopes of a score are read, alone or beside Hadamard blocks of masks.

    g_i     fair 0 or 1, or, where it is *drawn*, uniform in [0, 1]        share  chance that a gate is drawn
    pair    rows 2k and 2k + 1: the same gates are drawn, and g becomes 1 - g
    draw    four rows, two pairs. With share 1/2 each gate is drawn in exactly one of them: each concept has as many
            slopes as there are draws

Along one gate the integral of the slope over [0, 1] is v(kept) - v(removed), so the mean slope at a drawn gate is the
concept's marginal effect with the other gates as they are. If v is multilinear in its gates (as the extension of any
game on masks is), a drawn gate of the others counts as a fair coin, and the mean slope is exactly the Banzhaf value for
every share. A network is not multilinear in soft gates. This is the only bias: small shares have less of it, and
fewer slopes from a pass.

Multilinear extension: Owen (1972), "Multilinear extensions of games", Management Science 18.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vtcd_jax.base.random import Seed, generator, key_bytes
from vtcd_jax.models import InputError

from .hadamard import Hadamard

DRAW = 4  # rows of one draw
MIN_ROWS = (
    2 * DRAW
)  # two draws, so that a concept's slopes have a spread; with one the error for these clips is unknown


@dataclass(frozen=True)
class Slopes:
    """Random gates for slopes.

    key:   seed of the draws.
    masks: rows (passes forward and back) per clip; rounded down to whole draws of four.
    share: chance that a gate is drawn from [0, 1], above 0, at most 1.
    """

    key: Seed
    masks: int
    share: float = 0.5
    paired, ratio = True, 0.5

    def __post_init__(self) -> None:
        if self.masks < DRAW:
            raise InputError(f"{self.masks} slopes a clip are too few; at least {DRAW} are needed")
        if not 0 < self.share <= 1:
            raise InputError(f"share {self.share} of drawn gates must lie above 0 and be at most 1")

    def count(self, present: np.ndarray) -> int:
        return self.masks // DRAW * DRAW

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
        return self._rows(clip_hash, start, stop, present)[0]

    def drawn(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
        """bool [stop - start, concept]: the gates that are drawn from [0, 1]; the others are 0 or 1."""
        return self._rows(clip_hash, start, stop, present)[1]

    def _rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key, draws = key_bytes(self.key), range(start // DRAW, -(-stop // DRAW))
        gates, drawn = np.ones((len(draws), DRAW, len(present))), np.zeros((len(draws), DRAW, len(present)), bool)
        for row, number in enumerate(draws):
            chance, first, second = generator(key, clip_hash, number).random((3, len(present)))
            for pair, (own, value) in enumerate(((chance, first), (1 - chance, second))):
                soft = own < self.share
                kept = np.where(soft, value, value < 0.5)  # a value is fair: below a half as often as above
                gates[row, 2 * pair : 2 * pair + 2] = kept, 1 - kept
                drawn[row, 2 * pair : 2 * pair + 2] = soft
        chosen = slice(start - draws.start * DRAW, stop - draws.start * DRAW)
        gates, drawn = (a.reshape(-1, len(present))[chosen] for a in (gates, drawn))
        return np.where(present, gates, 1.0).astype(np.float32), drawn & present


@dataclass(frozen=True)
class Joined:
    """Both: blocks of masks, and slopes. A score without slope is read from the masks alone."""

    masks: Hadamard
    slopes: Slopes


def slope_price(scores: int) -> int:
    """Masked passes that cost as much as one row of slopes of so many scores: the way back costs two passes forward."""
    return 1 + 2 * scores
