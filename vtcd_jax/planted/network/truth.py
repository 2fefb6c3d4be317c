"""The right answers, from the construction of the network and the clips.

    N  tokens of a clip    n  marked tokens, whose keys an acting head looks for: those of the moving object
    r  number of marked tokens whose key is set to zero    L  LOGIT

All queries are equal, so an acting head attends to its marked tokens with the fraction

    a(r) = ((n - r) e^L + r) / ((n - r) e^L + r + N - n)

and the logit of a clip's class is the sum of WEIGHTS · a(r) over the two acting heads, which are independent. A key
that is set to zero elsewhere changes nothing: in an acting head its logit was 0 before (up to an error of the steps
below 1 %), and the other heads have no output.
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
    """A property of tokens.

    name:   its name; ``token_masks`` gives the tokens.
    places: (site, head) of the heads whose keys contain it.
    acts:   index into ``places`` of the head through which it changes the prediction; None: no head.
    weight: largest decrease of the logit when it is removed; 0 if no head acts.
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
    """The tokens of planted clips with each property. A token belongs to an object that covers at least half of it."""
    moving, staying = (covered(clips.masks[name]) for name in ("object", "distractor"))
    names = [LABELS[label] for label in clips.labels]
    classes = {
        word: np.array([word in label for label in names])[:, None, None, None]
        for word in ("right", "left", "red", "blue")
    }
    time, row, column = np.indices(GRID)
    upper, left, early = row < GRID[1] / 2, column < GRID[2] / 2, time < GRID[0] / 2
    regions = {
        "upper left": upper & left, "upper right": upper & ~left, "lower left": ~upper & left,
        "lower right": ~upper & ~left, "early": early, "late": ~early,
    }  # fmt: skip
    return {
        **{word: moving & of_class for word, of_class in classes.items()},
        "green": staying,
        "coloured": moving | staying,
        **{name: np.broadcast_to(region, moving.shape) for name, region in regions.items()},
    }


def planned_drops(clips: Clips) -> dict[str, float]:
    """Acting property -> decrease of the logit of a clip's class with the keys of exactly its tokens at zero, mean over
    clips: the importance of a concept that contains all of them."""
    masks, out = token_masks(clips), {}
    for p in PROPERTIES:
        if p.acts is not None:
            marked = [int(mask.sum()) for mask in masks[p.name]]
            drops = [attended(n) - attended(n, n) for n in marked]
            out[p.name] = weight_of(p.places[p.acts]) * float(np.mean(drops))
    return out


def weight_of(place: tuple[str, int]) -> float:
    """The weight of an acting head's attended value in the logit."""
    return WEIGHTS["direction" if place == _MOTION[0] else "hue"]


def covered(
    mask: Bool[np.ndarray, "video frame row column"], minimum: float = 0.5
) -> Bool[np.ndarray, "video time height width"]:
    """The tokens that a mask of pixels covers by at least the fraction ``minimum``."""
    time, height, width = GRID
    cells = mask.reshape(len(mask), time, TUBELET, height, PATCH, width, PATCH)
    return cells.mean((2, 4, 6)) >= minimum


def attended(marked: int, removed: int = 0, tokens: int = prod(GRID)) -> float:
    """a(r): the fraction of attention on the marked tokens when ``removed`` of their keys are zero."""
    kept = (marked - removed) * exp(LOGIT) + removed
    return kept / (kept + tokens - marked)


def planted_logit(marked: int, direction_removed: int = 0, hue_removed: int = 0) -> float:
    """The logit of a clip's class when keys of marked tokens are zero in the heads of motion and colour."""
    removed = {"direction": direction_removed, "hue": hue_removed}
    return sum(weight * attended(marked, removed[name]) for name, weight in WEIGHTS.items())
