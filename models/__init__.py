"""Networks as pure functions with named sites.

``forward(model, inputs, edits=…, capture=…)`` is the only entry to a network; ``sites`` lists what can be read and
changed; ``load`` reads a converted or shipped model folder. Imports nothing of the rest of the library.
"""

from vtcd_jax.base.errors import InputError, nearest
from vtcd_jax.base.keys import Seed, as_key

from .prompts import with_prompts
from .registry import build, families, param_shapes
from .store import load, names, save, tokenizer_of
from .taps import Tap, example_inputs, forward, output_shapes, sites
from .tokenizer import Tokenizer, read_tokenizer
from .types import Edit, Inputs, Model, Output, Preprocessing

__all__ = [
    "Edit",
    "InputError",
    "Inputs",
    "Model",
    "Output",
    "Preprocessing",
    "Seed",
    "Tap",
    "Tokenizer",
    "as_key",
    "build",
    "example_inputs",
    "families",
    "forward",
    "load",
    "names",
    "nearest",
    "output_shapes",
    "param_shapes",
    "read_tokenizer",
    "save",
    "sites",
    "tokenizer_of",
    "with_prompts",
]
