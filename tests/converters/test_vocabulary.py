"""Sentences and a vocabulary make a converted video-text network a classifier, on disk and in a dry run."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from vtcd_jax import models
from vtcd_jax.converters import convert
from vtcd_jax.models import InputError
from vtcd_jax.models.language.prompts import with_prompts
from vtcd_jax.models.language.tokenizer import from_merges

from .tools import settings, source

TOKENIZER = from_merges([("b", "o"), ("bo", "x</w>"), ("b", "a"), ("ba", "l"), ("bal", "l</w>")])
SENTENCES = ["a ball", "a box"]


@pytest.fixture
def checkpoint(golden, tmp_path):
    """CLIP with as many token embeddings as the vocabulary has ids, and the vocabulary in a folder of its own."""
    state = load_file(source(golden, "hf_clip"))
    name = "text_model.embeddings.token_embedding.weight"
    shape = (len(TOKENIZER.vocabulary), state[name].shape[1])
    state[name] = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    save_file(state, tmp_path / "clip.safetensors")
    (tmp_path / "vocabulary").mkdir()
    TOKENIZER.save(tmp_path / "vocabulary")
    return tmp_path / "clip.safetensors"


@pytest.fixture
def config(golden):
    found = json.loads(settings(golden, "hf_clip").read_text())
    text = found["config"]["text_config"]
    text |= {"vocab_size": len(TOKENIZER.vocabulary), "eos_token_id": TOKENIZER.end}
    return found


def test_the_folder_holds_the_sentences_features(checkpoint, config, tmp_path):
    vocabulary = tmp_path / "vocabulary"
    convert(checkpoint, tmp_path / "plain", config=config)
    plain = models.load(tmp_path / "plain")
    assert plain.prompts is None and plain.labels == ()
    convert(checkpoint, tmp_path / "out", config=config, labels=SENTENCES, vocabulary=vocabulary)
    found = models.load(tmp_path / "out")
    expected = with_prompts(plain, SENTENCES, TOKENIZER)
    assert found.labels == tuple(SENTENCES)
    np.testing.assert_allclose(np.asarray(found.prompts), np.asarray(expected.prompts), rtol=1e-5)
    assert models.tokenizer_of(tmp_path / "out").ids("a ball") == TOKENIZER.ids("a ball")


def test_a_vocabulary_beside_the_weights_is_found(checkpoint, config, tmp_path):
    for file in (tmp_path / "vocabulary").iterdir():
        shutil.copy(file, tmp_path)
    convert(checkpoint, tmp_path / "out", config=config, labels=SENTENCES)
    assert len(models.load(tmp_path / "out").prompts) == 2


@pytest.mark.parametrize("dry_run", [False, True])
def test_sentences_without_a_vocabulary_are_refused(checkpoint, config, tmp_path, dry_run):
    with pytest.raises(InputError, match="--vocabulary"):
        convert(checkpoint, tmp_path / "out", config=config, labels=SENTENCES, dry_run=dry_run)
    assert not (tmp_path / "out").exists()


def test_another_networks_vocabulary_is_refused_and_nothing_is_written(checkpoint, config, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    from_merges([("b", "o")]).save(other)
    with pytest.raises(InputError, match="give the vocabulary it was trained with"):
        convert(checkpoint, tmp_path / "out", config=config, labels=SENTENCES, vocabulary=other)
    assert not (tmp_path / "out").exists()


def test_a_network_without_text_takes_no_vocabulary(golden, checkpoint, tmp_path):
    tiny = source(golden, "videomae_ft")
    with pytest.raises(InputError, match="takes no text"):
        convert(tiny, tmp_path / "out", config=settings(golden, "videomae_ft"), vocabulary=tmp_path / "vocabulary")
