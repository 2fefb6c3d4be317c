"""Charts for notebooks show the numbers that they are given, in the axes that they are given."""

from __future__ import annotations

import numpy as np
import pytest

import vtcd_jax as vtcd
from vtcd_jax.importance import layer_importance
from vtcd_jax.importance.curves import Curves
from vtcd_jax.models import InputError
from vtcd_jax.plot.charts import head_map

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(scope="module")
def results():
    model, clips = vtcd.models.load("world-videomae"), vtcd.world.clips(4, seed=0, split="held-out")
    sites = ("block_1/attn/key", "block_2/attn/key")
    concepts = vtcd.concepts.discover(model, clips, sites=sites, nmf=vtcd.concepts.NmfConfig(refits=0))
    return clips, concepts, vtcd.importance.cris(model, clips, concepts, masks=48, key=0)


@pytest.fixture
def ax():
    figure, axes = plt.subplots()
    yield axes
    plt.close("all")


def test_the_ranking_has_the_concepts_in_order_with_both_intervals(results, ax):
    _, concepts, found = results
    assert vtcd.plot.ranking(found, concepts, ax, top=5) is ax
    best = found.order()[:5]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], found.importance[best])
    assert [label.get_text() for label in ax.get_yticklabels()] == [concepts.names[c] for c in best]
    for lines, half in zip(ax.collections, found.half_widths()[::-1], strict=True):
        ends = np.array([segment[:, 0] for segment in lines.get_segments()])
        np.testing.assert_allclose((ends[:, 1] - ends[:, 0]) / 2, half[best], rtol=1e-6)


def test_the_map_has_every_heads_most_important_concept(results, ax):
    _, concepts, found = results
    vtcd.plot.heads(found, concepts, ax)
    best, count = head_map(found, concepts)
    assert best.shape == (2, 4) and count.sum() == len(concepts)
    for row, layer in enumerate((1, 2)):
        for head in range(4):
            own = (np.asarray(concepts.layers)[concepts.site] == layer) & (concepts.head == head)
            assert best[row, head] == found.importance[own].max() and count[row, head] == own.sum()
    np.testing.assert_array_equal(ax.images[0].get_array(), best)
    assert {text.get_text() for text in ax.texts} == {str(n) for n in count.ravel()}


def test_curves_have_intervals_over_clips(ax):
    rng = np.random.default_rng(0)
    scores, removed = rng.random((3, 5, 4)), np.arange(4)
    orders = ("most-first", "least-first", "random")
    values = Curves("logit", removed, removed / 3, orders, scores, scores[2:], np.ones(3), np.ones(3))
    assert vtcd.plot.curves(values, ax) is ax
    np.testing.assert_allclose(ax.lines[0].get_ydata(), scores[0].mean(0))
    top = ax.collections[0].get_paths()[0].vertices[:, 1].max()
    wide = 2.776 * scores[0].std(0, ddof=1) / np.sqrt(5)  # Student's, 4 degrees of freedom
    assert top == pytest.approx((scores[0].mean(0) + wide).max(), rel=1e-3)


def test_layer_bars_are_as_tall_as_their_values(results, ax):
    _, concepts, found = results
    values = layer_importance(found.order(), np.asarray(concepts.layers)[concepts.site])
    vtcd.plot.layers(values, ax)
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], list(values.values()))


def test_a_strip_shows_frames_as_they_are_above_the_overlay(results, ax):
    clips, concepts, found = results
    concept = int(found.order()[0])
    vtcd.plot.strip(concepts, concept, clips, ax, video=1, frames=4)
    picture = ax.images[0].get_array()
    frame = clips.video[1, 0].repeat(4, 0).repeat(4, 1)  # 48 pixels are shown as 192
    np.testing.assert_array_equal(picture[:192, :192], frame)
    assert (picture[196:388, :192] != frame).any() and [t.get_text() for t in ax.get_xticklabels()] == [
        "0",
        "5",
        "10",
        "15",
    ]


def test_a_strip_of_other_clips_is_refused(results, ax):
    clips, concepts, _ = results
    with pytest.raises(InputError, match="not the clips of the concepts"):
        vtcd.plot.strip(concepts, 0, clips[[1, 0, 2, 3]], ax)
    with pytest.raises(InputError, match="clip 4 is out of range"):
        vtcd.plot.strip(concepts, 0, clips, ax, video=4)


def test_axes_are_made_where_none_are_given():
    first, second = vtcd.plot.layers({0: 0.5}), vtcd.plot.layers({0: 0.5})
    assert first.figure is not second.figure
    plt.close("all")
