"""The right answers, from the construction of the network and the clips.

    N  tokens of a clip    n  marked tokens, whose keys a head that acts looks for: the moving object's
    r  how many of them have their key set to zero    L  LOGIT

All queries are alike, so a head that acts attends to its marked tokens with the share

    a(r) = ((n - r) e^L + r) / ((n - r) e^L + r + N - n)

and the logit of a clip's own class is the sum of WEIGHTS · a(r) over the two such heads. They do not know of each
other: what one loses the other keeps. A key that is set to zero elsewhere changes nothing: in a head that acts its
logit was 0 before (but for what the steps let through, below 1 %), in the others nothing is passed on.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, prod

import numpy as np
from jaxtyping import Bool

from vtcd_jax.data import Clips

from .network import LOGIT, WEIGHTS
from .scene import LABELS, PATCH, TUBELET
from .stream import GRID


@dataclass(frozen=True)
class Property:
    """Something that tokens have.

    name:   its name; ``token_masks`` has the tokens.
    places: (site, head) of the heads whose keys tell it.
    acts:   index into ``places`` of the head through which it changes the prediction; None: none does.
    weight: what the logit can lose with it: more is more important. 0 where no head acts.
    """

    name: str
    places: tuple[tuple[str, int], ...]
    acts: int | None = None
    weight: float = 0.0


SITES = tuple(f"block_{i}/attn/key" for i in range(3))
_QUADRANT, _TIME, _COLOURED = ((SITES[0], 0),), ((SITES[0], 1),), ((SITES[1], 1),)
_COLOUR, _MOTION = ((SITES[1], 0), (SITES[2], 1)), ((SITES[2], 0),)
PROPERTIES = (
    Property("right", _MOTION, 0, WEIGHTS["direction"]),
    Property("left", _MOTION, 0, WEIGHTS["direction"]),
    Property("red", _COLOUR, 0, WEIGHTS["hue"]),
    Property("blue", _COLOUR, 0, WEIGHTS["hue"]),
    Property("green", _COLOUR),
    Property("coloured", _COLOURED),
    *(Property(name, _QUADRANT) for name in ("upper left", "upper right", "lower left", "lower right")),
    *(Property(name, _TIME) for name in ("early", "late")),
)
ACTING = (_MOTION[0], _COLOUR[0])  # the heads that change the prediction


def token_masks(clips: Clips) -> dict[str, Bool[np.ndarray, "video time height width"]]:
    """Which tokens of planted clips have each property. A token is an object's when it covers half of it or more."""
    moving, staying = (covered(clips.masks[name]) for name in ("object", "distractor"))
    words = [LABELS[label] for label in clips.labels]
    classes = {
        word: np.array([word in label for label in words])[:, None, None, None]
        for word in ("right", "left", "red", "blue")
    }
    time, row, column = np.indices(GRID)
    upper, left, early = row < GRID[1] / 2, column < GRID[2] / 2, time < GRID[0] / 2
    places = {
        "upper left": upper & left, "upper right": upper & ~left, "lower left": ~upper & left,
        "lower right": ~upper & ~left, "early": early, "late": ~early,
    }  # fmt: skip
    return {
        **{word: moving & of_class for word, of_class in classes.items()},
        "green": staying,
        "coloured": moving | staying,
        **{name: np.broadcast_to(place, moving.shape) for name, place in places.items()},
    }


def planned_drops(clips: Clips) -> dict[str, float]:
    """Property that acts -> what the logit of a clip's own class loses, mean over clips, when the keys of exactly the
    tokens that have it are zero: the importance of a concept that holds them all."""
    masks, out = token_masks(clips), {}
    for p in PROPERTIES:
        if p.acts is not None:
            marked = [int(mask.sum()) for mask in masks[p.name]]
            drops = [attended(n) - attended(n, n) for n in marked]
            out[p.name] = weight_of(p.places[p.acts]) * float(np.mean(drops))
    return out


def weight_of(place: tuple[str, int]) -> float:
    """What the attended value of a head that acts is worth in the logit."""
    return WEIGHTS["direction" if place == _MOTION[0] else "hue"]


def covered(
    mask: Bool[np.ndarray, "video frame row column"], least: float = 0.5
) -> Bool[np.ndarray, "video time height width"]:
    """The tokens that a mask of pixels covers to ``least`` or more."""
    time, height, width = GRID
    cells = mask.reshape(len(mask), time, TUBELET, height, PATCH, width, PATCH)
    return cells.mean((2, 4, 6)) >= least


def attended(marked: int, removed: int = 0, tokens: int = prod(GRID)) -> float:
    """a(r): the share of attention that the marked tokens get when the keys of so many of them are zero."""
    kept = (marked - removed) * exp(LOGIT) + removed
    return kept / (kept + tokens - marked)


def own_logit(marked: int, direction_removed: int = 0, hue_removed: int = 0) -> float:
    """The logit of a clip's own class when keys of marked tokens are zero in the head of motion, and of colour."""
    removed = {"direction": direction_removed, "hue": hue_removed}
    return sum(weight * attended(marked, removed[name]) for name, weight in WEIGHTS.items())
