"""Where in a file its weights lie, and what else is there.

Checkpoints wrap the state dict in containers (``model``, ``module``, ``state_dict``, …) and its names in prefixes
(DataParallel's ``module.``, torch.compile's ``_orig_mod.``), these also inside names. Both are undone here, and said in
the report, as are averaged weights and adapters that lie beside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vtcd_jax.base.errors import InputError

from .files.modules import as_dict
from .files.tensors import LazyTensor

# In this order: the published files' keys first, averaged weights only when there is nothing else.
CONTAINERS = (
    "model", "module", "state_dict", "model_state", "model_state_dict", "net", "network", "weights", "model_ema", "ema",
    "state_dict_ema", "ema_state_dict", "module_ema", "model_ema_state_dict",
)  # fmt: skip
WRAPPERS = ("module.", "_orig_mod.", "_forward_module.", "model.", "backbone.", "net.", "network.", "base_model.")
# Of torch.compile, activation checkpointing, FSDP and data parallelism: at any place in a name.
INNER = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_fpw_module", "_forward_module", "module")
ADAPTER = re.compile(
    r"(?:^|.*[._])(?:lora_(?:[AB]|up|down|embedding_[AB]|magnitude_vector|alpha)|ia3_l|hada_w[12]_[ab]|oft_r|vera_lambda_[bd])"
    r"(?:\..*|$)"
)
BASE = "base"
_AVERAGED = re.compile(r"(?:^|.*[^a-z])(?:ema|swa|averaged?|shadow|teacher|target|momentum)(?:[^a-z].*|$)", re.I)
_AVERAGE_COUNTERS = ("n_averaged", "num_updates", "decay")
MAX_DEPTH, MAX_DICTS = 3, 2000
Path = tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """Weights in a file. tensors: stripped name -> tensor.  names: stripped name -> the name in the file.
    where: the container, in words.  ignored: what else lies there -> why it is left."""

    tensors: dict[str, LazyTensor]
    names: dict[str, str]
    where: str
    ignored: dict[str, str]


def find_weights(
    content: Any, containers: tuple[str, ...], prefixes: tuple[str, ...], chosen: str | None = None
) -> Found | None:
    """The state dict in a file's content, its names stripped; None where there are no tensors.

    containers: keys that may hold it, tried in this order.  prefixes: taken off the beginnings of names.
    chosen: the user's word: a key of the file ("a/b" for one inside another), the beginning of the names, or ``BASE``
            for the weights without the adapter's. Raises InputError where nothing is called so.
    """
    picked = None if chosen in (None, BASE) else _path_of(content, chosen)
    tensors, path = _descend(content if picked is None else _at(content, picked), containers, picked or ())
    if not tensors:
        return None
    ignored: dict[str, str] = {}
    if chosen is not None and picked is None:
        tensors, ignored = _narrowed(tensors, chosen)
    stripped, names, counts = strip(tensors, prefixes, drop_base=chosen == BASE)
    where = f"weights under {'/'.join(path)!r}" if path else "a bare state dict"
    if counts:
        where += ", prefix " + ", ".join(f"{prefix!r} stripped from {n} names" for prefix, n in counts.items())
    ignored |= _beside(content, path, tensors)
    averaged = _averaged_names(stripped)
    ignored |= {names[name]: why for name, why in averaged.items()}
    kept = {name: tensor for name, tensor in stripped.items() if name not in averaged}
    return Found(kept, names, where, ignored)


# -- containers ------------------------------------------------------------------------------------------------------
def _descend(content: Any, containers: tuple[str, ...], path: Path = ()) -> tuple[dict[str, LazyTensor], Path]:
    """Follows the first container key that leads to tensors, at most three deep; else takes the tensors right here."""
    inside = as_dict(content)
    if inside is None:
        return {}, path
    for key in containers if len(path) < MAX_DEPTH else ():
        tensors, inner = _descend(inside.get(key), containers, (*path, key))
        if tensors:
            return tensors, inner
    return {k: v for k, v in inside.items() if isinstance(k, str) and isinstance(v, LazyTensor)}, path


def _at(content: Any, path: Path) -> Any:
    for key in path:
        content = (as_dict(content) or {}).get(key)
    return content


def _path_of(content: Any, chosen: str) -> Path | None:
    """The keys that ``chosen`` names, "a/b" or "a"; None where it names none that lead to something."""
    for path in ((chosen,), tuple(chosen.split("/"))):
        if isinstance(as_dict(_at(content, path)), dict):
            return path
    return None


def state_dicts(content: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, LazyTensor]]]:
    """Every dict of tensors in a file, at most three deep: the keys that lead there, and its tensors."""
    open_parts, seen = [(content, path)], 0
    while open_parts and seen < MAX_DICTS:
        value, at = open_parts.pop(0)
        inside, seen = as_dict(value), seen + 1
        if inside is None:
            continue
        tensors = {k: v for k, v in inside.items() if isinstance(k, str) and isinstance(v, LazyTensor)}
        if tensors:
            yield at, tensors
        if len(at) < MAX_DEPTH and not tensors:
            open_parts += [(v, (*at, k)) for k, v in inside.items() if isinstance(k, str) and as_dict(v) is not None]


def _beside(content: Any, path: Path, tensors: Mapping[str, LazyTensor]) -> dict[str, str]:
    """What lies in the file beside the weights -> why it is left; averaged and second weights by how to take them."""
    if not path:
        return {}
    ignored = {key: "not the weights" for key in as_dict(content) or {} if isinstance(key, str) and key != path[0]}
    for at, others in state_dicts(content):
        if at != path and len(set(others) & set(tensors)) * 2 > len(tensors):
            kind = "averaged weights" if any(map(_AVERAGED.match, at)) else "other weights"
            ignored.pop(at[0], None)
            ignored["/".join(at)] = f"{kind}, not taken; --weights {'/'.join(at)} takes them"
    return ignored


# -- names -----------------------------------------------------------------------------------------------------------
def _narrowed(tensors: Mapping[str, LazyTensor], chosen: str) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """The tensors whose names begin with the user's word, and those left out. ``BASE``: those of no adapter."""
    if chosen == BASE:
        kept = {name: tensor for name, tensor in tensors.items() if not ADAPTER.match(name)}
        reason = "an adapter's, left out on request"
    else:
        kept = {name: tensor for name, tensor in tensors.items() if name.startswith(f"{chosen.rstrip('.')}.")}
        reason = f"does not begin with {chosen!r}"
    if not kept:
        raise InputError(f"--weights {chosen!r} is neither a key of the file nor the beginning of a tensor's name")
    start = 0 if chosen == BASE else len(chosen.rstrip(".")) + 1
    left = {name: reason for name in tensors if name not in kept}
    return {name[start:]: tensor for name, tensor in kept.items()}, left


def strip(
    tensors: Mapping[str, LazyTensor], prefixes: tuple[str, ...], *, drop_base: bool = False
) -> tuple[dict[str, LazyTensor], dict[str, str], dict[str, int]]:
    """Takes wrappers off. Returns tensors and file names by stripped name, and how often each wrapper went.

    A name that would collide with another keeps its wrappers, so that both are seen (and one of them reported).
    drop_base: take ``base_layer.`` off too, peft's name for what an adapter stands on.
    """
    inner = (*INNER, "base_layer") if drop_base else INNER
    pattern = re.compile(rf"(?:(?<=\.)|^)({'|'.join(inner)})\.(?=.)")
    stripped: dict[str, LazyTensor] = {}
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for full, tensor in tensors.items():
        taken: list[str] = []
        name = _without(full, pattern, prefixes, taken)
        if name in stripped or (taken and name in tensors):
            name, taken = full, []
        stripped[name], names[name] = tensor, full
        for wrapper in taken:
            counts[wrapper] = counts.get(wrapper, 0) + 1
    return stripped, names, counts


def _without(name: str, pattern: re.Pattern[str], prefixes: tuple[str, ...], taken: list[str]) -> str:
    """``name`` without wrappers; those that went are added to ``taken``."""
    while True:
        if match := pattern.search(name):
            name = name[: match.start()] + name[match.end() :]
            taken.append(match[0])
        elif prefix := next((p for p in prefixes if name.startswith(p) and len(name) > len(p)), None):
            name = name.removeprefix(prefix)
            taken.append(prefix)
        else:
            return name


def _averaged_names(tensors: Mapping[str, LazyTensor]) -> dict[str, str]:
    """Tensors that repeat others under a name of averaged weights ("ema_model.x" beside "x") -> why they are left."""
    known = {name.replace(".", "") for name in tensors}
    found: dict[str, str] = {}
    for name in tensors:
        first, _, rest = name.partition(".")
        if name in _AVERAGE_COUNTERS:
            found[name] = "counts the steps of an average"
        elif rest and _AVERAGED.match(first) and (rest.replace(".", "") in known or rest in _AVERAGE_COUNTERS):
            found[name] = f"averaged weights, not taken; --weights {first} takes them"
    return found
