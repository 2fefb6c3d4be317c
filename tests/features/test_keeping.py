"""What is kept in a run: finished clips, under keys of everything that their values depend on."""

from __future__ import annotations

import dataclasses
from dataclasses import field

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import features
from vtcd_jax.features.keys import function_digest
from vtcd_jax.runs import MemoryStore, Shard, Work, checksum, open_run
from vtcd_jax.scores.targets import Targets

pytestmark = pytest.mark.compile

SITES = ("block_0/attn/key", "pooled")
ROWS = np.ones((1, 1, 1, 1, 2, 4), np.float32)


class Killed(Exception):
    """The process ended."""


@dataclasses.dataclass
class DyingStore(MemoryStore):
    """A store whose process ends as it keeps its third block."""

    left: list[int] = field(default_factory=lambda: [2])

    def write_block(self, name, arrays):
        if not self.left[0]:
            raise Killed
        self.left[0] -= 1
        super().write_block(name, arrays)


def captured(model, clips, work=Work(), sites=SITES, **settings):  # noqa: B008 (frozen)
    return features.capture(model, clips, sites, work=work, **settings)


def slopes(model, clips, work=Work(), **settings):  # noqa: B008
    return features.gradient(model, clips, "logit", SITES, work=work, **settings)


def products(model, clips, work=Work(), rows=ROWS, **settings):  # noqa: B008
    return features.between(model, clips, "embed", "block_1/attn/key", rows, work=work, **settings)


KINDS = [captured, slopes, products]


@pytest.mark.parametrize("compute", KINDS)
def test_an_interrupted_call_goes_on_and_ends_with_the_same_bytes(model, clips, compute):
    whole = checksum(compute(model, clips))
    store = DyingStore()
    with pytest.raises(Killed):
        compute(model, clips, Work(store))
    kept = dict(store.blocks)
    assert len(kept) == 2
    again = MemoryStore(blocks=kept)
    assert checksum(compute(model, clips, Work(again))) == whole
    assert len(again.blocks) == 4


@pytest.mark.parametrize("compute", KINDS)
def test_halves_that_two_processes_did_are_the_whole(model, clips, compute):
    whole = compute(model, clips)
    stores = [MemoryStore(), MemoryStore()]
    for index, store in enumerate(stores):
        own = compute(model, clips, Work(store, shard=Shard(index, 2)))
        for site, values in whole.items():
            np.testing.assert_array_equal(own[site], values[index::2])
    merged = MemoryStore(blocks=stores[0].blocks | stores[1].blocks)
    assert checksum(compute(model, clips, Work(merged))) == checksum(whole)
    assert len(merged.blocks) == 4  # nothing was computed again
    assert compute(model, clips[:1], Work(shard=Shard(1, 2)))  # a shard without a clip


def test_a_stop_keeps_the_clips_under_way(model, clips):
    store, asked = MemoryStore(), []

    def stop() -> bool:
        asked.append(True)
        return len(asked) > 2

    with pytest.raises(KeyboardInterrupt):
        captured(model, clips, Work(store, stop=stop))
    assert len(store.blocks) == 2


def test_progress_counts_the_clips_of_the_shard(model, clips):
    seen = []
    work = Work(MemoryStore(), lambda step, done, total, detail="": seen.append((step.name, done, total)))
    captured(model, clips[:3], dataclasses.replace(work, shard=Shard(0, 2)))
    assert seen == [("capture", 1, 2), ("capture", 2, 2)]


def test_blocks_in_a_run_folder_are_read_back_in_either_dtype(model, clips, tmp_path):
    for dtype in ("float32", "bfloat16"):
        with open_run(tmp_path / dtype, {"job": "toy"}) as run:
            first = captured(model, clips, Work(run), dtype=dtype)
            names = run.blocks()
            assert len(names) == 4 and all(name.startswith(f"capture/{h[:16]}-") for name, h in _sorted(names, clips))
            again = captured(model, clips, Work(run), dtype=dtype)
        assert checksum(first) == checksum(again) and first["pooled"].dtype == jnp.dtype(dtype)


def _sorted(names, clips):
    return zip(names, sorted(clips.hashes), strict=True)


@dataclasses.dataclass
class AskedStore(MemoryStore):
    """A store that ends a call as soon as it asks for a block, before anything is computed."""

    asked: list[str] = field(default_factory=list)

    def read_block(self, name):
        self.asked.append(name)
        raise Killed


def keys(compute, model, clips, **settings) -> set[str]:
    """Name of the first clip's block."""
    store = AskedStore()
    with pytest.raises(Killed):
        compute(model, clips, Work(store), **settings)
    assert len(store.asked) == 1
    return set(store.asked)


def test_whatever_changes_values_changes_the_keys(model, clips):
    one = clips[:1]
    params = dict(model.params, patch_embed={k: v * 2 for k, v in model.params["patch_embed"].items()})
    darker = dataclasses.replace(model.preprocessing, mean=(0.5, 0.5, 0.5))
    query = np.ones(one.video.shape[:4], bool)
    variants = [
        keys(captured, model, one),
        keys(captured, model.replace(params=params), one),
        keys(captured, model.replace(preprocessing=darker), one),
        keys(captured, model, dataclasses.replace(one, query=query)),
        keys(captured, model, dataclasses.replace(one, query=~query)),
        keys(captured, model, one, sites=SITES[:1]),
        keys(captured, model, one, pool="all"),
        keys(captured, model, one, pool="space"),
        keys(captured, model, one, dtype="bfloat16"),
        keys(slopes, model, one),
        keys(slopes, model, one, target=0),
        keys(slopes, model, one, target=1),
        keys(slopes, model, one, pool="all"),
        keys(products, model, one),
        keys(products, model, one, rows=2 * ROWS),
    ]
    assert len(set.union(*variants)) == len(variants)


def test_what_changes_nothing_changes_no_key(model, clips):
    one = clips[:1]
    assert keys(captured, model.replace(name="another", labels=()), one) == keys(captured, model, one)
    assert keys(captured, model, one, sites=SITES[::-1]) == keys(captured, model, one)
    given = Targets(np.ones(1, np.int32))
    assert keys(slopes, model, one, target=given) == keys(slopes, model, one, target="dropping")
    assert keys(products, model, one, chunk=1) == keys(products, model, one, chunk=2)


def test_functions_are_known_by_what_they_compute():
    """A user's own score or cotangents: not by name or place, and with the arrays that they hold."""

    def scaled(by):
        held = jnp.asarray(by)
        return lambda x: (x * held).sum()

    x = np.ones(2, np.float32)
    assert function_digest(scaled([1.0, 2.0]), x) == function_digest(scaled([1.0, 2.0]), x)
    assert function_digest(scaled([1.0, 2.0]), x) != function_digest(scaled([1.0, 3.0]), x)
    assert function_digest(lambda x: x.sum(), x) != function_digest(lambda x: x.max(), x)
    inner = [function_digest(jax.jit(scaled([1.0, by])), x) for by in (2.0, 3.0)]
    assert inner[0] != inner[1]
    nested = [function_digest(jax.jit(jax.vmap(jax.nn.relu)), x), function_digest(jax.jit(jax.vmap(jax.nn.silu)), x)]
    assert nested[0] != nested[1]
