"""The tiny models and runs of the command's tests."""

from __future__ import annotations

from tests.cli.conftest import autoencoder, discovered, long_job, model, ranked

__all__ = ["autoencoder", "discovered", "long_job", "model", "ranked"]
