"""Overlays mark exactly the concept; charts put numbers where they belong."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtcd_jax.importance.estimation.convergence import Convergence
from vtcd_jax.report import overlay, overlays
from vtcd_jax.report.drawing import charts, svg

RED = (255, 0, 0)
numbers = st.floats(-1e6, 1e6, allow_nan=False)


def grey(size: int = 24, value: int = 120) -> np.ndarray:
    return np.full((2, size, size, 3), value, np.uint8)


def square(size: int = 24, low: int = 6, high: int = 18) -> np.ndarray:
    mask = np.zeros((2, size, size), bool)
    mask[:, low:high, low:high] = True
    return mask


def test_overlay_tints_inside_dims_outside_and_draws_the_outline():
    frames, mask = grey(), square()
    drawn = overlay(frames, mask, RED)
    assert drawn.dtype == np.uint8 and drawn.shape == frames.shape
    np.testing.assert_array_equal(drawn[:, 12, 12], [[160, 84, 84]] * 2)  # 0.7 of the pixel, 0.3 of the colour
    np.testing.assert_array_equal(drawn[:, 6:8, 6:18].reshape(-1, 3), [RED] * 48)
    assert (drawn[:, 5, 6:18] == 20).all() and (drawn[:, :4] == 78).all()  # a hairline, and 0.65 of the grey
    assert (frames == 120).all()


def test_overlay_draws_no_line_where_the_concept_leaves_the_picture():
    drawn = overlay(grey(), square(24, 0, 24), RED)
    np.testing.assert_array_equal(drawn, overlay(grey(), square(24, 0, 24), RED, line=0))
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 1


def test_overlay_leaves_colours_of_the_outside_paler():
    frames = grey()
    frames[..., 0] = 250
    inside, outside = overlay(frames, square(), RED)[0][[12, 1], [12, 1]].astype(int)
    assert outside.max() - outside.min() < (250 - 120) * 0.5
    assert inside[0] > outside[0]


@pytest.mark.parametrize("side, shown", [(48, 192), (64, 192), (100, 200), (112, 224), (224, 224), (480, 240)])
def test_small_clips_grow_by_whole_factors_and_large_ones_shrink(side, shown):
    frames = np.zeros((2, side, side, 3), np.uint8)
    mask = np.zeros((2, 4, 4), bool)
    mask[:, 1, 2] = True
    found, support = overlays.display(frames, mask)
    assert found.shape == (2, shown, shown, 3) and support.shape == found.shape[:3]
    rows, columns = np.nonzero(support[0])
    assert (rows.min(), rows.max() + 1) == (shown // 4, shown // 2)
    assert (columns.min(), columns.max() + 1) == (shown // 2, 3 * shown // 4)


def test_enlarging_keeps_every_pixel():
    frames = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), np.uint8)
    shown, _ = overlays.display(frames, np.zeros((3, 24, 24), bool))
    for i in range(4):
        np.testing.assert_array_equal(shown[:, i::4, i::4], frames)


@given(numbers, numbers)
def test_ticks_are_few_even_and_enclose_the_values(a, b):
    low, high = min(a, b), max(a, b)
    if high - low < 1e-6 * max(1, abs(low), abs(high)):
        return
    found = svg.ticks(low, high)
    step = found[1] - found[0]
    assert 3 <= len(found) <= 8
    assert found[0] <= low + 1e-6 * step and found[-1] >= high - 1e-6 * step
    np.testing.assert_allclose(np.diff(found), step, rtol=1e-6)


def test_numbers_have_a_true_minus_and_no_negative_zero():
    assert svg.number(-0.1234, 2) == "−0.12"
    assert svg.number(-0.0001, 2) == "0.00"
    assert svg.number(math.nan, 2) == svg.number(math.inf, 2) == "–"
    assert svg.decimals_for([0.0123, math.nan]) == 4 and svg.decimals_for([1234.0]) == 0 and svg.decimals_for([]) == 2


def coordinates(drawing: str, kind: str) -> list[np.ndarray]:
    found = re.findall(rf'<polyline points="([^"]+)" class="curve {kind}"', drawing)
    return [np.array([[float(n) for n in pair.split(",")] for pair in path.split()]) for path in found]


def test_curves_are_drawn_at_their_values(make):
    curves = make().curves
    assert curves is not None
    drawing = charts.curve_chart(curves, "probability")
    (path,) = coordinates(drawing, "most")
    assert len(path) == len(curves.fraction)
    # Affine in both directions: drawn positions correlate perfectly, upwards being smaller y.
    assert np.corrcoef(path[:, 0], curves.fraction)[0, 1] > 0.99999
    assert np.corrcoef(path[:, 1], curves.mean()[0])[0, 1] < -0.9999
    values = [float(n) for n in re.findall(r'points="([^"]+)"', drawing) for n in re.split("[ ,]", n)]
    assert min(values) >= 0 and max(values) <= charts.WIDTH


def test_the_importance_bar_has_both_errors_to_scale():
    extent = (-0.5, 1.0)
    drawing = charts.importance_bar(0.4, 0.1, 0.3, extent)
    spans = re.findall(r'<line x1="([\d.]+)" y1="10" x2="([\d.]+)" y2="10" class="(thin|thick)"', drawing)
    lengths = {kind: float(b) - float(a) for a, b, kind in spans}
    assert lengths["thin"] == pytest.approx(3 * lengths["thick"], abs=0.4)
    assert "thin" not in charts.importance_bar(0.4, 0.1, math.nan, extent)
    assert 'class="value minus"' in charts.importance_bar(-0.4, 0.1, math.nan, extent)
    assert charts.importance_extent(np.array([0.2, -0.1]), np.array([0.05, 0.2]), np.array([np.nan, np.nan])) == (
        pytest.approx(-0.3),
        pytest.approx(0.25),
    )


def test_layer_bars_are_as_tall_as_their_values():
    drawing = charts.layer_chart({0: 0.25, 1: 0.5, 2: 1.0}, "share")
    heights = [float(h) for h in re.findall(r'<rect x="[^"]+" y="[^"]+" width="[^"]+" height="([\d.]+)"', drawing)]
    np.testing.assert_allclose(np.array(heights) / heights[-1], [0.25, 0.5, 1.0], atol=1e-3)


def test_the_chart_of_convergence_tells_its_numbers():
    """Readable without seeing it, and an interval that goes below zero is drawn whole."""
    found = Convergence(np.array([32, 128]), np.array([0.1, 0.8]), np.array([-0.2, 0.7]), np.array([0.4, 0.9]))
    drawing = charts.convergence_chart(found, "rank correlation")
    assert "0.10 at 32 masks, 0.80 at 128 masks" in drawing
    assert "masks per clip" in drawing and "−" in drawing or "-0.2" in drawing
