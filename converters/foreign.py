"""Weights that cannot be taken as they are, and networks that have no table: named for what they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from vtcd_jax.base.errors import InputError

from .files.containers import Container
from .files.modules import as_dict
from .files.tensors import LazyTensor
from .files.torch_file import SCRIPT
from .finding import ADAPTER, BASE, Found, state_dicts

_QUANTISED_NAMES = re.compile(
    r".*\.(?:qweight|qzeros|g_idx|SCB|weight_format|absmax|nested_absmax|quant_map|nested_quant_map|quant_state\..*"
    r"|weight_scale(?:_inv)?|weight_zero_point|_packed_params\..*)|.*\.weight\.(?:absmax|quant_map|quant_state\..*)"
)
_QUANTISED_TYPES = ("int8", "uint8")
MERGE = "merge it first (peft: merge_and_unload(), then save_pretrained) and convert the result"
# Marks of tensors' names, all of which must be there -> whose network it is.
_KNOWN: tuple[tuple[tuple[str, ...], str], ...] = (
    ((r".*backbone\.transformer_layers\.layers\..*", r".*cls_head\..*"), "mmaction2's TimeSformer"),
    ((r".*cls_head\..*", r".*backbone\..*"), "a network of mmaction2"),
    ((r".*predictor_blocks\..*|.*mask_tokens\..*",), "V-JEPA's predictor"),
    ((r".*encoder\.layer\.\d+\.attention\.(query|proj)\.weight", r".*patch_embeddings\.proj\..*"), "V-JEPA 2"),
    ((r".*blocks\.\d+\.attn\.pool_[qkv].*",), "MViT"),
    ((r".*pathway\d.*",), "SlowFast"),
    ((r".*relative_position_bias_table", r".*layers\.\d+\.blocks\..*"), "Swin"),
    ((r".*visual\.trunk\..*",), "a CLIP of OpenCLIP with an image tower of timm"),
    ((r".*visual\.layer\d\..*|.*visual\.attnpool\..*",), "a CLIP with a ResNet as image tower"),
    ((r".*text\.transformer\.encoder\..*|.*text\.transformer\.embeddings\..*",),
     "a CLIP of OpenCLIP with a text tower of Hugging Face"),
    ((r".*vivit\..*",), "ViViT"),
    ((r".*encoder\.layer\.\d+\.attention\.attention\.query\.bias", r".*patch_embeddings\.projection\.weight"),
     "Hugging Face's ViT, or another transformer with a class token"),
    ((r".*clip_teacher.*|.*clip_decoder.*|.*clip_projector.*",), "InternVideo2"),
    ((r".*cls_token", r".*blocks\.\d+\.attn\.qkv\.bias", r".*patch_embed\.proj\.weight"), "an image transformer (ViT)"),
    ((r".*patch_embed\.proj\.weight", r".*blocks\.\d+\.attn\.qkv\.bias", r".*norm\.weight"),
     "a plain video or image transformer with key biases and a last norm, such as V-JEPA's encoder"),
)  # fmt: skip


def check_weights(found: Found, source: str) -> None:
    """Raises InputError for quantised weights and for an adapter's tensors."""
    adapters = [found.names[name] for name in found.tensors if ADAPTER.match(found.names[name])]
    if adapters:
        alone = len(adapters) * 2 > len(found.tensors)
        what = "is an adapter without its base" if alone else "holds an adapter beside the weights that it changes"
        base = "" if alone else f", or convert the base alone with --weights {BASE}"
        raise InputError(f"{source} {what} ({adapters[0][:80]}, …); {MERGE}{base}")
    for name, tensor in found.tensors.items():
        by_name = _QUANTISED_NAMES.fullmatch(name)
        if by_name or (tensor.dtype in _QUANTISED_TYPES and tensor.shape and name.endswith("weight")):
            raise InputError(
                f"{source} holds quantised weights ({found.names[name][:80]}, {tensor.dtype}); give the unquantised "
                "checkpoint (float32, float16 or bfloat16)"
            )


def check_adapter_beside(container: Container, chosen: str | None) -> dict[str, str]:
    """Adapter files beside the weights -> why they are left. Raises InputError where nobody chose between them."""
    if not container.adapters:
        return {}
    names = ", ".join(container.adapters)
    if chosen != BASE and container.path.is_dir():
        raise InputError(
            f"{container.path} holds an adapter ({names}) beside the weights that it changes; {MERGE}, or convert the "
            f"base alone with --weights {BASE}"
        )
    return {name: f"an adapter, which is not applied; {MERGE}" for name in container.adapters}


def unrecognised(container: Container, family: str | None, families: Iterable[str]) -> str:
    """What a file is that no table fits, in one line."""
    source, parts = str(container.path), list(state_dicts(container.content))
    if not parts:
        return f"{source} holds no tensors by name; give a file that holds a model's state dict"
    path, tensors = max(parts, key=lambda part: len(part[1]))
    wanted = f"a checkpoint of {family}" if family else f"any known network ({', '.join(families)})"
    shown = ", ".join(name[:60] for name in list(tensors)[:3])
    where = f" under {'/'.join(path)!r}" if path else ""
    line = f"{source} is not {wanted}; its {len(tensors)} tensors{where} begin with {shown}"
    if kind := _known(container.content, tensors):
        line += f"; it looks like {kind}: there is no table for that"
    if len(parts) > 1:
        line += f"; it holds tensors under {', '.join(repr('/'.join(p)) for p, _ in parts[:6])}: choose with --weights"
    if container.kind.startswith(SCRIPT):
        line += "; it is a TorchScript program: torch.save the state_dict() of what torch.jit.load gives"
    return line


def _known(content: Any, tensors: Mapping[str, LazyTensor]) -> str | None:
    top = as_dict(content) or {}
    if {"target_encoder", "predictor"} <= set(map(str, top)):
        return "V-JEPA (encoder, predictor, target_encoder)"
    for marks, name in _KNOWN:
        if all(any(re.fullmatch(mark, tensor) for tensor in tensors) for mark in marks):
            return name
    return None
