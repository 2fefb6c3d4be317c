"""What goes into a network, what comes out of it, and what an intervention is.

Axes, the same for every network: ``batch, time, height, width`` then ``head, channel`` (a per-head site) or
``channel`` (a stream). Tokens are always ordered (time, height, width).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from flax import struct

from vtcd_jax.base.errors import InputError


@struct.dataclass
class Inputs:
    """A preprocessed batch.

    video:      float [batch, time, height, width, 3], normalised by the network's ``Preprocessing.normalise``; that
                floating values are normalised is not checked.
    text:       int [text, token], token ids (video-text networks).
    query:      float [batch, time, height, width] in [0, 1], the mask of the object to follow (TCOW).
    token_mask: bool [batch, time', height', width'] on the token grid, True = hidden from the encoder (VideoMAE).
    text_features: float [text, embed], computed before by the network's own text tower, which then is not run.
    """

    video: jax.Array
    text: jax.Array | None = None
    query: jax.Array | None = None
    token_mask: jax.Array | np.ndarray | None = None
    text_features: jax.Array | None = None


@struct.dataclass
class Output:
    """What a network predicts; fields it does not have are None.

    logits:         [batch, class] (classifiers) or [batch, text] (video-text).
    patches:        [batch, time', height', width', pixel], reconstructed patches in token-grid order, pixels ordered
                    (frame, row, column, colour), colour fastest.
    masks:          [batch, time, height, width, 3], logits of target, frontmost occluder, outermost container.
    flags:          [batch, time, 3], raw read-outs (occluded, contained, occluded fraction).
    video_features: [batch, embed]; of networks that cut a clip in parts, [batch * part, embed], logits likewise.
    text_features:  [text, embed], as given or as the text tower projects them.
    """

    logits: jax.Array | None = None
    patches: jax.Array | None = None
    masks: jax.Array | None = None
    flags: jax.Array | None = None
    video_features: jax.Array | None = None
    text_features: jax.Array | None = None


@struct.dataclass
class Edit:
    """An intervention at a site: ``value * scale + shift``. Both broadcast against the value; its dtype stays."""

    scale: jax.Array | np.ndarray | float = 1.0
    shift: jax.Array | np.ndarray | float = 0.0

    @classmethod
    def set(cls, value: jax.Array | np.ndarray | float) -> Edit:
        """Puts ``value`` in the place of what is there: one captured from another clip patches an activation.

        >>> Edit.set(0.5)
        Edit(scale=0.0, shift=0.5)
        """
        return cls(scale=0.0, shift=value)

    @classmethod
    def heads(cls, removed: Sequence[int], count: int) -> Edit:
        """Sets some heads of a per-head site to 0. count: heads of the site.

        ``attn/mixed`` is what a head adds to the stream, so that there the whole head is removed (in TransformerLens:
        ``hook_z``); a head whose keys are 0 still attends, to all tokens alike. Raises InputError for heads that are
        not there.

        >>> Edit.heads([1], count=4).scale[:, 0].tolist()
        [1.0, 0.0, 1.0, 1.0]
        """
        wrong = [head for head in removed if not 0 <= head < count]
        if wrong:
            raise InputError(f"heads {', '.join(map(str, wrong))} are not among 0 to {count - 1}")
        kept = np.ones((count, 1), np.float32)
        kept[list(removed)] = 0
        return cls(scale=kept)


@dataclass(frozen=True)
class Preprocessing:
    """How clips become a network's input.

    num_frames, height, width: size of a clip.  stride: frame step of the paper's sampling.
    mean, std: per colour, applied to values in [0, 1].
    """

    num_frames: int
    height: int
    width: int
    stride: int = 2
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def normalise(self, video: np.ndarray) -> np.ndarray:
        """RGB [..., 3] from 0 to 255, uint8 or floating -> float32, ``(value / 255 - mean) / std``.

        Raises InputError for floating pixels of another range: values in [0, 1] (which once more divided by 255 would
        be almost black), and values that are normalised already.
        """
        check_pixels(video)
        scale = np.float32(1) / (np.float32(255) * np.asarray(self.std, np.float32))
        shift = np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        return np.asarray(video, np.float32) * scale - shift

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Preprocessing:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return cls(**values)


def check_pixels(video: np.ndarray) -> None:
    """Raises InputError for pixels that do not run from 0 to 255; uint8 ones always do."""
    if video.dtype == np.uint8 or not video.size:
        return
    low, high = float(video.min()), float(video.max())
    if not (low >= 0 and high <= 255):
        raise InputError(
            f"pixels run from {low:g} to {high:g}, not from 0 to 255; give uint8 RGB, and normalise only once"
        )
    if 0 < high <= 1:
        raise InputError("pixels run from 0 to 1, not from 0 to 255; multiply them by 255, or give uint8 RGB")


def attention_sites(prefix: str) -> dict[str, str]:
    """``Family.concept_sites``: keys, queries and values of the attentions whose names match ``prefix``, a pattern."""
    return {kind: f"{prefix}/{kind}" for kind in ("key", "query", "value")}


BLOCK_SITES = attention_sites(r"block_\d+/attn")


class Family(NamedTuple):
    """What the library knows of a family of networks.

    config: its frozen dataclass of sizes, with ``family`` (its name) and ``grid`` (tokens along time, height, width).
    module: config -> Flax module.  preprocessing: config -> default.
    title: its name as people write it.  citations: its papers, BibTeX entries.
    needs: fields of ``Inputs`` that it takes beside the video ("query", "text").
    target: (video [batch, time, height, width, 3] in [0, 1], config) -> what ``Output.patches`` should be, of the same
        shape, for networks that reconstruct.
    concept_sites: kind -> regular expression of the whole names of the sites in which concepts are looked for; "key" is
        the default kind.
    truncates: whether its own code cuts off sentences that are too long (others refuse them).
    """

    config: type
    module: Callable[[Any], nn.Module]
    preprocessing: Callable[[Any], Preprocessing]
    title: str = ""
    citations: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    target: Callable[[jax.Array, Any], jax.Array] | None = None
    concept_sites: Mapping[str, str] = BLOCK_SITES
    truncates: bool = False


@struct.dataclass
class Model:
    """A network: its parameters are the leaves of this pytree, all else is static and hashable.

    params: plain nested dict of arrays.  module: the Flax module.  config: its frozen dataclass of sizes.
    preprocessing: how clips become its input.  labels: class names in logit order.  name: for messages and reports.
    prompts: float [label, embed], text features of the labels (video-text networks), or None. With them the network is
    a classifier whose labels are sentences.
    """

    params: Any
    module: nn.Module = struct.field(pytree_node=False)
    config: Any = struct.field(pytree_node=False)
    preprocessing: Preprocessing = struct.field(pytree_node=False)
    labels: tuple[str, ...] = struct.field(pytree_node=False, default=())
    name: str = struct.field(pytree_node=False, default="")
    prompts: jax.Array | None = None

    def __repr__(self) -> str:
        from .description import describe

        classes = f" · {len(self.labels)} classes" if self.labels else ""
        return f"<{self.name}: {describe(self)}{classes}>"
