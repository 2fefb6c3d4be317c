"""TimeSformer with each kind of attention beside transformers' networks of random weights."""

from __future__ import annotations

import numpy as np
import pytest

from tests.models.families import timesformer_reference
from tests.models.reference import EXACT
from vtcd_jax import models
from vtcd_jax.converters import convert

pytestmark = pytest.mark.compile


def frame_sequences(seen: dict, site: str) -> np.ndarray:
    """[batch * time, 1 + h * w, channel]."""
    on_grid = np.asarray(seen[site])
    rest = on_grid.reshape(*on_grid.shape[:2], -1, on_grid.shape[-1])
    both = np.concatenate([np.asarray(seen[f"{site}_cls"]), rest], axis=2)
    return both.reshape(-1, *both.shape[2:])


LAYOUTS = {
    "divided_space_time": timesformer_reference.class_first,
    "joint_space_time": timesformer_reference.class_first,
    "space_only": frame_sequences,
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_all_kinds_of_attention_agree_with_transformers(tmp_path, kind):
    """A random network of theirs, saved and converted as a folder, with another epsilon than the default."""
    torch = pytest.importorskip("torch", reason="needs torch")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    torch.manual_seed(0)
    config = transformers.TimesformerConfig(
        image_size=16, patch_size=8, num_frames=4, hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, num_labels=5, attention_type=kind, layer_norm_eps=1e-3,
    )  # fmt: skip
    theirs = transformers.TimesformerForVideoClassification(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        video = torch.randn(2, 4, 3, 16, 16)
        found = theirs(video, output_hidden_states=True)
        logits = found.logits
        if kind == "space_only":  # transformers classifies every frame; the original averages them before its last norm
            mean = found.hidden_states[-1][:, 0].reshape(2, 4, -1).mean(1)
            logits = theirs.classifier(theirs.timesformer.layernorm(mean))
    theirs.save_pretrained(tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours", sanity=False)
    model = models.load(tmp_path / "ours")
    assert model.config.attention == kind.split("_")[0]
    arrays = {f"hidden_states.{i}": value.numpy() for i, value in enumerate(found.hidden_states)}
    arrays |= {"pixel_values": video.numpy(), "logits": logits.numpy()}
    for quantity, error in timesformer_reference.hidden_states(model, arrays, LAYOUTS[kind]):
        assert error <= EXACT, f"{quantity} diverges first: {error:.2e}"
