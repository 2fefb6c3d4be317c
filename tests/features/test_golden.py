"""Values and derivatives of a toy CNN (three strided convolutions, mean, linear layer) as PyTorch gives them.

The arrays are from a run of Visual Concept Connectomes' toy network. Feature maps of three sizes in one call; images
are clips of one frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from vtcd_jax import features
from vtcd_jax.data import Clips
from vtcd_jax.models import Inputs, Model, Output, Preprocessing, Tap

pytestmark = pytest.mark.compile

LAYERS = ("layer1", "layer2", "layer3")


@dataclass(frozen=True)
class ToyConfig:
    family: str = "toy-cnn"


class ToyCNN(nn.Module):
    """Sites ``layer1`` to ``layer3``: [batch, 1, height, width, channel]."""

    @nn.compact
    def __call__(self, inputs: Inputs, tap: Tap) -> Output:
        x = inputs.video
        for name, channels in zip(LAYERS, (6, 8, 12), strict=True):
            convolution = nn.Conv(channels, (1, 3, 3), (1, 2, 2), ((0, 0), (1, 1), (1, 1)), name=name)
            x = tap(name, nn.relu(convolution(x)))
        return Output(logits=nn.Dense(4, name="fc")(x.mean((1, 2, 3))))


@pytest.fixture(scope="module")
def arrays(golden) -> dict[str, np.ndarray]:
    return dict(np.load(golden / "features" / "toy_cnn.npz"))


@pytest.fixture(scope="module")
def toy(arrays) -> Model:
    params = {"fc": {"kernel": arrays["weights_fc_weight"].T, "bias": arrays["weights_fc_bias"]}}
    for name in LAYERS:
        kernel = arrays[f"weights_{name}_0_weight"].transpose(2, 3, 1, 0)[None]
        params[name] = {"kernel": kernel, "bias": arrays[f"weights_{name}_0_bias"]}
    means = {name: tuple(float(v) for v in arrays[name]) for name in ("mean", "std")}
    preprocessing = Preprocessing(1, 32, 32, **means)
    return Model(jax.tree.map(jnp.asarray, params), ToyCNN(), ToyConfig(), preprocessing)


def images(pixels: np.ndarray) -> Clips:
    return Clips.make(pixels[:, None], [str(i) for i in range(len(pixels))])


def close(found: np.ndarray, expected: np.ndarray, share: float) -> None:
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=share * np.abs(expected).max(), rtol=0)


def test_feature_maps_of_several_sizes_come_from_one_call(toy, arrays):
    found = features.capture(toy, images(arrays["images"]), LAYERS)
    assert [found[name].shape for name in LAYERS] == [(6, 1, 16, 16, 6), (6, 1, 8, 8, 8), (6, 1, 4, 4, 12)]
    close(found["layer2"][:2], arrays["acts_layer2_first2"], 1e-5)
    pooled = features.capture(toy, images(arrays["images"]), LAYERS, pool="all")
    for name in LAYERS:
        close(pooled[name], arrays[f"gap_{name}"], 1e-5)


def test_the_logits_slopes_at_all_layers_come_from_one_call(toy, arrays):
    target = int(arrays["class_id"])
    found = features.gradient(toy, images(arrays["images"]), "logit", LAYERS, target=target)
    for name in LAYERS:
        close(found[name], arrays[f"class_grad_{name}"], 1e-4)


def slope_of_nearness(value, centre):
    """Of minus the distance between a feature map's mean and a concept's centre: [1, …feature map…]."""
    distance = jax.grad(lambda v: -jnp.linalg.norm(v.mean((0, 1, 2)) - centre))
    return distance(value)[None]


def test_the_edges_of_a_connectome_come_from_one_pass_forward_and_back(toy, arrays):
    """Segments of two upper concepts in one call, each with its own centre."""
    pixels = np.concatenate([arrays["concept1_images"], arrays["concept2_images"]])
    centres = np.repeat(np.stack([arrays["concept1_center"], arrays["concept2_center"]]), 10, axis=0)
    found = features.between(toy, images(pixels), "layer1", "layer2", slope_of_nearness, arguments=centres)["layer1"]
    assert found.shape == (20, 1, 1, 16, 16, 6)
    close(found[:10], arrays["concept1_grad_layer1"], 1e-4)
    close(found[10:], arrays["concept2_grad_layer1"], 1e-4)
