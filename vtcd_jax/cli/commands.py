"""Commands that are not made from jobs: demo, models, conversion, shards. Docstrings are the help texts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vtcd_jax.base.errors import InputError
from vtcd_jax.runs import Step

from .benchmark import benchmark
from .doctor import doctor
from .jobs import naming, run_job
from .options import COMMON, Common, Flat, Folder, RunFolder
from .progress import Progress

READ = Step("read", "reading", "clip", brief=True)


def demo(
    out: Path = Path("demo"),
    *,
    clips: int = 72,
    masks: int = 256,
    seed: int = 0,
    dry_run: bool = False,
    common: Annotated[Common, Flat] = COMMON,
) -> None:
    """Run the whole job, with a report, on the shipped classifier and clips of the synthetic world.

    Args:
        out: Run folder; an existing demo is replaced.
        clips: Number of clips.
        masks: Masked passes per clip.
        seed: Seeds the clips and every draw.
        dry_run: Measure a piece of every stage; print bounds of passes, memory and time; write nothing.
        common: Options of every command.
    """
    from vtcd_jax.jobs.vtcd import JOB, demo_settings

    settings = demo_settings(clips=clips, masks=masks, seed=seed)
    run_job(JOB, settings, out, Folder(overwrite=True, dry_run=dry_run), common, last="report")


def merge(run_folder: RunFolder, *, common: Annotated[Common, Flat] = COMMON) -> None:
    """Combine the shards made by `vtcd rank RUN --shard I/N`.

    Args:
        run_folder: A run folder.
        common: Options of every command.
    """
    from vtcd_jax.jobs.execute import job_of
    from vtcd_jax.runs import open_run
    from vtcd_jax.runs.shards import merge as merge_shards

    job, config = job_of(run_folder)
    with naming(run_folder), open_run(run_folder, config, resume=True, folders=job.folders) as opened:
        print("\n".join(merge_shards(opened, job.resolved).lines()))


def convert(
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    *,
    family: str | None = None,
    config: Path | None = None,
    labels: Path | None = None,
    vocabulary: Path | None = None,
    weights: str | None = None,
    ignore: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    verify: Path | None = None,
    tolerance: float = 1e-4,
    no_sanity: bool = False,
    check: Annotated[tuple[Path, Path] | None, tyro.conf.arg(metavar="CLIPS LABELS")] = None,
    format: Literal["safetensors", "orbax"] = "safetensors",
    overwrite: bool = False,
    dry_run: bool = False,
    common: Annotated[Common, Flat] = COMMON,
) -> None:
    """Make a model folder from a published checkpoint. Nothing in a checkpoint is ever executed.

    Args:
        source: A .safetensors, .pth, .pt, .ckpt or .bin file, or a Hugging Face folder.
        out: The model folder to write.
        family: Take the checkpoint as this family instead of recognising it.
        config: JSON file of settings that tensors do not show (heads, frames, image size), or that replace those found.
        labels: Class names, one per line or JSON; for a video-text network the sentences to compare clips with.
        vocabulary: Of a video-text network: folder with vocab.json and merges.txt, or bpe_simple_vocab_16e6.txt.gz.
        weights: Which weights to take if a file holds several: a key such as model_ema, a prefix of the names, or base
            for the weights without an adapter.
        ignore: Leave out the tensors whose whole name matches this regular expression; may be given several times.
        verify: .npz file of recorded inputs, sites and outputs of the original network that this one must give.
        tolerance: Largest error of a recorded array, relative to its largest magnitude.
        no_sanity: Do not run the network on two clips before the folder is written.
        check: Measure the accuracy on these clips after the conversion, with a file of labels.
        format: How parameters are kept; orbax is a sharded checkpoint for clusters.
        overwrite: Replace an existing model folder.
        dry_run: Check everything, write nothing.
        common: Options of every command.
    """
    from vtcd_jax.converters import convert as convert_checkpoint

    _check_labels(check, dry_run)
    with naming(out):
        done = convert_checkpoint(
            source, out, family=family, config=config, labels=labels, vocabulary=vocabulary, weights=weights,
            ignore=ignore, verify=verify, tolerance=tolerance, sanity=not no_sanity, format=format, overwrite=overwrite,
            dry_run=dry_run,
        )  # fmt: skip
    print(done.summary() if common.quiet else done.table(), flush=True)
    if check is not None:
        from vtcd_jax.models import load
        from vtcd_jax.scores import check_accuracy

        with Progress(common.quiet) as progress:
            accuracy = check_accuracy(load(out), *check, on_clip=lambda i, of: progress(READ, i, of))
        print("\n".join(accuracy.lines()))


def models(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[FOLDER ...]")] = (),
    *,
    describe: str | None = None,
    common: Annotated[Common, Flat] = COMMON,
) -> None:
    """List the shipped models, those in the given folders, and the families that can be converted.

    Args:
        folders: Folders below which converted models lie.
        describe: Name or folder of a model: print its sizes, preprocessing, classes, sites and source.
        common: Options of every command.
    """
    from vtcd_jax.models import all_families, names
    from vtcd_jax.models.store import folder_of

    from .models_table import description, find_models, outline, table

    if describe is not None:
        print("\n".join(description(describe)))
        return
    print("\n".join(table([*map(folder_of, names()), *find_models(folders)])))
    if not common.quiet:
        for name in names():
            if labels := outline(folder_of(name)).labels:
                print(f"classes of {name}: " + "; ".join(labels))
        print("families that `vtcd convert` supports: " + ", ".join(sorted(all_families())))


def _check_labels(check: tuple[Path, Path] | None, dry_run: bool) -> None:
    """Raises InputError, before the conversion, if the accuracy could not be measured after it."""
    if check is None:
        return
    from vtcd_jax.data import find_clips
    from vtcd_jax.data.listing import read_labels
    from vtcd_jax.data.notices import InputWarning

    if dry_run:
        raise InputError("--check needs the model folder that a dry run does not write; leave one of them out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # warned about when the clips are read
        find_clips(check[0], images=True)
    read_labels(check[1])


OTHERS = (merge, convert, models, benchmark, doctor)
