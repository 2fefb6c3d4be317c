"""Methods as functions of arrays: what they get, what they may give back, and the examples of docs/benchmark.md."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from vtcd_jax import planted
from vtcd_jax.models import InputError
from vtcd_jax.planted.circuits.properties import GRID
from vtcd_jax.planted.circuits.wiring import HEADS, SITES

pytestmark = pytest.mark.compile
PAGE = Path(__file__).parents[3] / "docs/benchmark.md"
HAS_TORCH = importlib.util.find_spec("torch") is not None


def found(instance, network, fit):
    method = planted.from_arrays(fit)
    first, other = instance[:2].clips, instance[2:].clips
    concepts = method.discover(network, first, jax.random.key(0))
    return concepts, method.assign(network, other, concepts)


def test_a_function_gets_every_head_of_its_clips_and_its_ids_come_back(instance, circuits):
    seen = []

    def fit(features, video, seed):
        seen.append((seed, {site: array.shape for site, array in features.items()}, video.shape))

        def label(features, video):
            seen.append(video.copy())
            return {SITES[1]: (features[SITES[1]][..., 0] > 0).astype(int)}

        return label

    concepts, again = found(instance, circuits, fit)
    seed, shapes, video = seen[0]
    assert isinstance(seed, int) and set(shapes) == set(SITES)
    assert shapes[SITES[0]][:5] == (2, *GRID, HEADS) and video == (2, 16, 48, 48, 3)
    np.testing.assert_array_equal(seen[1], instance.clips.video[:2])
    np.testing.assert_array_equal(seen[2], instance.clips.video[2:])
    assert len(concepts) == len(again) == 2 and concepts.ids[SITES[1]].shape == (2, *GRID, HEADS, 1)
    assert again.video_hashes == instance.clips.hashes[2:]


def test_a_concept_that_the_first_clips_lack_is_left_out(instance, circuits):
    def fit(features, video, seed):
        return lambda features, video: {
            SITES[0]: np.full((2, *GRID, HEADS), 0 if np.array_equal(video, instance.clips.video[:2]) else 5)
        }

    concepts, again = found(instance, circuits, fit)
    assert len(concepts) == 1 and (again.ids[SITES[0]] == -1).all()


@pytest.mark.parametrize(
    ("ids", "word"),
    [
        ({"nowhere": np.zeros(1, int)}, "no such site"),
        ({SITES[0]: np.zeros((2, *GRID), int)}, "whole numbers"),
        ({SITES[0]: np.zeros((2, *GRID, HEADS))}, "whole numbers"),
        ({SITES[0]: np.full((2, *GRID, HEADS), -2)}, "-1 stands for no concept"),
        ({SITES[0]: np.full((2, *GRID, HEADS), -1)}, "all ids are -1"),
        ({}, "no site"),
    ],
)
def test_what_is_not_ids_is_refused(instance, circuits, ids, word):
    with pytest.raises(InputError, match=word):
        found(instance, circuits, lambda features, video, seed: lambda features, video: ids)


def example(heading: str) -> str:
    """The Python block below a heading of the page."""
    below = PAGE.read_text("utf-8").split(f"\n### {heading}\n")[1]
    return re.search(r"```python\n(.*?)```", below, re.DOTALL)[1]


@pytest.mark.parametrize(
    "heading",
    ["With NumPy", pytest.param("With PyTorch", marks=pytest.mark.skipif(not HAS_TORCH, reason="needs `torch`"))],
)
def test_the_examples_of_the_page_run_and_beat_chance(heading, capsys):
    scope: dict = {}
    exec(compile(example(heading), str(PAGE), "exec"), scope)
    (result,) = scope["report"].levels
    assert result.found["mine"]["score"].mean > 1.5 * result.groups["mine"]["score"].mean
    assert "mine" in capsys.readouterr().out
