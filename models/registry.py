"""Families of networks, and the folder format in which converted and shipped models are kept.

A model folder holds ``params.safetensors`` (flat names joined with "/"), ``config.json`` (the config's fields, with
``family`` and ``preprocessing``), ``labels.json`` (class names in logit order) and ``manifest.json`` (where the
parameters come from). A new family is a module here and one entry in ``families``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn

from . import files, videomae
from .errors import InputError, nearest
from .taps import Tap, example_inputs
from .types import Inputs, Model, Preprocessing

WEIGHTS = Path(__file__).parent / "weights"


class Family(NamedTuple):
    """config: its frozen dataclass.  module: config -> Flax module.  preprocessing: config -> default."""

    config: type
    module: Callable[[Any], nn.Module]
    preprocessing: Callable[[Any], Preprocessing]


def families() -> dict[str, Family]:
    """Family name -> how to build it."""
    return {
        "videomae-classifier": Family(videomae.VideoMAEConfig, videomae.Classifier, videomae.preprocessing),
        "videomae-pretrain": Family(videomae.VideoMAEPretrainConfig, videomae.Autoencoder, videomae.preprocessing),
    }


def family(name: str) -> Family:
    if name not in families():
        raise InputError(f"unknown model family {name!r}; known: {', '.join(sorted(families()))}")
    return families()[name]


def param_shapes(config: Any) -> dict[str, Any]:
    """Nested dict of ``jax.ShapeDtypeStruct``: every parameter of the network, at no cost."""
    kind = family(config.family)
    module = kind.module(config)
    shapes = example_inputs(Model({}, module, config, kind.preprocessing(config)))

    def init(key: jax.Array, inputs: Inputs) -> Any:
        return module.init(key, inputs, Tap({}, ()))["params"]

    return jax.eval_shape(init, jax.random.key(0), shapes)


def build(
    config: Any,
    *,
    params: Any = None,
    key: jax.Array | None = None,
    labels: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    name: str = "",
) -> Model:
    """A model from its config: with the given parameters, or randomly initialised from ``key`` (default: seed 0)."""
    kind = family(config.family)
    module = kind.module(config)
    preprocessing = preprocessing or kind.preprocessing(config)
    model = Model(params, module, config, preprocessing, tuple(labels), name or config.family)
    if params is None:
        inputs = example_inputs(model)
        key = jax.random.key(0) if key is None else key
        blank = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), inputs)
        init = jax.jit(lambda k, x: module.init(k, x, Tap({}, ()))["params"])
        model = dataclasses.replace(model, params=init(key, blank))
    return model


def save(model: Model, folder: str | Path, *, manifest: dict[str, Any], overwrite: bool = False) -> None:
    """Writes a model folder: whole, or not at all. ``manifest`` tells where the parameters come from.

    Raises InputError when the folder exists and ``overwrite`` is off.
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists; choose another folder or pass --overwrite")
    with files.replacing_folder(folder) as new:
        files.save_safetensors(new / "params.safetensors", files.flatten(model.params))
        write_description(new, model, manifest)


def write_description(folder: Path, model: Model, manifest: dict[str, Any]) -> None:
    """The three JSON files of a model folder."""
    config = dataclasses.asdict(model.config) | {"preprocessing": model.preprocessing.to_json()}
    files.write_json(folder / "config.json", config)
    files.write_json(folder / "labels.json", list(model.labels))
    files.write_json(folder / "manifest.json", manifest)


def names() -> list[str]:
    """Models that are shipped with the library."""
    return sorted(path.parent.name for path in WEIGHTS.glob("*/config.json"))


def load(folder_or_name: str | Path) -> Model:
    """A shipped model by name, or a model folder. Raises InputError when it is neither, or broken."""
    folder = Path(folder_or_name)
    if str(folder_or_name) in names():
        folder = WEIGHTS / str(folder_or_name)
    if not folder.is_dir():
        raise InputError(
            f"no model {str(folder_or_name)!r}: not a model folder, and shipped are {', '.join(names()) or 'none'}; "
            "make a folder with `vtcd convert CHECKPOINT FOLDER`"
        )
    config, preprocessing = _read_config(folder)
    labels = tuple(_read_json(folder / "labels.json"))
    params = _read_params(folder, param_shapes(config))
    return build(config, params=params, labels=labels, preprocessing=preprocessing, name=folder.name)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing; convert the checkpoint again with `vtcd convert`") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not JSON ({error}); convert the checkpoint again") from None


def _read_config(folder: Path) -> tuple[Any, Preprocessing]:
    fields = dict(_read_json(folder / "config.json"))
    kind = family(fields.get("family", ""))
    preprocessing = fields.pop("preprocessing", None)
    known = {f.name for f in dataclasses.fields(kind.config)}
    for name in fields:
        if name not in known:
            raise InputError(f"{folder / 'config.json'}: unknown setting {name!r}; nearest: {nearest(name, known)}")
    config = kind.config(**fields)
    return config, Preprocessing.from_json(preprocessing) if preprocessing else kind.preprocessing(config)


def _read_params(folder: Path, shapes: dict[str, Any]) -> dict[str, Any]:
    """Reads by mapping, tensor by tensor, and checks every name and shape."""
    path = folder / "params.safetensors"
    if not path.exists() and (folder / "params").is_dir():
        return _read_orbax(folder / "params", shapes)
    from safetensors import SafetensorError, safe_open

    expected = files.flatten(shapes)
    try:
        with safe_open(str(path), framework="numpy") as source:
            found = set(source.keys())
            problems = [f"missing {name}" for name in sorted(set(expected) - found)]
            problems += [f"unknown {name}" for name in sorted(found - set(expected))]
            tensors = {name: source.get_tensor(name) for name in expected if name in found}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); convert the checkpoint again") from None
    problems += [
        f"{name} has shape {tuple(tensor.shape)}, the config says {expected[name].shape}"
        for name, tensor in tensors.items()
        if tuple(tensor.shape) != expected[name].shape
    ]
    if problems:
        raise InputError(f"{path} does not fit its config.json:\n  " + "\n  ".join(problems))
    return files.unflatten({name: jax.numpy.asarray(tensor) for name, tensor in tensors.items()})


def _read_orbax(folder: Path, shapes: dict[str, Any]) -> dict[str, Any]:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(folder.resolve(), shapes)
