"""Networks of one's own: any JAX function, linen module or nnx module as a ``Model``, without a family."""

from .layout import ModuleSite
from .wrap import wrap

__all__ = ["ModuleSite", "wrap"]
