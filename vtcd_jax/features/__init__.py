"""Features of a network: values of any sites over a set of clips, and derivatives of scores and of values.

``capture`` gives values, ``gradient`` the derivatives of a score, ``between`` those of values at an upper site. All
three process clips one by one, pool on the device, store finished clips, and resume. Their ``…_blocks`` forms yield one
clip at a time, for results that do not fit in memory.
"""

from .capturing import CAPTURE, capture, capture_blocks
from .gradients import GRADIENT, gradient, gradient_blocks
from .layout import chosen_sites
from .products import BETWEEN, between, between_blocks
from .streaming import Block

__all__ = [
    "BETWEEN",
    "CAPTURE",
    "GRADIENT",
    "Block",
    "between",
    "between_blocks",
    "capture",
    "capture_blocks",
    "chosen_sites",
    "gradient",
    "gradient_blocks",
]
