"""A new network is one file and one table in the two ``families`` folders: the toy of docs/adding_a_model.md."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import vtcd_jax.converters.families
import vtcd_jax.models.families
from vtcd_jax import concepts, importance, models
from vtcd_jax.converters import convert
from vtcd_jax.data import Clips
from vtcd_jax.data.inputs import check_query
from vtcd_jax.models import Edit, Inputs
from vtcd_jax.scores.functions import Context, check_scores, default_scores, reconstruction

pytestmark = pytest.mark.compile

GUIDE = Path(__file__).parents[2] / "docs" / "adding_a_model.md"
PATCH, WIDTH, CLASSES = 8, 8, 3


AUTOENCODER = '''
"""A toy that follows a mask and reconstructs frames: one block, whose sites have names of their own."""

from dataclasses import dataclass

from flax import linen as nn

from ..layers import Block, PatchEmbed, to_patches
from ..streams import Grid, Stream
from ..types import Family, Output, Preprocessing, attention_sites


@dataclass(frozen=True)
class AutoConfig:
    family: str = "auto"
    image_size: int = 16
    patch_size: int = 8
    num_frames: int = 2

    @property
    def grid(self):
        return self.num_frames, 2, 2


class Auto(nn.Module):
    config: AutoConfig

    @nn.compact
    def __call__(self, inputs, tap):
        c = self.config
        x = PatchEmbed(8, 1, c.patch_size, name="patch_embed")(inputs.video * inputs.query[..., None])
        stream = Stream(x.reshape(len(x), 1, -1, 8), Grid(*c.grid))
        stream = Block(2, 4.0, 1e-6, name="stage")(stream, tap.scope("backbone/stage"))
        return Output(patches=nn.Dense(c.patch_size**2 * 3, name="head")(stream.positions))


FAMILIES = {
    "auto": Family(
        AutoConfig, Auto, lambda c: Preprocessing(c.num_frames, c.image_size, c.image_size), "Auto", ("@misc{auto}",),
        needs=("query",), target=lambda video, config: to_patches(video, 1, config.patch_size),
        concept_sites=attention_sites("backbone/stage/attn"),
    )
}
'''


@pytest.fixture
def add(tmp_path, monkeypatch):
    """add(package, name, code): puts a module into a folder that the package searches too."""
    added = []

    def put(package, name: str, code: str) -> None:
        folder = tmp_path / package.__name__
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(code)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        added.append((package, name))

    yield put
    for package, name in added:
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)


@pytest.fixture
def toy(add):
    """The guide's two files."""
    network, table = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)
    add(vtcd_jax.models.families, "toy", network)
    add(vtcd_jax.converters.families, "toy", table)


def checkpoint(folder: Path) -> dict[str, np.ndarray]:
    """A file as the toy's authors would have written it."""
    rng = np.random.default_rng(0)
    shapes = {
        "patch.weight": (WIDTH, 3, 1, PATCH, PATCH), "patch.bias": (WIDTH,), "norm1.weight": (WIDTH,),
        "norm1.bias": (WIDTH,), "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,), "qkv.weight": (3 * WIDTH, WIDTH),
        "qkv.bias": (3 * WIDTH,), "out.weight": (WIDTH, WIDTH), "out.bias": (WIDTH,), "fc1.weight": (4 * WIDTH, WIDTH),
        "fc1.bias": (4 * WIDTH,), "fc2.weight": (WIDTH, 4 * WIDTH), "fc2.bias": (WIDTH,),
        "head.weight": (CLASSES, WIDTH), "head.bias": (CLASSES,),
    }  # fmt: skip
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(tensors, folder / "toy.safetensors")
    (folder / "sizes.json").write_text(json.dumps({"num_heads": 2, "image_size": 16, "num_frames": 2}))
    return tensors


def expected_logits(t: dict[str, np.ndarray], video: np.ndarray) -> np.ndarray:
    """The toy by hand, in float64. video [time, height, width, 3] -> [class]."""
    t = {name: value.astype(np.float64) for name, value in t.items()}

    def norm(x, i):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * t[f"norm{i}.weight"] + t[f"norm{i}.bias"]

    from scipy.special import erf, softmax

    frames = video.reshape(2, 2, PATCH, 2, PATCH, 3).transpose(0, 1, 3, 5, 2, 4).reshape(8, -1)
    x = frames @ t["patch.weight"].reshape(WIDTH, -1).T + t["patch.bias"]
    qkv = norm(x, 1) @ t["qkv.weight"].T + t["qkv.bias"]
    query, key, value = qkv.reshape(8, 3, 2, 4).transpose(1, 2, 0, 3)
    mixed = softmax(query @ key.swapaxes(1, 2) / 2, axis=-1) @ value
    x = x + mixed.transpose(1, 0, 2).reshape(8, WIDTH) @ t["out.weight"].T + t["out.bias"]
    hidden = norm(x, 2) @ t["fc1.weight"].T + t["fc1.bias"]
    hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
    x = x + hidden @ t["fc2.weight"].T + t["fc2.bias"]
    return x.mean(0) @ t["head.weight"].T + t["head.bias"]


def test_the_guides_two_files_are_all_that_a_network_needs(toy, tmp_path):
    tensors = checkpoint(tmp_path)
    report = convert(tmp_path / "toy.safetensors", tmp_path / "toy", config=tmp_path / "sizes.json")
    assert report.family == "toy"
    model = models.load(tmp_path / "toy")
    video = np.random.default_rng(1).normal(size=(2, 16, 16, 3)).astype(np.float32)
    output, seen = models.forward(model, Inputs(video[None]), capture=("block_0/attn/key",))
    np.testing.assert_allclose(output.logits[0], expected_logits(tensors, video), rtol=1e-4)
    assert seen["block_0/attn/key"].shape == (1, 2, 2, 2, 2, 4)
    removed = models.forward(model, Inputs(video[None]), edits={"block_0/attn/key": Edit(scale=0.0)})[0]
    assert not np.allclose(removed.logits, output.logits)


def test_the_library_finds_and_ranks_its_concepts(toy, tmp_path):
    import jax

    checkpoint(tmp_path)
    convert(tmp_path / "toy.safetensors", tmp_path / "toy", config=tmp_path / "sizes.json")
    model = models.load(tmp_path / "toy")
    pixels = np.random.default_rng(2).integers(0, 256, (4, 2, 16, 16, 3), dtype=np.uint8)
    clips = Clips.make(pixels, [f"clip {i}" for i in range(4)])
    found = concepts.discover(model, clips, key=jax.random.key(0))
    ranked = importance.cris(model, clips, found, masks=8, key=jax.random.key(1))
    assert len(ranked.importance) == len(found) > 0 and np.isfinite(ranked.importance).all()


def test_a_network_says_what_it_needs_and_reconstructs_and_where_concepts_lie(add):
    add(vtcd_jax.models.families, "auto", AUTOENCODER)
    kind = models.family("auto")
    model = models.build(kind.config(), key=0)
    assert models.citations_of("auto") == ("@misc{auto}",)
    assert concepts.concept_sites(model) == ("backbone/stage/attn/key",)
    pixels = np.random.default_rng(2).integers(0, 256, (2, 2, 16, 16, 3), dtype=np.uint8)
    clips = Clips.make(pixels, ["first", "second"])
    with pytest.raises(models.InputError, match="follows what a query mask shows"):
        check_query(model, clips)
    assert default_scores(model) == ("reconstruction",)
    inputs = Inputs(model.preprocessing.normalise(pixels), query=np.ones((2, 2, 16, 16), np.float32))
    output = models.forward(model, inputs)[0]
    assert output.patches is not None
    video = pixels / np.float32(255)
    got = reconstruction(output, Context(jnp.asarray(video), jnp.full(2, -1), config=model.config))
    patches = video.reshape(2, 2, 2, 8, 2, 8, 3).transpose(0, 1, 2, 4, 3, 5, 6).reshape(2, 2, 2, 2, -1)
    np.testing.assert_allclose(got, -np.square(output.patches - patches).mean((1, 2, 3, 4)), rtol=1e-5)


def test_a_reconstruction_without_a_target_is_refused_by_name(add):
    add(vtcd_jax.models.families, "auto", re.sub(r" target=.*?patch_size\),", "", AUTOENCODER))
    model = models.build(models.family("auto").config(), key=0)
    with pytest.raises(models.InputError, match="what the family auto reconstructs; set its `target`"):
        check_scores(model, ["reconstruction"])
