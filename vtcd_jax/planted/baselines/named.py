"""The methods that ``vtcd benchmark --version 2`` knows by name.

tubelets               VTCD as released: tubelets, elbow, convex NMF
tokens                 the same concepts, given to tokens by the nearest mean
hierarchy              the same, and half as many unions of them
single-tokens          concepts found in single tokens, their number by the knee: our default
crops                  the same on random boxes instead of tubelets
k-means                tokens given to the nearest of 8 centres per head
silhouette             the same, with the number of centres by silhouettes
tree                   14 centres of tokens, merged two by two; leaves and inner nodes
sparse                 a TopK sparse autoencoder of tokens
random-centres         tubelets given to the nearest of random tubelets: beside "tubelets"
random-centres-tokens  tokens given to them: beside "tokens"
random-centres-tree    the same, and half as many unions of them: beside "hierarchy"
random-centres-single  tokens given to as many random tokens: beside "single-tokens"
random-tokens          tokens given to the nearest of 8 random tokens per head: beside "k-means"
random-groups          random groups of tokens
occlusion              k-means, ranked by removing one concept at a time
gradients              k-means, ranked by integrated gradients
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from vtcd_jax.concepts import Concepts
from vtcd_jax.concepts.settings import Proposals
from vtcd_jax.data import Clips
from vtcd_jax.importance import integrated_gradients, occlusion
from vtcd_jax.models import Model

from ..evaluation.methods import Method, by_masks, vtcd
from ..evaluation.settings import VtcdSettings
from .arrays import Fit, from_arrays
from .centres import by_silhouette, fixed_number, tree
from .chance import random_centres, random_groups, random_tokens
from .sparse import sparse_autoencoder

STEPS = 16  # of integrated gradients
TREE = 0.5  # unions per concept

_FITS: dict[str, Fit] = {
    "k-means": fixed_number, "silhouette": by_silhouette, "tree": tree, "sparse": sparse_autoencoder,
    "random-groups": random_groups, "random-tokens": random_tokens,
}  # fmt: skip


def baselines(settings: VtcdSettings | None = None) -> dict[str, Method]:
    """All of them, by name. settings: of VTCD; their number of masks is everybody's."""
    s = settings or VtcdSettings()
    rank = by_masks(s.masks)
    made = {
        "tubelets": vtcd(_of_regions(s, "slic")),
        "tokens": vtcd(_of_tokens(s, "slic", tree=0.0)),
        "hierarchy": vtcd(_of_tokens(s, "slic", tree=TREE)),
        "single-tokens": vtcd(_of_tokens(s, "tokens", tree=0.0)),
        "crops": vtcd(_of_regions(s, "crops")),
        **{name: from_arrays(fit, rank) for name, fit in _FITS.items()},
        "random-centres": random_centres(_of_regions(s, "slic")),
        "random-centres-tokens": random_centres(_of_tokens(s, "slic", tree=0.0)),
        "random-centres-tree": random_centres(_of_tokens(s, "slic", tree=TREE)),
        "random-centres-single": random_centres(_of_tokens(s, "tokens", tree=0.0)),
        "occlusion": from_arrays(fixed_number, _by_occlusion),
        "gradients": from_arrays(fixed_number, _by_gradients),
    }
    return {name: made[name] for name in BASELINES}


BASELINES = (
    "tubelets", "tokens", "hierarchy", "single-tokens", "crops", "k-means", "silhouette", "tree", "sparse",
    "random-centres", "random-centres-tokens", "random-centres-tree", "random-centres-single", "random-tokens",
    "random-groups", "occlusion", "gradients",
)  # fmt: skip


def _of_regions(settings: VtcdSettings, proposals: Proposals) -> VtcdSettings:
    slic = dataclasses.replace(settings.slic, proposals=proposals)
    return dataclasses.replace(settings, slic=slic, nmf=dataclasses.replace(settings.nmf, assign="tubelets", tree=0.0))


def _of_tokens(settings: VtcdSettings, proposals: Proposals, tree: float) -> VtcdSettings:
    slic = dataclasses.replace(settings.slic, proposals=proposals)
    return dataclasses.replace(settings, slic=slic, nmf=dataclasses.replace(settings.nmf, assign="tokens", tree=tree))


def _by_occlusion(model: Model, clips: Clips, concepts: Concepts, key: jax.Array) -> np.ndarray:
    return occlusion(model, clips, concepts, score="logit", dtype="float32").importance


def _by_gradients(model: Model, clips: Clips, concepts: Concepts, key: jax.Array) -> np.ndarray:
    return integrated_gradients(model, clips, concepts, steps=STEPS, score="logit", dtype="float32").importance
