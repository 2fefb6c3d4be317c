"""Charts and pictures with matplotlib, drawn into the user's axes, for notebooks and papers.

Each function takes ``ax`` (or makes one), draws, and returns it; nothing is shown or saved. Intervals are 95 %.
matplotlib is an extra (``pip install "vtcd-jax[viz]"``) and imported by the first call.
"""

from .charts import curves, heads, layers, ranking
from .pictures import strip

__all__ = ["curves", "heads", "layers", "ranking", "strip"]
