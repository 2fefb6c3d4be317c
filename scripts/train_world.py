"""Trains the small VideoMAE classifier that is shipped as ``world-videomae``.

    python scripts/train_world.py                 # trains, evaluates, writes models/weights/world-videomae
    python scripts/train_world.py --clips 64000   # a shorter run

Every batch is a function of (seed, step), so a run that was interrupted continues where its last checkpoint stands and
sees the clips it would have seen. Beside the class, two linear read-outs of the tokens (after the middle and the last
block) learn which share of each token shows the target, an occluder, a container: planted truth that speeds the start
up several times. The read-outs are dropped at the end; what is shipped is a plain classifier.

Optimisation: AdamW with cosine decay, weights scaled by fan-in, averaged weights (EMA) for evaluation and shipping.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from tqdm import tqdm

from vtcd_jax import models
from vtcd_jax.data import world
from vtcd_jax.models import Inputs, Model, files, videomae

ROOT = Path(__file__).resolve().parents[1]
State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a training run depends on."""

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
    mask_weight: float = 1.0
    """Weight of the token read-outs of the true masks."""
    seed: int = 0
    width: int = 96
    depth: int = 4
    num_heads: int = 4
    evaluate_every: int = 500
    """Steps between evaluations, each with a checkpoint."""
    held_out: int = 1000
    """Held-out clips of the last evaluation."""
    out: Path = ROOT / "models" / "weights" / "world-videomae"
    work: Path = ROOT / ".training" / "world-videomae"
    """Where the training state lies until the run ends."""

    @property
    def steps(self) -> int:
        return self.clips // self.batch


def make_model(settings: Settings) -> Model:
    """The untrained classifier."""
    config = videomae.VideoMAEConfig(
        image_size=48, patch_size=8, num_frames=16, tubelet_size=2, width=settings.width, depth=settings.depth,
        num_heads=settings.num_heads, num_classes=len(world.CLASSES),
    )  # fmt: skip
    preprocessing = models.Preprocessing(config.num_frames, config.image_size, config.image_size, stride=1)
    key = jax.random.key(settings.seed)
    name = settings.out.name
    return models.build(config, key=key, labels=world.CLASSES, preprocessing=preprocessing, name=name)


def mask_sites(model: Model) -> tuple[str, str]:
    """Where the true masks are read out: after the middle and after the last block."""
    depth = model.config.depth
    return f"block_{depth // 2 - 1}/resid_post", f"block_{depth - 1}/resid_post"


def initial_state(settings: Settings, model: Model, optimizer: optax.GradientTransformation) -> State:
    readouts = {site: jnp.zeros((settings.width, 3)) for site in mask_sites(model)}
    trained = {"model": model.params, "readouts": readouts}
    average = jax.tree.map(jnp.copy, trained)
    return {
        "trained": trained,
        "average": average,
        "moments": optimizer.init(trained),
        "step": jnp.zeros((), jnp.int32),
    }


def make_optimizer(settings: Settings) -> optax.GradientTransformation:
    schedule = optax.warmup_cosine_decay_schedule(0.0, settings.rate, settings.warmup, settings.steps)

    def decayed(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    adam = optax.adamw(schedule, b2=0.98, weight_decay=settings.weight_decay, mask=decayed)
    return optax.chain(optax.clip_by_global_norm(1.0), adam)


def make_step(settings: Settings, model: Model, optimizer: optax.GradientTransformation) -> Any:
    """(state, video uint8, label, token masks) -> (state, loss, accuracy), jitted."""
    sites = mask_sites(model)

    def loss_of(trained: Any, video: jax.Array, label: jax.Array, masks: jax.Array) -> tuple[jax.Array, jax.Array]:
        output, seen = models.forward(dataclasses.replace(model, params=trained["model"]), Inputs(video), capture=sites)
        assert output.logits is not None
        loss = optax.softmax_cross_entropy_with_integer_labels(output.logits, label).mean()
        for site in sites:
            read = seen[site] @ trained["readouts"][site]
            loss += settings.mask_weight * optax.sigmoid_binary_cross_entropy(read, masks).mean()
        return loss, (output.logits.argmax(-1) == label).mean()

    def step(state: State, video: jax.Array, label: jax.Array, masks: jax.Array) -> tuple[State, jax.Array, jax.Array]:
        video = normalise(model, video)
        (loss, accuracy), slope = jax.value_and_grad(loss_of, has_aux=True)(state["trained"], video, label, masks)
        update, moments = optimizer.update(slope, state["moments"], state["trained"])
        trained = optax.apply_updates(state["trained"], update)
        decay = jnp.minimum(settings.average, (1 + state["step"]) / (10 + state["step"]))
        average = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, state["average"], trained)
        state = {"trained": trained, "average": average, "moments": moments, "step": state["step"] + 1}
        return state, loss, accuracy

    return jax.jit(step, donate_argnums=0)


def normalise(model: Model, video: jax.Array) -> jax.Array:
    mean, std = (jnp.asarray(v) for v in (model.preprocessing.mean, model.preprocessing.std))
    return (video.astype(jnp.float32) / 255 - mean) / std


def batches(settings: Settings, model: Model, first: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(video, label, share of each token under each true mask) per step, made one step ahead in a thread."""

    def make(step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        video, label, masks = world.training_batch(settings.seed * 10_000_019 + step, settings.batch)
        t, h, w = model.config.grid
        b, frames, height, width, kinds = masks.shape
        shares = masks.reshape(b, t, frames // t, h, height // h, w, width // w, kinds).mean((2, 4, 6))
        return video, label, shares.astype(np.float32)

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, first)
        for step in range(first, settings.steps):
            ready = ahead.result()
            ahead = pool.submit(make, step + 1)
            yield ready


def accuracy(model: Model, video: np.ndarray, label: np.ndarray, batch: int = 50) -> float:
    """Share of clips whose highest logit is their class. video uint8 [clip, time, height, width, 3]."""

    @jax.jit
    def logits(model: Model, video: jax.Array) -> jax.Array | None:
        return models.forward(model, Inputs(normalise(model, video)))[0].logits

    found = [np.asarray(logits(model, video[i : i + batch])) for i in range(0, len(video), batch)]
    return float((np.concatenate(found).argmax(-1) == label).mean())


def shuffled(video: np.ndarray, seed: int) -> np.ndarray:
    """The same clips with the frames of each in random order."""
    rng = np.random.default_rng(seed)
    return np.stack([clip[rng.permutation(len(clip))] for clip in video])


def train(settings: Settings) -> tuple[Model, list[dict[str, float]]]:
    """Trains from the last checkpoint, or from the start. Returns the model with averaged weights, and the log."""
    import orbax.checkpoint as ocp

    model, optimizer = make_model(settings), make_optimizer(settings)
    state, log = initial_state(settings, model, optimizer), []
    manager = ocp.CheckpointManager(
        settings.work.resolve() / "state", options=ocp.CheckpointManagerOptions(max_to_keep=2)
    )
    log_file = settings.work / "log.json"
    if (last := manager.latest_step()) is not None:
        state = manager.restore(last, args=ocp.args.StandardRestore(state))
        import json

        log = [row for row in json.loads(log_file.read_text()) if row["step"] <= last]
    step = make_step(settings, model, optimizer)
    check = world.clips(280, seed=settings.seed + 77, split="held-out")
    losses, rights, begun = [], [], time.time()
    first = int(state["step"])
    bar = tqdm(batches(settings, model, first), total=settings.steps, initial=first, unit="step", mininterval=5)
    for index, (video, label, masks) in enumerate(bar, first + 1):
        state, loss, right = step(state, video, label, masks)
        losses.append(loss)
        rights.append(right)
        if index % settings.evaluate_every == 0 or index == settings.steps:
            averaged = dataclasses.replace(model, params=state["average"]["model"])
            row = {
                "step": index,
                "clips": index * settings.batch,
                "loss": round(float(np.mean(losses)), 4),
                "train_accuracy": round(float(np.mean(rights)), 4),
                "held_out_accuracy": round(accuracy(averaged, check.video, check.labels), 4),
            }
            log.append(row)
            tqdm.write(f"{row}  {len(losses) * settings.batch / (time.time() - begun):.0f} clips/s")
            manager.save(index, args=ocp.args.StandardSave(state))
            manager.wait_until_finished()
            files.write_json(log_file, log)
            losses, rights, begun = [], [], time.time()
    return dataclasses.replace(model, params=jax.device_get(state["average"]["model"])), log


def ship(settings: Settings, model: Model, log: list[dict[str, float]]) -> dict[str, float]:
    """Evaluates on fresh held-out clips, writes the model folder with its training log, and returns the figures."""
    clips = world.clips(settings.held_out, seed=settings.seed + 1_000_003, split="held-out")
    figures = {
        "held_out_clips": len(clips),
        "held_out_accuracy": round(accuracy(model, clips.video, clips.labels), 4),
        "shuffled_frames_accuracy": round(accuracy(model, shuffled(clips.video, settings.seed), clips.labels), 4),
    }
    recipe = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.name not in ("out", "work")}
    manifest = {
        "source": "scripts/train_world.py",
        "licence": "Apache-2.0",
        "trained_on": "vtcd_jax.data.world",
        "recipe": recipe,
        "figures": figures,
        "versions": {"jax": jax.__version__, "optax": optax.__version__},
    }
    models.save(model, settings.out, manifest=manifest, overwrite=True)
    rows = ["clips,loss,train_accuracy,held_out_accuracy"]
    rows += [f"{r['clips']},{r['loss']},{r['train_accuracy']},{r['held_out_accuracy']}" for r in log]
    files.write_text(settings.out / "training.csv", "\n".join(rows) + "\n")
    return figures


def main() -> None:
    settings = tyro.cli(Settings, description=__doc__)
    settings.work.mkdir(parents=True, exist_ok=True)
    model, log = train(settings)
    print(ship(settings, model, log))


if __name__ == "__main__":
    main()
