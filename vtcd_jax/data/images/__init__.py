"""Pictures, masks, and clips that are folders of numbered frames."""

from .frames import sample_frames, sample_masks
from .reading import read_image, read_mask

__all__ = ["read_image", "read_mask", "sample_frames", "sample_masks"]
