"""The small classifier, its clips and concepts."""

from __future__ import annotations

from tests.classifier import clips, concepts, model, support

__all__ = ["clips", "concepts", "model", "support"]
