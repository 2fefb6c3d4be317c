"""What the keys allow: the best linear read-out of each property from one head, fitted with the truth.

    w  minimises Σ (w · key + b - value)² + ridge on the tokens of the first half; a token is told to have the property
       where w · key + b is above the threshold with the largest IoU on the first half

The IoU on the other half, of the best head that contains the property, is no bound of what methods can reach (they may
be nonlinear, or join heads), but shows what is there to be found.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from vtcd_jax.models import Model

from ..baselines.arrays import features_of
from ..circuits.instance import Instance
from ..circuits.properties import NAMES
from ..circuits.wiring import Place
from ..evaluation.metrics import Metrics, named

RIDGE = 1e-3
THRESHOLDS = np.linspace(0.1, 0.9, 33)

Tokens = Float[np.ndarray, "token channel"]


def ceiling(planted: Instance, model: Model) -> Metrics:
    """iou/P of every property, and iou/mean."""
    half = len(planted.clips) // 2
    first, other = planted[:half], planted[half:]
    features = [features_of(model, part.clips) for part in (first, other)]
    masks = [part.masks() for part in (first, other)]
    out = {}
    for p, name in enumerate(NAMES):
        value = first.values[:, p].ravel()
        truth = [m[name].ravel() for m in masks]
        read = [_read_out([_keys(f, place) for f in features], value, truth) for place in planted.wiring.places(name)]
        out[name] = max(read)[1]
    return named({"iou": out})


def _keys(features: dict[str, np.ndarray], place: Place) -> Tokens:
    site, head = place
    keys = features[site][..., head, :]
    return np.concatenate([keys.reshape(-1, keys.shape[-1]), np.ones((keys[..., 0].size, 1))], 1)


def _read_out(
    keys: list[Tokens], value: Float[np.ndarray, "token"], truth: list[Bool[np.ndarray, "token"]]
) -> tuple[float, float]:
    """IoU on the first half, by which the head is chosen, and on the other."""
    X = keys[0]
    w = np.linalg.solve(X.T @ X + RIDGE * len(X) * np.eye(X.shape[1]), X.T @ value)
    scores = [X @ w for X in keys]
    scale = scores[0].max() - scores[0].min()
    levels = scores[0].min() + scale * THRESHOLDS
    best = max(levels, key=lambda level: _iou(scores[0] > level, truth[0]))
    return _iou(scores[0] > best, truth[0]), _iou(scores[1] > best, truth[1])


def _iou(told: np.ndarray, truth: np.ndarray) -> float:
    return float((told & truth).sum() / max((told | truth).sum(), 1))
