"""Sites: the named values of a forward pass that can be read (captured) and changed (edited).

Model code calls ``tap(site, value)`` and goes on with what it returns. The tap is made inside ``forward`` from plain
data and dies with it, so masks are arrays like any other: new ones do not retrace, ``vmap`` and ``grad`` reach them.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.base.errors import InputError, nearest

from .registry import family_of
from .types import Edit, Inputs, Model, Output

Pixels = np.ndarray | jax.Array
"""RGB from 0 to 255 [batch, time, height, width, 3]."""


@runtime_checkable
class HasPixels(Protocol):
    """Clips: what can be read gives ``video``, their pixels, and ``query``, their query masks or None."""

    def __len__(self) -> int: ...

    def read(self, rows: Sequence[int], /) -> Any: ...


class Tap:
    """Carries the edits and captures of one forward pass through the network."""

    def __init__(self, edits: Mapping[str, Edit], capture: Collection[str], prefix: str = "", root: Tap | None = None):
        root = root or self
        self._root, self._prefix = root, prefix
        if root is self:
            self._edits, self._wanted = edits, frozenset(capture)
            self.captured: dict[str, jax.Array] = {}
            self.seen: list[str] = []

    def scope(self, name: str) -> Tap:
        """A tap whose sites all begin with ``name/``."""
        return Tap({}, (), f"{self._prefix}{name}/", self._root)

    def __call__(self, site: str, value: jax.Array) -> jax.Array:
        root, site = self._root, self._prefix + site
        root.seen.append(site)
        edit = root._edits.get(site)
        if edit is not None:
            value = _edited(site, value, edit)
        if site in root._wanted:
            root.captured[site] = value
        return value

    def wants(self, site: str) -> bool:
        """Whether the site is read or edited: what costs something is only then offered."""
        root, site = self._root, self._prefix + site
        return site in root._edits or site in root._wanted

    def check(self) -> None:
        """Raises ValueError for edits and captures that met no site, with the nearest names."""
        unknown = sorted((set(self._edits) | self._wanted) - set(self.seen))
        if unknown:
            lines = [f"no tap site {site!r}; nearest names: {nearest(site, self.seen)}" for site in unknown]
            raise ValueError("\n".join(lines))


def _edited(site: str, value: jax.Array, edit: Edit) -> jax.Array:
    for part in (edit.scale, edit.shift):
        try:
            fits = jnp.broadcast_shapes(jnp.shape(part), value.shape) == value.shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"edit of shape {jnp.shape(part)} does not broadcast to site {site!r} of shape {value.shape}"
            )
    return (value * edit.scale + edit.shift).astype(value.dtype)


def forward(
    model: Model,
    inputs: Inputs | Pixels | HasPixels,
    *,
    edits: Mapping[str, Edit] | None = None,
    capture: str | Collection[str] = (),
) -> tuple[Output, dict[str, jax.Array]]:
    """One pass of the network, all clips in one batch. Pure; the only entry to it.

    inputs:  normalised ``Inputs``; or clips, or their pixels, RGB from 0 to 255 [batch, time, height, width, 3], which
             are normalised first.
    edits:   site -> ``Edit``, applied before the value is captured and used.
    capture: sites whose values come back, in the layouts of ``sites(model)``; a single one may stand alone.
    Without text in ``inputs`` the model's ``prompts``, where it has them, are what clips are compared with.
    Raises ValueError at trace time for a site the network does not have, and InputError for ``Inputs`` that are not
    normalised (whole numbers), and for what is neither inputs nor clips.

    >>> import vtcd_jax as vtcd
    >>> model, clips = vtcd.models.load("world-videomae"), vtcd.world.clips(2, seed=0)
    >>> output, seen = forward(model, clips, capture="block_1/attn/key")
    >>> output.logits.shape, seen["block_1/attn/key"].shape
    ((2, 14), (2, 8, 6, 6, 4, 24))
    """
    tap = Tap(edits or {}, (capture,) if isinstance(capture, str) else capture)
    complete = complete_inputs(model, inputs_of(model, inputs))
    output = model.module.apply({"params": model.params}, complete, tap)
    tap.check()
    return output, tap.captured  # type: ignore[return-value]  # apply is untyped


def inputs_of(model: Model, given: Inputs | Pixels | HasPixels) -> Inputs:
    """Normalised inputs of clips or pixels; ``Inputs`` as they are. Raises InputError for anything else."""
    if isinstance(given, Inputs):
        return given
    query = None
    if isinstance(given, HasPixels):
        clips = given.read(range(len(given)))
        given, query = clips.video, clips.query if "query" in family_of(model).needs else None
    if getattr(given, "ndim", 0) != 5 or given.shape[-1] != 3:
        shape = list(given.shape) if hasattr(given, "shape") else type(given).__name__
        raise InputError(f"{shape} is no batch: give Inputs, clips, or pixels [batch, time, height, width, 3]")
    p = model.preprocessing
    if isinstance(given, np.ndarray):
        video = p.normalise(given)
    elif jnp.issubdtype(given.dtype, jnp.floating):
        raise InputError("pixels on a device must be uint8; if they are normalised give Inputs(video)")
    else:
        video = (given / 255.0 - jnp.asarray(p.mean, jnp.float32)) / jnp.asarray(p.std, jnp.float32)
    return Inputs(jnp.asarray(video), query=None if query is None else jnp.asarray(query, jnp.float32))


def complete_inputs(model: Model, inputs: Inputs) -> Inputs:
    """As arrays, with the model's ``prompts`` where no text is given. Raises InputError for video of whole numbers."""
    if not jnp.issubdtype(inputs.video.dtype, jnp.floating):
        raise InputError(
            f"the video is {inputs.video.dtype}: a network takes normalised values; give "
            "Inputs(model.preprocessing.normalise(video))"
        )
    if inputs.text is None and inputs.text_features is None:
        inputs = dataclasses.replace(inputs, text_features=model.prompts)
    # A mask of tokens stays as it is: its count of visible tokens is read from it where it is concrete.
    arrays = jax.tree.map(jnp.asarray, dataclasses.replace(inputs, token_mask=None))
    return dataclasses.replace(arrays, token_mask=inputs.token_mask)


def example_inputs(model: Model, batch: int = 1) -> Inputs:
    """Shapes of a batch of clips, as ``jax.ShapeDtypeStruct``, with what else the network needs (``Family.needs``)."""
    p, needs = model.preprocessing, family_of(model).needs
    frames = (batch, p.num_frames, p.height, p.width)
    query = jax.ShapeDtypeStruct(frames, jnp.float32) if "query" in needs else None
    text = jax.ShapeDtypeStruct((1, model.config.context_length), jnp.int32) if "text" in needs else None
    return Inputs(jax.ShapeDtypeStruct((*frames, 3), jnp.float32), text=text, query=query)  # type: ignore[arg-type]


def output_shapes(model: Model) -> Output:
    """What the network predicts of one clip, as ``jax.ShapeDtypeStruct``; a video-text network without ``prompts`` has
    no logits then. Costs no arithmetic."""
    return jax.eval_shape(_output, model, dataclasses.replace(example_inputs(model), text=None))


def _output(model: Model, inputs: Inputs) -> Output:
    """A function of the module, so that JAX traces it once for equal networks."""
    return forward(model, inputs)[0]


def sites(model: Model) -> dict[str, jax.ShapeDtypeStruct]:
    """Every site of the network with its shape at batch 1, in the order in which they happen. Costs no arithmetic."""
    return dict(jax.eval_shape(_every_site, model, example_inputs(model)))


def _every_site(model: Model, inputs: Inputs) -> OrderedDict[str, jax.Array]:
    """All sites in their order. A function of the module, so that JAX traces it once for equal networks."""
    tap = _EverySite({}, ())
    model.module.apply({"params": model.params}, inputs, tap)
    return OrderedDict((site, tap.captured[site]) for site in tap.seen)


class _EverySite(Tap):
    """Captures all it meets."""

    def wants(self, site: str) -> bool:
        return True

    def scope(self, name: str) -> Tap:
        scoped = _EverySite({}, (), f"{self._prefix}{name}/", self._root)
        return scoped

    def __call__(self, site: str, value: jax.Array) -> jax.Array:
        self._root.seen.append(self._prefix + site)
        self._root.captured[self._prefix + site] = value
        return value
