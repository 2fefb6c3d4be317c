"""BibTeX of the methods that a run may have used."""

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
    "videomae": """\
@inproceedings{tong2022videomae,
  title     = {{VideoMAE}: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video
               Pre-Training},
  author    = {Tong, Zhan and Song, Yibing and Wang, Jue and Wang, Limin},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  volume    = {35},
  year      = {2022}
}""",
    "timesformer": """\
@inproceedings{bertasius2021timesformer,
  title     = {Is Space-Time Attention All You Need for Video Understanding?},
  author    = {Bertasius, Gedas and Wang, Heng and Torresani, Lorenzo},
  booktitle = {International Conference on Machine Learning (ICML)},
  year      = {2021}
}""",
    "tcow": """\
@inproceedings{vanhoorick2023tcow,
  title     = {Tracking through Containers and Occluders in the Wild},
  author    = {Van Hoorick, Basile and Tokmakov, Pavel and Stent, Simon and Li, Jie and Vondrick, Carl},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2023}
}""",
    "internvideo": """\
@article{wang2022internvideo,
  title   = {{InternVideo}: General Video Foundation Models via Generative and Discriminative Learning},
  author  = {Wang, Yi and Li, Kunchang and Li, Yizhuo and He, Yinan and Huang, Bingkun and Zhao, Zhiyu and
             Zhang, Hongjie and Xu, Jilan and Liu, Yi and Wang, Zun and others},
  journal = {arXiv preprint arXiv:2212.03191},
  year    = {2022}
}""",
    "viclip": """\
@inproceedings{wang2024internvid,
  title     = {{InternVid}: A Large-scale Video-Text Dataset for Multimodal Understanding and Generation},
  author    = {Wang, Yi and He, Yinan and Li, Yizhuo and Li, Kunchang and Yu, Jiashuo and Ma, Xin and others},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2024}
}""",
    "clip": """\
@inproceedings{radford2021clip,
  title     = {Learning Transferable Visual Models From Natural Language Supervision},
  author    = {Radford, Alec and Kim, Jong Wook and Hallacy, Chris and Ramesh, Aditya and Goh, Gabriel and
               Agarwal, Sandhini and Sastry, Girish and Askell, Amanda and Mishkin, Pamela and Clark, Jack and
               Krueger, Gretchen and Sutskever, Ilya},
  booktitle = {International Conference on Machine Learning (ICML)},
  year      = {2021}
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


def network_key(family: str) -> tuple[str, ...]:
    """The key of a network's paper, where it has an entry: that whose name the family's begins with."""
    return tuple(key for key in ENTRIES if family.startswith(key))


def bibtex(methods: Sequence[str]) -> str:
    """Entries of ``methods`` in that order, then this software. Raises InputError for an unknown key."""
    for method in methods:
        if method not in ENTRIES:
            raise InputError(f"no citation for {method!r}; nearest: {nearest(method, ENTRIES)}")
    return "\n\n".join([*(ENTRIES[method] for method in dict.fromkeys(methods)), SOFTWARE]) + "\n"
