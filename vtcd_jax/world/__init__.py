"""The synthetic world: short clips whose class only motion shows, with masks and events; ``world:N`` as a source."""

from . import captions, motion, render, textures
from .generator import (
    CLASSES,
    COLOURS,
    SHAPES,
    SPLITS,
    Layer,
    WorldClip,
    WorldConfig,
    clips,
    iou_ceiling,
    sample,
    training_batch,
    training_clips,
)
from .sources import open_sources, open_world

__all__ = [
    "CLASSES",
    "COLOURS",
    "SHAPES",
    "SPLITS",
    "Layer",
    "WorldClip",
    "WorldConfig",
    "captions",
    "clips",
    "iou_ceiling",
    "motion",
    "open_sources",
    "open_world",
    "render",
    "sample",
    "textures",
    "training_batch",
    "training_clips",
]
