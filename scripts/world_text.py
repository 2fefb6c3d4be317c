"""The task of ``world-internvideo``: which sentence tells what happens in a clip.

Loss: cross-entropy of a clip's own sentence among those of all classes, in the class's name or another trained way of
saying it, and the symmetric contrastive loss between the clips of a batch and their captions, which name colour and
shape (Wang et al. 2022, InternVideo; Radford et al. 2021, CLIP, figure 3). Read-outs of the true masks speed it up.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from world_tasks import MASK_KINDS, SmallModel, normalise, shuffled

from vtcd_jax import models, world
from vtcd_jax.models import Inputs, Model
from vtcd_jax.models.families import internvideo
from vtcd_jax.models.families.clip import MEAN, STD
from vtcd_jax.models.language.prompts import with_prompts
from vtcd_jax.models.language.tokenizer import PIECES, WORD_END, Tokenizer, from_merges
from vtcd_jax.training import Batch
from vtcd_jax.training.auxiliary import mask_heads, mask_loss, token_fractions
from vtcd_jax.training.losses import contrastive
from vtcd_jax.world import captions as world_sentences
from vtcd_jax.world.generator import WorldClip
from vtcd_jax.world.motion import CLASSES
from vtcd_jax.world.textures import COLOURS, SHAPES

FRAMES, SIZE, CONTEXT = 8, 48, 24
CONFIG = world.WorldConfig(size=SIZE, frames=FRAMES)
MARGIN = 1.6  # clips drawn per clip kept: those of combinations that are kept out fall away


@functools.cache
def tokenizer() -> Tokenizer:
    """Byte pairs learned from all sentences of the world, so that every word is one token."""
    from tokenizers import Regex, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Pairs
    from tokenizers.models import BPE

    pairs = Pairs(BPE(end_of_word_suffix=WORD_END))
    pairs.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "removed", invert=True)  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(vocab_size=2000, end_of_word_suffix=WORD_END, show_progress=False)
    pairs.train_from_iterator([s.lower() for s in world_sentences.all_sentences()], trainer)
    merges = json.loads(pairs.to_str())["model"]["merges"]
    return from_merges([tuple(merge) for merge in merges])


def ids(sentences: list[str]) -> np.ndarray:
    return tokenizer().encode(sentences, CONTEXT)


def matcher(key: jax.Array) -> Model:
    config = internvideo.InternVideoConfig(
        image_size=SIZE, patch_size=8, num_frames=FRAMES, width=80, depth=4, num_heads=4, extractor_blocks=(1, 2, 3),
        embed_dim=64, context_length=CONTEXT, vocab_size=len(tokenizer().vocabulary), end_token=tokenizer().end,
        text_width=64, text_depth=2, text_num_heads=4,
    )  # fmt: skip
    preprocessing = models.Preprocessing(FRAMES, SIZE, SIZE, stride=1, mean=MEAN, std=STD)
    return models.build(config, key=key, preprocessing=preprocessing, name="world-internvideo")


def matcher_readouts(model: Model) -> dict[str, dict[str, jax.Array]]:
    """now: the masks, from the frames' tokens.  near: the masks of the frames before and after, from what the
    extractors see, which teaches their convolutions to look along time."""
    width, extractors = model.config.width, len(model.config.extractor_blocks)
    now = mask_heads([f"block_{i}/resid_post" for i in (1, 3)], width, MASK_KINDS)
    near = mask_heads([f"extractor_{j + 1}/memory" for j in range(extractors)], width, 2 * MASK_KINDS)
    return {"now": now, "near": near}


def matcher_batch(seed: int, size: int, done: float) -> Batch:
    """Clips of trained combinations, a sentence for every class, and a caption for every clip."""
    drawn = world.training_clips(seed, round(MARGIN * size), CONFIG)
    clips = [clip for clip in drawn if not world_sentences.held_out_colour(clip.label, clip.colour)][:size]
    rng = np.random.default_rng((seed, 7))
    ways = rng.integers(1 + world_sentences.TRAINED, size=len(CLASSES))
    classes = [CLASSES[i] if way == 0 else world_sentences.caption(i, way - 1) for i, way in enumerate(ways)]
    captions = [world_sentences.caption(c.label, int(rng.integers(world_sentences.TRAINED)), what(c)) for c in clips]
    masks = np.stack([np.stack([c.target, c.occluder, c.container], axis=-1) for c in clips])
    look = [(c.label * len(COLOURS) + COLOURS.index(c.colour)) * len(SHAPES) + SHAPES.index(c.shape) for c in clips]
    arrays = {
        "video": np.stack([c.video for c in clips]),
        "label": np.array([c.label for c in clips], np.int32),
        "caption": ids(captions),
        "meaning": np.array(look, np.int32),
        "shares": token_fractions(masks, (FRAMES, SIZE // 8, SIZE // 8)),
    }
    return Batch(arrays, {"classes": ids(classes)})


def what(clip: WorldClip) -> str:
    return world_sentences.thing(clip.colour, clip.shape)


def matcher_loss(model: Model, readouts: Any, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    text = jnp.concatenate([batch.shared["classes"], batch.clips["caption"]])
    inputs = Inputs(normalise(model, batch.clips["video"]), text=text)
    output, seen = models.forward(model, inputs, capture=(*readouts["now"], *readouts["near"]))
    assert output.logits is not None
    classes, captions = output.logits[:, : len(CLASSES)], output.logits[:, len(CLASSES) :]
    loss = optax.softmax_cross_entropy_with_integer_labels(classes, batch.clips["label"]).mean()
    shares = jnp.pad(batch.clips["shares"], ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
    near = jnp.concatenate([shares[:, :-2], shares[:, 2:]], axis=-1)
    loss += 0.25 * contrastive(captions, batch.clips["meaning"]).mean()
    loss += mask_loss(readouts["now"], seen, batch.clips["shares"])
    loss += mask_loss(readouts["near"], seen, near)
    return loss, {"train_accuracy": (classes.argmax(-1) == batch.clips["label"]).mean()}


def matcher_figures(model: Model, count: int, seed: int) -> dict[str, Any]:
    """Accuracy over the class sentences on held-out clips; then over sentences never trained on, and on clips whose
    combination of colour and motion was never trained on, over the class sentences and over all combinations."""
    clips = [world.sample((seed + 1) * 2_000_003 + i, i % len(CLASSES), CONFIG, "held-out") for i in range(count)]
    classes = list(range(len(CLASSES)))
    unseen = [world_sentences.caption(i, world_sentences.TRAINED) for i in classes]
    combined = [
        world_sentences.caption(i, 0, f"a {colour} {shape}") for i in classes for colour in COLOURS for shape in SHAPES
    ]
    text = ids([*CLASSES, *unseen, *combined])
    run = jax.jit(lambda m, v, t: models.forward(m, Inputs(normalise(m, v), text_features=t))[0].logits)
    blank = np.zeros((1, FRAMES, SIZE, SIZE, 3), np.uint8)
    features = jax.jit(lambda m, v, t: models.forward(m, Inputs(normalise(m, v), text=t))[0].text_features)(
        model, blank, text
    )
    video = np.stack([c.video for c in clips])
    logits = np.concatenate([np.asarray(run(model, video[i : i + 50], features)) for i in range(0, count, 50)])
    label = np.array([c.label for c in clips])
    rare = np.array([world_sentences.held_out_colour(c.label, c.colour) for c in clips])
    names, other, full = (
        logits[:, : len(classes)],
        logits[:, len(classes) : 2 * len(classes)],
        logits[:, 2 * len(classes) :],
    )
    found, look = np.divmod(full.argmax(-1), len(COLOURS) * len(SHAPES))
    colour = np.array([COLOURS.index(c.colour) for c in clips])
    right = names.argmax(-1) == label
    both = (found == label) & (look // len(SHAPES) == colour)
    mixed = shuffled(video, seed)
    mixed = np.concatenate([np.asarray(run(model, mixed[i : i + 50], features)) for i in range(0, count, 50)])
    return {
        "held_out_clips": count,
        "held_out_accuracy": float(right.mean()),
        "shuffled_frames_accuracy": float((mixed[:, : len(classes)].argmax(-1) == label).mean()),
        "unseen_sentences_accuracy": float((other.argmax(-1) == label).mean()),
        "unseen_combinations": int(rare.sum()),
        "unseen_combinations_accuracy": float(right[rare].mean()),
        "colour_and_motion_accuracy": float(both[~rare].mean()),
        "unseen_colour_and_motion_accuracy": float(both[rare].mean()),
    }


def with_class_sentences(model: Model) -> tuple[Model, Tokenizer]:
    """The model as it is shipped: a classifier whose labels are the class sentences."""
    return with_prompts(model, CLASSES, tokenizer()), tokenizer()


DESCRIBE = SmallModel(
    matcher, matcher_readouts, matcher_batch, matcher_loss, matcher_figures, finish=with_class_sentences
)
