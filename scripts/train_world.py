"""Trains the small models that are shipped, on the synthetic world.

    python scripts/train_world.py world-videomae              # trains, evaluates, writes models/weights/world-videomae
    python scripts/train_world.py world-tcow --clips 64000    # another model, another length

Every batch is a function of (seed, step), so a run that was interrupted continues where its last checkpoint stands and
sees the clips it would have seen. ``world_tasks.py`` and its neighbours say what each model learns.

Optimisation: AdamW with cosine decay, weights scaled by fan-in, averaged weights (EMA) for evaluation and shipping.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from tqdm import tqdm
from world_tasks import CLASSIFY, RECONSTRUCT, Batch, Task, with_params
from world_text import DESCRIBE
from world_tracking import TRACK

from vtcd_jax import models
from vtcd_jax.models import Model, files

ROOT = Path(__file__).resolve().parents[1]
State = dict[str, Any]
TASKS = {
    "world-videomae": CLASSIFY, "world-videomae-ssl": RECONSTRUCT, "world-tcow": TRACK, "world-internvideo": DESCRIBE,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a training run depends on."""

    name: Annotated[str, tyro.conf.Positional]
    """Which model: one of the tasks."""
    clips: int = 128_000
    """Clips seen in all."""
    batch: int = 32
    rate: float = 1.5e-3
    """Highest learning rate."""
    warmup: int = 500
    """Steps until the highest rate."""
    weight_decay: float = 0.05
    average: float = 0.999
    """Decay of the averaged weights."""
    seed: int = 0
    evaluate_every: int = 500
    """Steps between evaluations, each with a checkpoint."""
    check: int = 280
    """Held-out clips of the evaluations on the way."""
    held_out: int = 1000
    """Held-out clips of the last evaluation."""
    work: Path = ROOT / ".training"
    """Where the training state lies until the run ends, in a folder of the model's name."""
    out: Path = ROOT / "models" / "weights"
    """Where the model's folder is written."""

    @property
    def steps(self) -> int:
        return self.clips // self.batch


def initial_state(task: Task, model: Model, optimizer: optax.GradientTransformation) -> State:
    trained = {"model": model.params, "readouts": task.readouts(model)}
    average = jax.tree.map(jnp.copy, trained)
    step = jnp.zeros((), jnp.int32)
    return {"trained": trained, "average": average, "moments": optimizer.init(trained), "step": step}


def make_optimizer(settings: Settings) -> optax.GradientTransformation:
    schedule = optax.warmup_cosine_decay_schedule(0.0, settings.rate, settings.warmup, settings.steps)

    def decayed(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    adam = optax.adamw(schedule, b2=0.98, weight_decay=settings.weight_decay, mask=decayed)
    return optax.chain(optax.clip_by_global_norm(1.0), adam)


def make_step(settings: Settings, task: Task, model: Model, optimizer: optax.GradientTransformation) -> Any:
    """(state, batch) -> (state, loss, figures), jitted."""

    def loss_of(trained: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        return task.loss(with_params(model, trained["model"]), trained["readouts"], batch, key)

    def step(state: State, batch: Batch) -> tuple[State, jax.Array, dict[str, jax.Array]]:
        key = jax.random.fold_in(jax.random.key(settings.seed), state["step"])
        (loss, figures), slope = jax.value_and_grad(loss_of, has_aux=True)(state["trained"], batch, key)
        update, moments = optimizer.update(slope, state["moments"], state["trained"])
        trained = optax.apply_updates(state["trained"], update)
        decay = jnp.minimum(settings.average, (1 + state["step"]) / (10 + state["step"]))
        average = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, state["average"], trained)
        state = {"trained": trained, "average": average, "moments": moments, "step": state["step"] + 1}
        return state, loss, figures

    return jax.jit(step, donate_argnums=0)


def batches(settings: Settings, task: Task, first: int) -> Iterator[Batch]:
    """One batch per step, made one step ahead in a thread."""

    def make(step: int) -> Batch:
        return task.batch(settings.seed * 10_000_019 + step, settings.batch)

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, first)
        for step in range(first, settings.steps):
            ready = ahead.result()
            ahead = pool.submit(make, step + 1)
            yield ready


def train(settings: Settings, task: Task) -> tuple[Model, list[dict[str, Any]]]:
    """Trains from the last checkpoint, or from the start. Returns the model with averaged weights, and the log."""
    import orbax.checkpoint as ocp

    model, optimizer = task.model(jax.random.key(settings.seed)), make_optimizer(settings)
    state, log = initial_state(task, model, optimizer), []
    folder = settings.work.resolve() / settings.name
    folder.mkdir(parents=True, exist_ok=True)
    manager = ocp.CheckpointManager(folder / "state", options=ocp.CheckpointManagerOptions(max_to_keep=2))
    if (last := manager.latest_step()) is not None:
        state = manager.restore(last, args=ocp.args.StandardRestore(state))
        log = [row for row in json.loads((folder / "log.json").read_text()) if row["step"] <= last]
    step = make_step(settings, task, model, optimizer)
    seen, begun = [], time.time()
    first = int(state["step"])
    bar = tqdm(batches(settings, task, first), total=settings.steps, initial=first, unit="step", mininterval=5)
    for index, batch in enumerate(bar, first + 1):
        state, loss, figures = step(state, batch)
        seen.append({"loss": loss, **figures})
        if index % settings.evaluate_every == 0 or index == settings.steps:
            averaged = with_params(model, state["average"]["model"])
            row: dict[str, Any] = {"step": index, "clips": index * settings.batch}
            row |= {name: float(np.mean([s[name] for s in seen])) for name in seen[0]}
            row |= task.evaluate(averaged, settings.check, settings.seed)
            log.append(row)
            tqdm.write(f"{rounded(row)}  {len(seen) * settings.batch / (time.time() - begun):.0f} clips/s")
            manager.save(index, args=ocp.args.StandardSave(state))
            manager.wait_until_finished()
            files.write_json(folder / "log.json", log)
            seen, begun = [], time.time()
    return with_params(model, jax.device_get(state["average"]["model"])), log


def rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}


def ship(settings: Settings, task: Task, model: Model, log: list[dict[str, Any]]) -> dict[str, Any]:
    """Evaluates on fresh held-out clips, writes the model folder with its training log, and returns the figures."""
    figures = rounded(task.evaluate(model, settings.held_out, settings.seed + 1))
    recipe = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.name not in ("out", "work")}
    manifest = {
        "source": "scripts/train_world.py",
        "licence": "Apache-2.0",
        "trained_on": "vtcd_jax.data.world",
        "recipe": recipe,
        "figures": figures,
        "versions": {"jax": jax.__version__, "optax": optax.__version__},
    }
    out = settings.out / settings.name
    finished, tokenizer = task.finish(model)
    models.save(finished, out, manifest=manifest, tokenizer=tokenizer, overwrite=True)
    names = list(log[0])
    rows = [",".join(names), *(",".join(str(rounded(row)[name]) for name in names) for row in log)]
    files.write_text(out / "training.csv", "\n".join(rows) + "\n")
    return figures


def main() -> None:
    settings = tyro.cli(Settings, description=__doc__)
    if settings.name not in TASKS:
        raise SystemExit(f"no task {settings.name!r}; there are {', '.join(TASKS)}")
    task = TASKS[settings.name]
    model, log = train(settings, task)
    print(ship(settings, task, model, log))


if __name__ == "__main__":
    main()
