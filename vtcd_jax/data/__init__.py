"""Clips and images in and out: video files, frame folders, image folders, data set layouts, labels, tracks.

Inner rooms: ``video`` decodes files, ``images`` reads pictures and folders of frames, ``listing`` says which files and
folders are clips and which class each has.
"""

from . import encode, images, listing, notices, query, sampling, tracking, video
from .clips import Clips, ClipSource
from .encode import write_video
from .inputs import clip_inputs
from .listing import find_clips, read_labels
from .notices import InputWarning
from .query import with_query
from .read import read_clips
from .sampling import Sampling
from .sources import open_clips

__all__ = [
    "ClipSource",
    "Clips",
    "InputWarning",
    "Sampling",
    "clip_inputs",
    "encode",
    "find_clips",
    "images",
    "listing",
    "notices",
    "open_clips",
    "query",
    "read_clips",
    "read_labels",
    "sampling",
    "tracking",
    "video",
    "with_query",
    "write_video",
]
