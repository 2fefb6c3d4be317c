"""The first screen says what the numbers say, and a failed control before anything else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vtcd_jax.importance import Control
from vtcd_jax.importance.controls import CENTRES, GROUPS
from vtcd_jax.report import verdict, write


def control(kind: str, advantage: float, half: float) -> Control:
    return Control(kind, np.full((7, 17), 0.5), 0.5, 256.0, advantage, half)


@pytest.fixture(scope="module")
def data(make):
    return make()


def test_concepts_stand_out_by_the_null_where_there_is_one(data):
    p = np.full(16, 0.2)
    p[[2, 5]] = 0.01
    tested = replace(data, p_null=p)
    np.testing.assert_array_equal(np.flatnonzero(verdict.stands_out(tested)), [2, 5])
    assert verdict.sentence(tested).startswith("2 of 16 concepts stand out from chance in their effect on the probab")
    first = data.importance[0]
    by_interval = np.abs(first.importance) > first.half_widths()[0]
    for unknown in (None, np.full(16, np.nan)):
        np.testing.assert_array_equal(verdict.stands_out(replace(data, p_null=unknown)), by_interval)


def test_the_sentence_names_the_strongest_with_its_interval_and_where_most_are(data):
    first = data.importance[0]
    best = int(first.order()[0])
    text = verdict.sentence(data)
    assert f"The most important one, {data.concepts.titles[best]}, is worth" in text
    assert f"{first.importance[best]:.3f} ± {first.half_widths()[0][best]:.3f}" in text
    layers = [data.concepts.layers[data.concepts.site[c]] for c in first.order()[:5]]
    assert f"Of the 5 most important, {layers.count(1)} are in layer 1." in text


def test_where_nothing_stands_out_it_says_so(data):
    none = verdict.sentence(replace(data, p_null=np.ones(16)))
    assert (
        none == "None of the 16 concepts stands out from chance in its effect on the probability of the target class."
    )


@pytest.mark.parametrize(
    "advantage, half, state", [(0.3, 0.1, "passed"), (0.1, 0.3, "failed"), (0.1, np.nan, "failed")]
)
def test_the_control_with_random_centres_is_the_one_that_counts(data, advantage, half, state):
    """Random groups are the weaker control."""
    kinds = (control(GROUPS, 0.5, 0.1), control(CENTRES, advantage, half))
    first = verdict.checks(replace(data, controls=kinds))[0]
    assert (first.state, first.anchor) == (state, "curves") and f"{advantage:.3f}" in first.text
    assert ("±" in first.text) == np.isfinite(half)
    assert verdict.checks(replace(data, controls=kinds[:1]))[0].state == "unknown"


def test_a_failed_control_comes_before_the_sentence(data, tmp_path):
    failed = replace(data, controls=(control(CENTRES, 0.1, 0.3),))
    html = write(tmp_path, failed, top=1, clips_each=1).read_text("utf-8")
    assert html.index('class="banner"') < html.index('class="says"') < html.index('id="ranking"')
    passed = replace(data, controls=(control(CENTRES, 0.3, 0.1),))
    assert 'class="banner"' not in write(tmp_path, passed, top=1, clips_each=1).read_text("utf-8")


def test_how_sure_the_order_is_comes_from_the_largest_halves(data):
    text = verdict.checks(data)[1].text
    assert "rank correlation of 0.81 (95 %: 0.74 to 0.90)" in text and "may change places" in text
    sure = replace(data.convergence, correlation=np.array([0.5, 0.8, 0.95]))
    assert verdict.checks(replace(data, convergence=sure))[1].state == "passed"
    assert "too few" in verdict.checks(replace(data, convergence=None))[1].text


def test_the_map_has_the_largest_importance_of_every_head(data):
    first, concepts, found = data.importance[0], data.concepts, verdict.head_map(data)
    assert [name for name, _ in found["rows"]] == ["3", "1"] and found["heads"] == [0, 1]
    largest = np.abs(first.importance).max()
    for (_, cells), site in zip(found["rows"], (1, 0), strict=True):
        for cell in cells:
            own = (concepts.site == site) & (concepts.head == int(cell.head))
            assert (cell.count, cell.layer) == (own.sum(), str(site))
            assert cell.share == pytest.approx(first.importance[own].max() / largest)


def test_the_strongest_are_the_first_five_with_a_card(data, tmp_path):
    html = write(tmp_path, data, top=9, clips_each=1).read_text("utf-8")
    assert html.count("data-same=") == 5
