"""BibTeX of the methods that a run may have used; that of a network stands in its family (``models.citations_of``)."""

from __future__ import annotations

from collections.abc import Sequence

from vtcd_jax import __version__
from vtcd_jax.base.errors import InputError, nearest

ENTRIES = {
    "vtcd": """\
@inproceedings{kowal2024vtcd,
  title     = {Understanding Video Transformers via Universal Concept Discovery},
  author    = {Kowal, Matthew and Dave, Achal and Ambrus, Rares and Gaidon, Adrien and
               Derpanis, Konstantinos G. and Tokmakov, Pavel},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2024}
}""",
    "convex-nmf": """\
@article{ding2010convex,
  title   = {Convex and Semi-Nonnegative Matrix Factorizations},
  author  = {Ding, Chris and Li, Tao and Jordan, Michael I.},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume  = {32},
  number  = {1},
  pages   = {45--55},
  year    = {2010}
}""",
    "slic": r"""@article{achanta2012slic,
  title   = {{SLIC} Superpixels Compared to State-of-the-Art Superpixel Methods},
  author  = {Achanta, Radhakrishna and Shaji, Appu and Smith, Kevin and Lucchi, Aurelien and Fua, Pascal and
             S{\"u}sstrunk, Sabine},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume  = {34},
  number  = {11},
  pages   = {2274--2282},
  year    = {2012}
}""",
}

SOFTWARE = """\
@software{vtcd_jax,
  title   = {{vtcd\\_jax}: concept-based interpretability of video transformers in {JAX}},
  author  = {{The vtcd\\_jax authors}},
  version = {VERSION}
}""".replace("VERSION", "{" + __version__ + "}")


def bibtex(methods: Sequence[str]) -> str:
    """Entries of ``methods`` in that order, then this software.

    methods: keys of ``ENTRIES``, or complete entries that begin with "@". Raises InputError for an unknown key.
    """
    for method in methods:
        if method not in ENTRIES and not method.startswith("@"):
            raise InputError(f"no citation for {method!r}; nearest: {nearest(method, ENTRIES)}")
    return "\n\n".join([*(ENTRIES.get(method, method) for method in dict.fromkeys(methods)), SOFTWARE]) + "\n"
