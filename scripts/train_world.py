"""Trains the small models that are shipped, on the synthetic world.

    python scripts/train_world.py world-videomae              # trains, evaluates, writes models/weights/world-videomae
    python scripts/train_world.py world-tcow --clips 64000    # another model, another length
    python scripts/train_world.py world-videomae --start world-videomae --seed 1   # another round

A run that was interrupted continues where its last checkpoint stands, and ends as it would have. ``world_tasks.py`` and
its neighbours say what each model learns; the loop is ``vtcd_jax.training.fit``.

Optimisation: AdamW or Muon with cosine decay, weights scaled by fan-in, averaged weights (EMA) for evaluation and
shipping.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro
from tqdm import tqdm
from world_tasks import CLASSIFY, CLASSIFY_WITH_MASKS, RECONSTRUCT, SmallModel, with_params
from world_text import DESCRIBE
from world_tracking import TRACK

from vtcd_jax import models, training
from vtcd_jax.models import InputError, Model
from vtcd_jax.models.store import WEIGHTS
from vtcd_jax.runs.tables import write_csv
from vtcd_jax.training import Batch, Optimizer, Rate, Task, TrainSettings

ROOT = Path(__file__).resolve().parents[1]
SMALL_MODELS = {
    "world-videomae": CLASSIFY, "world-videomae-masks": CLASSIFY_WITH_MASKS, "world-videomae-ssl": RECONSTRUCT,
    "world-tcow": TRACK, "world-internvideo": DESCRIBE,
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
    optimizer: Literal["adamw", "muon"] = "adamw"
    """``muon`` moves matrices along their orthogonalised momentum (``vtcd_jax.training.Optimizer``)."""
    weight_decay: float = 0.05
    average: float = 0.999
    """Decay of the averaged weights."""
    seed: int = 0
    start: str | None = None
    """A trained model, by name or folder, whose weights are the first: another round of training. Its clips are new
    ones with ``seed``, and have all texture from the first."""
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


def train_settings(settings: Settings) -> TrainSettings:
    return TrainSettings(
        steps=settings.steps,
        batch=settings.batch,
        rate=Rate(settings.rate, warmup=settings.warmup),
        optimizer=Optimizer(settings.optimizer, settings.weight_decay, beta2=0.98, momentum=0.95),
        average=settings.average,
        seed=settings.seed,
        evaluate_every=settings.evaluate_every,
        checkpoint_every=settings.evaluate_every,
    )


def make_task(settings: Settings, small: SmallModel, untrained: Model) -> Task:
    """The training of a small model and its read-outs; ``untrained`` gives its configuration."""

    def init(key: jax.Array) -> tuple[Any, Any]:
        model = small.model(key) if settings.start is None else models.load(settings.start)
        return {"model": model.params, "readouts": small.readouts(model)}, {}

    def loss(params: Any, state: Any, batch: Batch, step: jax.Array, keys: jax.Array) -> tuple[jax.Array, Any, Any]:
        value, figures = small.loss(with_params(untrained, params["model"]), params["readouts"], batch)
        return value, figures, state

    def evaluate(params: Any, state: Any) -> dict[str, Any]:
        return small.evaluate(with_params(untrained, params["model"]), settings.check, settings.seed)

    config = {"model": settings.name, "check": settings.check, "start": settings.start}
    return Task(config, init, partial(batch_of, settings, small), loss, evaluate)


def batch_of(settings: Settings, small: SmallModel, seed: int, step: int, size: int) -> Batch:
    done = step / settings.steps if settings.start is None else 1.0
    return small.batch(seed * 10_000_019 + step, size, done)


def train(settings: Settings, small: SmallModel) -> tuple[Model, tuple[dict[str, Any], ...]]:
    """Trains from the last checkpoint, or from the start. Returns the model with averaged weights, and the log."""
    untrained = small.model(jax.random.key(settings.seed))
    task = make_task(settings, small, untrained)
    with tqdm(total=settings.steps, unit="step", mininterval=5) as bar:

        def progress(stage: str, done: int, total: int, detail: str) -> None:
            if bar.n == 0:
                bar.initial = done - 1
            bar.set_postfix_str(detail, refresh=False)
            bar.update(done - bar.n)

        folder = settings.work.resolve() / settings.name
        trained = training.fit(task, train_settings(settings), folder, progress=progress)
    return with_params(untrained, jax.device_get(trained.average["model"])), trained.rows


def rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}


def ship(settings: Settings, small: SmallModel, model: Model, rows: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Evaluates on fresh held-out clips, writes the model folder with its training log, and returns the figures."""
    figures = rounded(small.evaluate(model, settings.held_out, settings.seed + 1))
    recipe = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.name not in ("out", "work")}
    manifest = {
        "source": "scripts/train_world.py",
        "licence": "Apache-2.0",
        "trained_on": "vtcd_jax.world.generator",
        "recipe": recipe,
        "figures": figures,
        "versions": {name: version(name) for name in ("jax", "optax")},
    }
    if settings.start is not None:
        manifest["start"] = manifest_of(settings.start)
    out = settings.out / settings.name
    finished, tokenizer = small.finish(model)
    models.save(finished, out, manifest=manifest, tokenizer=tokenizer, overwrite=True)
    write_csv(out / "training.csv", [rounded(row) for row in rows], list(rows[0]))
    return figures


def manifest_of(name: str) -> dict[str, Any]:
    """How the model that this round started from was made."""
    folder = Path(name) if Path(name).is_dir() else WEIGHTS / name
    return json.loads((folder / "manifest.json").read_text())


def main() -> None:
    settings = tyro.cli(Settings, description=__doc__)
    try:
        if settings.name not in SMALL_MODELS:
            raise InputError(f"no small model {settings.name!r}; there are {', '.join(SMALL_MODELS)}")
        small = SMALL_MODELS[settings.name]
        model, rows = train(settings, small)
        print(ship(settings, small, model, rows))
    except InputError as error:
        print(f"train_world.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
