"""The tiny models of the command's tests."""

from __future__ import annotations

from tests.cli.conftest import autoencoder, model

__all__ = ["autoencoder", "model"]
