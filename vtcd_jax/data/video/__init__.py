"""Frames out of video files: containers, streams, jumps to late frames, high dynamic range."""

from .reading import sample_video

__all__ = ["sample_video"]
