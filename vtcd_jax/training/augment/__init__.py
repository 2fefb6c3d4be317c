"""Random changes of clips on the host: pure functions (rng, clip) -> clip.

A clip is uint8 [time, height, width, 3], RGB. Each value is drawn once for all its frames, so that motion is not
changed. ``chain`` joins several; ``functools.partial`` sets their options:

    change = chain(partial(resized_crop, size=(112, 112)), flip, partial(grey, probability=0.5))
"""

from .chain import Augmentation, chain
from .colour import blur, colour_jitter, grey
from .space import flip, resized_crop
from .time import random_frames, uniform_windows

__all__ = [
    "Augmentation", "blur", "chain", "colour_jitter", "flip", "grey", "random_frames", "resized_crop",
    "uniform_windows",
]  # fmt: skip
