"""Which files and folders are clips, and which class each clip has."""

from .label_files import read_labels
from .labels import class_indices
from .layout import find_clips, list_clips
from .search import Source

__all__ = ["Source", "class_indices", "find_clips", "list_clips", "read_labels"]
