"""Model folders: how converted and shipped models are kept, written whole and read with suspicion.

A model folder holds ``params.safetensors`` (flat names joined with "/"), ``config.json`` (the config's fields, with
``family`` and ``preprocessing``), ``labels.json`` (class names in logit order) and ``manifest.json`` (where the
parameters come from). Video-text networks may have ``prompts.safetensors`` (the labels' text features) and
``vocab.json`` with ``merges.txt`` (their tokenizer).
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vtcd_jax.base import files
from vtcd_jax.base.errors import InputError, nearest
from vtcd_jax.base.files import file_sha256

from .building import build, param_shapes
from .language.tokenizer import Tokenizer, read_tokenizer
from .registry import family
from .taps import example_inputs, forward
from .types import Model, Preprocessing

WEIGHTS = Path(__file__).parent / "weights"
PROMPTS = "prompts.safetensors"


def save(
    model: Model,
    folder: str | Path,
    *,
    manifest: dict[str, Any],
    tokenizer: Tokenizer | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a model folder: whole, or not at all.

    manifest: where the parameters come from.  tokenizer: of a video-text network, where it is known.
    Raises InputError when the folder exists and ``overwrite`` is off.
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists; choose another folder or pass --overwrite")
    with files.replacing_folder(folder) as new:
        files.save_safetensors(new / "params.safetensors", files.flatten(model.params))
        write_description(new, model, manifest, tokenizer)


def write_description(folder: Path, model: Model, manifest: dict[str, Any], tokenizer: Tokenizer | None = None) -> None:
    """All files of a model folder but the parameters."""
    config = dataclasses.asdict(model.config) | {"preprocessing": model.preprocessing.to_json()}
    files.write_json(folder / "config.json", config)
    files.write_json(folder / "labels.json", list(model.labels))
    files.write_json(folder / "manifest.json", manifest)
    if model.prompts is not None:
        files.save_safetensors(folder / PROMPTS, {"prompts": model.prompts})
    if tokenizer is not None:
        tokenizer.save(folder)


def names() -> list[str]:
    """Models that are shipped with the library."""
    return sorted(path.parent.name for path in WEIGHTS.glob("*/config.json"))


def folder_of(folder_or_name: str | Path) -> Path:
    """The folder of a shipped model, or the folder itself. Raises InputError when it is neither."""
    if str(folder_or_name) in names():
        return WEIGHTS / str(folder_or_name)
    if not Path(folder_or_name).is_dir():
        raise InputError(
            f"no model {str(folder_or_name)!r}: not a model folder, and shipped are {', '.join(names()) or 'none'}; "
            "make a folder with `vtcd convert CHECKPOINT FOLDER`"
        )
    return Path(folder_or_name)


def load(folder_or_name: str | Path) -> Model:
    """A shipped model by name, or a model folder. Raises InputError, naming the file, whatever is wrong with it."""
    folder = folder_of(folder_or_name)
    try:
        config, preprocessing = _read_config(folder)
        labels = _read_json(folder / "labels.json")
        params = _read_params(folder, param_shapes(config))
        model = build(config, params=params, preprocessing=preprocessing, name=folder.name)
        model = dataclasses.replace(model, prompts=_read_prompts(folder, getattr(config, "embed_dim", 0)))
        inputs = dataclasses.replace(example_inputs(model), text=None)
        output = jax.eval_shape(lambda m, inputs: forward(m, inputs)[0], model, inputs)
    except InputError as error:
        if str(folder) in str(error):
            raise
        raise InputError(f"{folder / 'config.json'}: {error}; convert the checkpoint again") from None
    except (TypeError, ValueError, ZeroDivisionError, AttributeError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder / 'config.json'}: describes no network ({reason}); convert again") from error
    _check_values(folder, model)
    return dataclasses.replace(model, labels=_checked_labels(folder, labels, output.logits))


def tokenizer_of(folder_or_name: str | Path) -> Tokenizer:
    """The tokenizer that lies in a model folder. Raises InputError when there is none."""
    return read_tokenizer(folder_of(folder_or_name))


def _check_values(folder: Path, model: Model) -> None:
    """Raises InputError for colours and weights that are not finite."""
    colours = np.array([model.preprocessing.mean, model.preprocessing.std], np.float64)
    if colours.shape != (2, 3) or not np.isfinite(colours).all() or not colours[1].min() > 0:
        raise InputError(f"{folder / 'config.json'}: needs three finite mean and std > 0; convert again")
    for name, leaf in files.flatten(model.params).items():
        if not np.isfinite(np.asarray(leaf)).all():
            raise InputError(f"{folder}: {name} holds values that are not finite; get the checkpoint again")


def _checked_labels(folder: Path, labels: Any, logits: jax.ShapeDtypeStruct | None) -> tuple[str, ...]:
    """Class names in logit order; ``class_i`` where there are none."""
    classes = 0 if logits is None else logits.shape[-1]
    if labels == [] and classes:
        return tuple(f"class_{i}" for i in range(classes))
    if not isinstance(labels, list) or len(labels) != classes or not all(isinstance(n, str) for n in labels):
        raise InputError(f"{folder / 'labels.json'}: must hold {classes} class names; convert again")
    return tuple(labels)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing; convert the checkpoint again with `vtcd convert`") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not JSON ({error}); convert the checkpoint again") from None


def _read_config(folder: Path) -> tuple[Any, Preprocessing]:
    fields = _read_json(folder / "config.json")
    if not isinstance(fields, dict):
        raise InputError(f"{folder / 'config.json'}: is no JSON object; convert the checkpoint again")
    if "family" not in fields and ("model_type" in fields or "architectures" in fields):
        raise InputError(f"{folder}: is a Hugging Face folder; convert it first: vtcd convert {folder} OUT")
    kind = family(fields.get("family", ""))
    preprocessing = fields.pop("preprocessing", None)
    known = {f.name for f in dataclasses.fields(kind.config)}
    for name in fields:
        if name not in known:
            raise InputError(f"{folder / 'config.json'}: unknown setting {name!r}; nearest: {nearest(name, known)}")
    config = kind.config(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
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


def _read_prompts(folder: Path, channels: int) -> jax.Array | None:
    """Text features of the labels [label, ``channels``]; None where there is no such file."""
    path = folder / PROMPTS
    if not path.exists():
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as source:
            prompts = source.get_tensor("prompts")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); convert the checkpoint again") from None
    if prompts.ndim != 2 or prompts.shape[1] != channels or not np.isfinite(prompts).all():
        raise InputError(f"{path}: has shape {list(prompts.shape)}, expected finite [label, {channels}]; convert again")
    return jax.numpy.asarray(prompts)


def _read_orbax(folder: Path, shapes: dict[str, Any]) -> dict[str, Any]:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(folder.resolve(), shapes)


def model_hashes(folder_or_name: str) -> dict[str, str]:
    """SHA-256 (hex) of every file of a model folder, by its path in there."""
    folder = folder_of(folder_or_name)
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
