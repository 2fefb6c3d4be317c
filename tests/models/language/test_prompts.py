"""A video-text network with prompts is a classifier whose labels are sentences, on disk as in memory."""

from __future__ import annotations

import dataclasses
import json

import jax
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.base import files
from vtcd_jax.models import InputError, Inputs, Model
from vtcd_jax.models.families import internvideo, videomae
from vtcd_jax.models.language import prompts
from vtcd_jax.models.language.prompts import with_prompts
from vtcd_jax.models.language.tokenizer import from_merges
from vtcd_jax.models.store import tokenizer_of

pytestmark = pytest.mark.compile

forward = jax.jit(models.forward, static_argnames="capture")
TOKENIZER = from_merges([("b", "o"), ("bo", "x</w>"), ("b", "a"), ("ba", "l"), ("bal", "l</w>")])
SENTENCES = ("a ball", "a box", "a ball in a box")
SIZES = {"image_size": 16, "patch_size": 8, "num_frames": 2, "width": 16, "depth": 1, "num_heads": 2, "mlp_ratio": 2.0}
TEXT = {"embed_dim": 8, "context_length": 12, "text_width": 16, "text_depth": 1, "text_num_heads": 2}
VOCABULARY = {"vocab_size": len(TOKENIZER.vocabulary), "end_token": TOKENIZER.end}
CONFIG = internvideo.InternVideoConfig(extractor_blocks=(0,), **SIZES, **TEXT, **VOCABULARY)


@pytest.fixture(scope="module")
def model() -> Model:
    return models.build(CONFIG, key=jax.random.key(1), name="tiny")


@pytest.fixture(scope="module")
def prompted(model) -> Model:
    return with_prompts(model, SENTENCES, TOKENIZER)


@pytest.fixture
def folder(prompted, tmp_path):
    models.save(prompted, tmp_path / "model", manifest={}, tokenizer=TOKENIZER)
    return tmp_path / "model"


def video(batch: int = 1) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(batch, 2, 16, 16, 3)).astype(np.float32)


def test_logits_are_those_of_the_sentences(model, prompted):
    ids = TOKENIZER.encode(SENTENCES, CONFIG.context_length)
    expected, _ = forward(model, Inputs(video(2), text=ids))
    output, _ = forward(prompted, Inputs(video(2)))
    assert prompted.labels == SENTENCES
    assert output.logits.shape == (2, 3)
    np.testing.assert_allclose(output.logits, expected.logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(output.text_features, expected.text_features, rtol=1e-5, atol=1e-6)


def test_text_in_the_inputs_goes_before_prompts_and_given_features_before_text(model, prompted):
    ids = TOKENIZER.encode(["a box"], CONFIG.context_length)
    with_text, _ = forward(prompted, Inputs(video(), text=ids))
    assert with_text.logits.shape == (1, 1)
    features = np.asarray(prompted.prompts)[[2, 0]]
    given, _ = forward(model, Inputs(video(), text=ids, text_features=features))
    np.testing.assert_allclose(given.logits, forward(prompted, Inputs(video()))[0].logits[:, [2, 0]], atol=1e-5)


def test_without_text_there_are_features_but_no_logits(model):
    output, _ = forward(model, Inputs(video()))
    assert output.logits is None and output.video_features.shape == (1, 8)


def test_many_prompts_are_computed_in_parts_with_the_same_result(model, prompted, monkeypatch):
    monkeypatch.setattr(prompts, "BATCH", 2)
    in_parts = with_prompts(model, SENTENCES, TOKENIZER)
    np.testing.assert_allclose(np.asarray(in_parts.prompts), np.asarray(prompted.prompts), atol=1e-6)


def test_a_model_folder_keeps_prompts_and_tokenizer(folder, prompted):
    loaded = models.load(folder)
    assert loaded.labels == SENTENCES and loaded.config == CONFIG
    np.testing.assert_array_equal(loaded.prompts, prompted.prompts)
    assert tokenizer_of(folder) == TOKENIZER
    np.testing.assert_array_equal(
        forward(loaded, Inputs(video()))[0].logits, forward(prompted, Inputs(video()))[0].logits
    )


def test_a_model_folder_without_prompts_has_no_labels_and_no_tokenizer(model, tmp_path):
    models.save(model, tmp_path / "model", manifest={})
    loaded = models.load(tmp_path / "model")
    assert loaded.labels == () and loaded.prompts is None
    with pytest.raises(InputError, match=r"tokenizer\.json is missing"):
        tokenizer_of(tmp_path / "model")


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.zeros((3, 7), np.float32), r"prompts.*has shape \[3, 7\], expected finite \[label, 8\]"),
        (np.full((3, 8), np.nan, np.float32), "expected finite"),
        (np.zeros((2, 8), np.float32), "must hold 2 class names"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(folder, stored, message):
    files.save_safetensors(folder / "prompts.safetensors", {"prompts": stored})
    with pytest.raises(InputError, match=message):
        models.load(folder)


def test_labels_without_prompts_are_refused(folder):
    (folder / "prompts.safetensors").unlink()
    with pytest.raises(InputError, match="must hold 0 class names"):
        models.load(folder)


def test_prompts_of_a_network_without_a_text_tower_are_refused(prompted, tmp_path):
    config = videomae.VideoMAEConfig(num_classes=3, **SIZES)
    classifier = dataclasses.replace(models.build(config), labels=SENTENCES)
    with pytest.raises(InputError, match="compares no videos with sentences"):
        with_prompts(classifier, SENTENCES, TOKENIZER)
    models.save(classifier, tmp_path / "model", manifest={})
    files.save_safetensors(tmp_path / "model" / "prompts.safetensors", {"prompts": prompted.prompts})
    with pytest.raises(InputError, match=r"prompts\.safetensors"):
        models.load(tmp_path / "model")


def test_another_vocabulary_and_no_sentences_are_refused(model):
    with pytest.raises(InputError, match="give the vocabulary it was trained with"):
        with_prompts(model, SENTENCES, from_merges(TOKENIZER.merges[:-1]))
    with pytest.raises(InputError, match="one or more sentences"):
        with_prompts(model, [], TOKENIZER)
    with pytest.raises(InputError, match="shorten it"):
        with_prompts(model, ["a ball is behind a box"], TOKENIZER)
    assert with_prompts(model, ["a ball is behind a box"], TOKENIZER, truncate=True).prompts.shape == (1, 8)


def test_a_config_with_lists_is_read_as_it_was_written(folder):
    stored = json.loads((folder / "config.json").read_text())
    assert stored["extractor_blocks"] == [0]
    assert models.load(folder).config.extractor_blocks == (0,)
