"""Results as files: frozen dataclasses of arrays, read back unchanged.

    result.safetensors    tensors "<name>/<field>"; all other fields as JSON in the header

Fields may be arrays, None, text, numbers, and tuples or mappings of these. Bytes depend only on the values.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import save_safetensors


def save_results(path: str | Path, results: Mapping[str, Any]) -> None:
    """Writes dataclasses by name into one file, atomically."""
    tensors: dict[str, np.ndarray] = {}
    plain: dict[str, Any] = {}
    for name, result in results.items():
        fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
        arrays = {key: value for key, value in fields.items() if isinstance(value, (np.ndarray, np.generic))}
        tensors |= {f"{name}/{key}": np.asarray(value) for key, value in arrays.items()}
        plain[name] = {key: value for key, value in fields.items() if key not in arrays}
    save_safetensors(path, tensors, {"results": json.dumps(plain, sort_keys=True)})


def load_results(path: str | Path, kinds: Mapping[str, type]) -> dict[str, Any]:
    """name -> dataclass, in the order of their names. kinds: first part of the name (up to "/") -> its class.

    Raises InputError for a file that is missing, damaged, or holds other results.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            plain = json.loads((file.metadata() or {})["results"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
        results = {}
        for name, fields in plain.items():
            arrays = {key.removeprefix(f"{name}/"): a for key, a in tensors.items() if key.startswith(f"{name}/")}
            values = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
            results[name] = kinds[name.split("/")[0]](**values, **arrays)
        return results
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; run the stage that writes it") from None
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: is damaged or holds other results ({error}); run its stage again") from None
