"""What a step computes does not depend on how its batch is cut; averages, precision and diverging losses."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.toy import SETTINGS, SHORT, TASK, batch, init, loss
from vtcd_jax.models import InputError
from vtcd_jax.runs import read_events
from vtcd_jax.training import Batch, Diverged, Optimizer, TrainSettings, fit, initial_state, read_checkpoint

pytestmark = pytest.mark.compile


def assert_close(one: Any, other: Any, atol: float) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


def test_parts_of_a_batch_give_the_gradient_of_the_whole(tmp_path):
    """Also where the loss draws at random: a clip's key does not depend on its part."""
    whole = fit(TASK, SHORT, tmp_path / "whole")
    parts = fit(TASK, dataclasses.replace(SHORT, accumulation=4), tmp_path / "parts")
    assert_close((parts.params, parts.average), (whole.params, whole.average), 2e-6)
    assert parts.state["clips"] == whole.state["clips"] == 8 * 16
    for one, other in zip(parts.rows, whole.rows, strict=True):
        assert one == pytest.approx(other, abs=2e-6)


def test_a_batch_that_cannot_be_cut_evenly_is_refused():
    with pytest.raises(InputError, match="16 clips cannot be cut into accumulation = 3"):
        dataclasses.replace(SHORT, accumulation=3)


def test_a_batch_of_another_size_than_asked_is_refused(tmp_path):
    task = dataclasses.replace(TASK, batch=lambda seed, step, size: batch(seed, step, size + 1))
    with pytest.raises(InputError, match="has 17 clips, not 16"):
        fit(task, SHORT, tmp_path / "run")
    uneven = dataclasses.replace(TASK, batch=lambda *_: Batch({"video": np.zeros((16, 2)), "label": np.zeros(15)}))
    with pytest.raises(InputError, match="differ in their number of clips: {'video': 16, 'label': 15}"):
        fit(uneven, SHORT, tmp_path / "uneven")


def test_the_average_is_that_of_a_plain_loop(tmp_path):
    """Over the parameters after each step, read from checkpoints that are kept."""
    settings = dataclasses.replace(SHORT, average=0.6, checkpoint_every=1, kept_every=1)
    trained, start = fit(TASK, settings, tmp_path / "run"), initial_state(TASK, settings)
    average = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), start.params)
    for step in range(8):
        decay = min(0.6, (1 + step) / (10 + step))
        params = read_checkpoint(tmp_path / "run", step + 1, start).params
        average = jax.tree.map(lambda a, b, d=decay: d * a + (1 - d) * np.asarray(b, np.float64), average, params)
    assert_close(trained.average, average, 1e-6)
    with pytest.raises(InputError, match="no valid checkpoint of step 9; available: 1, 2, 3, 4, 5, 6, 7, 8"):
        read_checkpoint(tmp_path / "run", 9, start)


def test_evaluation_uses_the_average_where_one_is_kept(tmp_path):
    task = dataclasses.replace(TASK, evaluate=lambda params, state: {"total": float(params["first"]["kernel"].sum())})
    kept = fit(task, SHORT, tmp_path / "kept")
    assert kept.rows[-1]["total"] == float(kept.average["first"]["kernel"].sum())
    none = fit(task, dataclasses.replace(SHORT, average=None), tmp_path / "none")
    assert none.average is None and none.rows[-1]["total"] == float(none.params["first"]["kernel"].sum())


def test_half_precision_is_inside_the_loss_alone(tmp_path):
    dtypes = {}

    def seen(params, state, batch, step, keys):
        dtypes.update(params=params["first"]["kernel"].dtype, video=batch.clips["video"].dtype, step=step.dtype)
        return loss(params, state, batch, step, keys)

    settings = dataclasses.replace(SHORT, dtype="bfloat16")
    trained = fit(dataclasses.replace(TASK, loss=seen), settings, tmp_path / "run")
    assert dtypes == {"params": jnp.bfloat16, "video": jnp.bfloat16, "step": jnp.int32}
    assert {leaf.dtype for leaf in jax.tree.leaves((trained.params, trained.average))} == {jnp.dtype("float32")}
    assert_close(trained.params, fit(TASK, SHORT, tmp_path / "full").params, 0.05)


def test_a_constraint_holds_after_every_update(tmp_path):
    def unit_rows(params):
        kernel = params["second"]["kernel"]
        second = {**params["second"], "kernel": kernel / jnp.linalg.norm(kernel, axis=1, keepdims=True)}
        return {**params, "second": second}

    trained = fit(dataclasses.replace(TASK, constrain=unit_rows), SHORT, tmp_path / "run")
    np.testing.assert_allclose(np.linalg.norm(trained.params["second"]["kernel"], axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_training_stops_at_the_first_value_that_is_not_finite(tmp_path, what):
    """Steps count from 1 in messages; what was saved before stays, and nothing after is saved."""

    def broken(params, state, batch, step, keys):
        value, metrics, state = loss(params, state, batch, step, keys)
        if what == "loss":
            return value * jnp.where(step == 6, jnp.nan, 1), metrics, state
        scale = jnp.where(step == 6, 0, 1)  # the slope of a root at 0 is infinite
        return value + jnp.sqrt(scale * (1 + params["first"]["kernel"][0, 0] ** 2)), metrics, state

    folder = tmp_path / "run"
    with pytest.raises(
        Diverged,
        match=f"run: training stopped at step 7: the {what} is not finite .the checkpoint of step 4 stays.; lower",
    ) as raised:
        fit(dataclasses.replace(TASK, loss=broken), SHORT, folder)
    assert isinstance(raised.value, InputError) and "\n" not in str(raised.value)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["4"]
    assert len((folder / "training.csv").read_text().splitlines()) == 2
    last = read_events(folder)[-1]
    assert (last["kind"], last["step"]) == ("diverged", 7)
    with pytest.raises(Diverged, match="at step 7"):  # resumed from step 4
        fit(dataclasses.replace(TASK, loss=broken), SHORT, folder)


def test_parameters_that_overflow_are_never_saved(tmp_path):
    """Loss and gradient of the last step are finite, but its update is not."""
    task = dataclasses.replace(
        TASK,
        init=lambda key: ({"w": jnp.ones(3)}, {}),
        loss=lambda params, state, batch, step, keys: ((params["w"] * 1e10).sum(), {}, state),
        evaluate=lambda params, state: {},
    )
    sgd = Optimizer("sgd", clip_norm=None)
    settings = TrainSettings(1, 16, rate=dataclasses.replace(SETTINGS.rate, highest=1e30, warmup=0), optimizer=sgd)
    with pytest.raises(Diverged, match="at step 1: a parameter is not finite"):
        fit(task, settings, tmp_path / "run")
    assert not any((tmp_path / "run" / "checkpoints").iterdir())


def test_the_start_depends_on_the_seed_alone():
    one, same, other = (initial_state(TASK, dataclasses.replace(SETTINGS, seed=seed)) for seed in (3, 3, 4))
    assert_close(one.params, same.params, 0)
    assert not np.allclose(one.params["first"]["kernel"], other.params["first"]["kernel"])
    assert_close(one.params, init(jax.random.key(3))[0], 0)
