"""Properties are what their names say, counted from the scene pixel by pixel. Clips carry them and tell no truth."""

from __future__ import annotations

import numpy as np
import pytest

from vtcd_jax import planted
from vtcd_jax.models import InputError
from vtcd_jax.planted.circuits import carriers, properties
from vtcd_jax.planted.circuits.scene import FAST, FRAMES, SIDE, SLOW, SOON, Scene, scene

CLIPS = 6


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene(np.random.default_rng([5, number]), number) for number in range(CLIPS)]


def tokens(mask: np.ndarray) -> np.ndarray:
    """The fraction of each token's pixels, one token after the other."""
    out = np.zeros(properties.GRID)
    for t, y, x in np.ndindex(properties.GRID):
        own = mask[2 * t : 2 * t + 2, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
        out[t, y, x] = own.sum() / own.size
    return out


def value(shown: Scene, name: str) -> np.ndarray:
    return properties.values(shown, np.random.default_rng(0))[properties.NAMES.index(name)]


def middle(mask: np.ndarray) -> np.ndarray:
    """(row, column) of a mask's middle, from its outermost pixels."""
    rows, columns = np.nonzero(mask)
    return np.array([rows.min() + rows.max(), columns.min() + columns.max()]) / 2


def inside(mask: np.ndarray) -> bool:
    """Whether it is seen and does not touch the edge of the picture."""
    return bool(mask.any()) and not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def test_looks_are_the_covered_fraction_of_a_token(scenes):
    for shown in scenes:
        for word in ("red", "yellow", "disc", "large"):
            mask = np.zeros((FRAMES, SIDE, SIDE), bool)
            for thing in shown.things.values():
                if word in (thing.colour, thing.shape, thing.size):
                    mask |= thing.seen
            np.testing.assert_allclose(value(shown, word), tokens(mask))


def test_ways_and_speeds_are_those_of_the_outlines(scenes):
    """Measured from where a thing is in two frames, where it is whole in both."""
    seen = set()
    for shown in scenes:
        masks = properties.pixel_masks(shown)
        for thing in shown.things.values():
            for t in range(FRAMES - 1):
                if not (inside(thing.whole[t]) and inside(thing.whole[t + 1])):
                    continue
                down, right = middle(thing.whole[t + 1]) - middle(thing.whole[t])
                told = {
                    "rightward": right > 0, "leftward": right < 0, "downward": down > 0, "upward": down < 0,
                    "still": not (down or right), "moving": bool(down or right),
                    "slow": max(abs(down), abs(right)) == SLOW, "fast": max(abs(down), abs(right)) == FAST,
                }  # fmt: skip
                own = thing.seen[t] & ~np.any([o.seen[t] for o in shown.things.values() if o is not thing], axis=0)
                for name, holds in told.items():
                    assert (masks[name][t][own] == holds).all(), (name, t)
                    seen.add((name, holds and own.any()))
    assert all((name, True) in seen for name in told)


def test_hidden_tokens_lie_behind_the_occluder_and_nobody_sees_them(scenes):
    for shown in scenes:
        a = shown.things["A"]
        mask = a.whole & shown.occluder
        np.testing.assert_allclose(value(shown, "occluded"), tokens(mask))
        assert mask.any() and not (mask & a.seen).any()


def test_what_is_about_to_be_covered_soon_is_and_what_just_was_is_seen_again(scenes):
    for shown in scenes:
        a, masks = shown.things["A"], properties.pixel_masks(shown)
        length = max(int(a.whole[t].sum()) for t in range(FRAMES))
        share = np.array([(a.whole[t] & shown.occluder[t]).sum() / length for t in range(FRAMES)])
        for t in range(FRAMES):
            if inside(a.whole[t]) and abs(share[t] - 0.5) > 0.1:  # a disc's area is not its extent
                near = share[max(t - SOON, 0) : t + SOON + 1]
                if (near < 0.4).all():
                    assert not masks["about to be covered"][t].any() and not masks["just uncovered"][t].any()
            if masks["about to be covered"][t].any():
                assert (share[t + 1 : t + 1 + SOON] > 0.4).any() and share[t] < 0.6
            if masks["just uncovered"][t].any():
                assert (share[max(t - SOON, 0) : t] > 0.4).any() and share[t] < 0.6


def test_a_collision_is_where_two_outlines_meet(scenes):
    for shown in scenes:
        b, c = shown.things["B"], shown.things["C"]
        moved = [t for t in range(1, FRAMES) if (c.whole[t] != c.whole[t - 1]).any()]
        assert moved[0] == shown.collision
        just, soon = (value(shown, name) for name in ("just collided", "about to collide"))
        frames = np.arange(FRAMES)[:, None, None]
        after = (frames >= shown.collision) & (frames < shown.collision + SOON)
        before = (frames < shown.collision) & (frames >= shown.collision - SOON)
        np.testing.assert_allclose(just, tokens((b.seen | c.seen) & after))
        np.testing.assert_allclose(soon, tokens((b.seen | c.seen) & before))


def test_what_is_contained_is_still_and_within_the_container(scenes):
    for shown in scenes:
        d, contained = shown.things["D"], properties.pixel_masks(shown)["contained"]
        assert contained.any()
        for t in range(FRAMES):
            rows, columns = np.nonzero(shown.container[t] | d.whole[t] & contained[t])
            if contained[t].any():
                box = np.nonzero(shown.container[t])
                assert (rows.min(), columns.min()) == (box[0].min(), box[1].min())
                assert (rows.max(), columns.max()) == (box[0].max(), box[1].max())
                assert (d.whole[t] == d.whole[-1]).all()


def test_every_property_has_tokens_and_some_have_it_partly(instance):
    assert len(properties.NAMES) == len(set(properties.NAMES)) >= 30
    assert instance.values.min() >= 0 and instance.values.max() <= 1
    masks = instance.masks()
    assert list(masks) == list(properties.NAMES)
    assert all(mask[:2].any() and mask[2:].any() for mask in masks.values())
    partly = (instance.values > 0.05) & (instance.values < 0.95)
    assert partly[:, properties.NAMES.index("object")].any(axis=(1, 2, 3)).all()
    two_valued = [properties.NAMES.index(name) for name in (*properties.PLACES, *properties.TIMES)]
    assert set(np.unique(instance.values[:, two_valued])) == {0.0, 1.0}


def test_pixels_carry_the_values(instance):
    for pixels, values in zip(instance.clips.video, instance.values, strict=True):
        read = carriers.read(pixels, instance.patterns)[: len(properties.NAMES)]
        np.testing.assert_allclose(read, values, atol=0.04)


def test_a_seed_gives_the_same_clips_again_however_many(instance):
    assert planted.instance(7, 6).clips.hashes[:4] == instance.clips.hashes
    assert not set(planted.instance(8, 4).clips.hashes) & set(instance.clips.hashes)
    with pytest.raises(InputError, match="at least 4"):
        planted.instance(0, 3)


def test_clips_tell_no_truth(instance):
    """No masks, and no seed in the names, from which the truth could be drawn again."""
    assert instance.clips.mask_names == () and not any("7" in name for name in instance.clips.names)
