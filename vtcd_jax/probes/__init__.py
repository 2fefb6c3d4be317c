"""Linear read-outs of features: concept activation vectors, linear probes, retrieval. Plain arrays, no model."""

from .cav import METHODS, Cav, cav, cavs

__all__ = ["METHODS", "Cav", "cav", "cavs"]
