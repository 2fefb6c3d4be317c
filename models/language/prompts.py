"""Sentences as classes: the text features of a model's labels, computed once.

With them a video-text network is a classifier whose logits are ``[batch, label]``; its text tower is not run again.

Radford et al. (2021), "Learning Transferable Visual Models From Natural Language Supervision", section 3.1.2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.base.errors import InputError

from ..taps import Tap
from ..types import Model
from .text import TextTower, VideoTextConfig
from .tokenizer import Tokenizer

BATCH = 64


def with_prompts(model: Model, sentences: Sequence[str], tokenizer: Tokenizer, *, truncate: bool = False) -> Model:
    """The model with ``sentences`` as its labels and their features as its prompts, float32 [label, embed].

    truncate: cut sentences off that are longer than the network's ``context_length``; else they raise InputError, as
    do a network without a text tower and a vocabulary that is not the network's.
    """
    config = model.config
    if not isinstance(config, VideoTextConfig):
        raise InputError(f"{model.name!r} compares no videos with sentences; choose a video-text network")
    if not sentences or not all(isinstance(s, str) for s in sentences):
        raise InputError("prompts must be one or more sentences")
    if (len(tokenizer.vocabulary), tokenizer.end) != (config.vocab_size, config.end_token):
        raise InputError(
            f"the vocabulary has {len(tokenizer.vocabulary)} ids and end token {tokenizer.end}, {model.name!r} has "
            f"{config.vocab_size} and {config.end_token}: give the vocabulary it was trained with"
        )
    rows = tokenizer.encode(sentences, config.context_length, truncate=truncate)
    return dataclasses.replace(model, labels=tuple(sentences), prompts=sentence_features(model, rows))


def sentence_features(model: Model, ids: np.ndarray) -> jax.Array:
    """float32 [text, embed]: the network's own features of token ids int [text, token], some sentences at a time."""
    ids = ids[:, : 1 + int(np.flatnonzero(ids.any(0)).max(initial=0))]
    tower = TextTower(model.config)
    run = jax.jit(lambda params, rows: tower.apply({"params": params}, rows, Tap({}, ())))
    batch = min(BATCH, len(ids))
    padded = np.pad(ids, ((0, -len(ids) % batch), (0, 0)))
    parts = [run(model.params["text"], padded[i : i + batch]) for i in range(0, len(padded), batch)]
    return jnp.concatenate(parts)[: len(ids)].astype(jnp.float32)
