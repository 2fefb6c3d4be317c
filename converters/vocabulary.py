"""Vocabularies of video-text networks, and the sentences that a converted one shall tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vtcd_jax.base.errors import InputError
from vtcd_jax.models.language.prompts import with_prompts
from vtcd_jax.models.language.tokenizer import MERGES, VOCABULARY, Tokenizer, read_tokenizer
from vtcd_jax.models.registry import family, family_of
from vtcd_jax.models.types import Model

from .files.containers import Container

NO_VOCABULARY = "sentences need the network's vocabulary"


def takes_text(config: Any) -> bool:
    """Whether a network compares clips with sentences. config: None where it is not known."""
    return config is not None and "text" in family(config.family).needs


def find_tokenizer(container: Container, config: Any, vocabulary: str | Path | None) -> Tokenizer | None:
    """The tokenizer of a video-text network: that of ``vocabulary``, else of the files beside the weights.

    Raises InputError for files that hold none, and for a vocabulary of a network without text.
    """
    if config is None or not takes_text(config):
        if vocabulary is not None and config is not None:
            raise InputError(f"{vocabulary}: {config.family} takes no text; leave the vocabulary out")
        return None
    beside = container.files[0].parent
    if vocabulary is None and not ((beside / VOCABULARY).is_file() and (beside / MERGES).is_file()):
        return None
    return read_tokenizer(beside if vocabulary is None else vocabulary)


def with_sentences(model: Model, tokenizer: Tokenizer | None) -> Model:
    """The model with its labels as prompts, where it has labels and a tokenizer."""
    if tokenizer is None or not model.labels:
        return model
    return with_prompts(model, model.labels, tokenizer, truncate=family_of(model).truncates)
