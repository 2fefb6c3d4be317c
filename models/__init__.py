"""Networks as pure functions with named sites.

``forward(model, inputs, edits=…, capture=…)`` is the only entry to a network; ``sites`` lists what can be read and
changed; ``load`` reads a converted or shipped model folder. Imports nothing of the rest of the library.
"""

from vtcd_jax.base.errors import InputError, nearest

from .building import build, param_shapes
from .description import describe, fingerprint
from .language.prompts import with_prompts
from .language.tokenizer import Tokenizer, read_tokenizer
from .own import ModuleSite, wrap
from .registry import all_families, citations_of, family, family_of
from .store import load, model_hashes, names, save, tokenizer_of
from .taps import Tap, example_inputs, forward, output_shapes, sites
from .types import Edit, Inputs, Model, Output, Preprocessing

__all__ = [
    "Edit",
    "InputError",
    "Inputs",
    "Model",
    "ModuleSite",
    "Output",
    "Preprocessing",
    "Tap",
    "Tokenizer",
    "all_families",
    "build",
    "citations_of",
    "describe",
    "example_inputs",
    "family",
    "family_of",
    "fingerprint",
    "forward",
    "load",
    "model_hashes",
    "names",
    "nearest",
    "output_shapes",
    "param_shapes",
    "read_tokenizer",
    "save",
    "sites",
    "tokenizer_of",
    "with_prompts",
    "wrap",
]
