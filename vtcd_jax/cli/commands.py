"""One function per command. Docstrings and field docstrings are the help texts."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from vtcd_jax.base.errors import InputError
from vtcd_jax.concepts.settings import NmfConfig
from vtcd_jax.pipeline.settings import RunSettings, settings_of
from vtcd_jax.planted.evaluation.settings import Settings as PlantedSettings
from vtcd_jax.planted.evaluation.settings import VtcdSettings

from .cache import keep_compilations
from .progress import Progress


@dataclass(frozen=True)
class Common:
    """Options of every command."""

    quiet: bool = False
    """Print results and errors only."""
    debug: bool = False
    """Show tracebacks."""


@dataclass(frozen=True)
class Folder:
    """What happens to the run folder."""

    resume: bool = False
    """Go on with an interrupted run."""
    overwrite: bool = False
    """Replace the run that is there."""
    dry_run: bool = False
    """Measure a piece of every stage, bound passes, memory and time; write nothing."""


Flat = tyro.conf.arg(name="")  # the fields of a parameter as options of the command, without a prefix
Settings = Annotated[RunSettings, Flat]
RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
COMMON = Common()
FOLDER = Folder()
PLANTED = PlantedSettings()
VTCD = VtcdSettings()


def demo(
    out: Path = Path("demo"),
    *,
    clips: int = 72,
    masks: int = 256,
    seed: int = 0,
    dry_run: bool = False,
    common: Annotated[Common, Flat] = COMMON,
) -> None:
    """The whole job on the shipped classifier and clips of the synthetic world, ending in a report.

    Args:
        out: Run folder; a demo that is there is replaced.
        clips: Number of clips.
        masks: Masked passes per clip.
        seed: Seeds the clips and every draw.
        dry_run: Measure a piece of every stage, bound passes, memory and time; write nothing.
        common: Options of every command.
    """
    settings = RunSettings(
        clips=f"world:{clips}", model="world-videomae", masks=masks, seed=seed, hold_out=1 / 3,
        control_masks=min(masks, 128), nmf=NmfConfig(refits=1),
    )  # fmt: skip
    _run(settings, out, Folder(overwrite=True, dry_run=dry_run), common, last="report")


def run(
    settings: Settings, *, out: Path, folder: Annotated[Folder, Flat] = FOLDER, common: Annotated[Common, Flat] = COMMON
) -> None:
    """All of it: concepts, importance, curves, report.

    Args:
        settings: What the results depend on.
        out: Run folder.
        folder: What happens to the run folder.
        common: Options of every command.
    """
    _run(settings, out, folder, common, last="report")


def discover(
    settings: Settings, *, out: Path, folder: Annotated[Folder, Flat] = FOLDER, common: Annotated[Common, Flat] = COMMON
) -> None:
    """Only the concepts; go on with `vtcd rank`, `vtcd curves` and `vtcd report` on the run folder.

    Args:
        settings: What the results depend on, the later stages' too.
        out: Run folder.
        folder: What happens to the run folder.
        common: Options of every command.
    """
    _run(settings, out, folder, common, last="discover")


def rank(
    run_folder: RunFolder,
    *,
    shard: Annotated[str | None, tyro.conf.arg(metavar="I/N")] = None,
    dry_run: bool = False,
    common: Annotated[Common, Flat] = COMMON,
) -> None:
    """Rank the concepts of a run (and find them, if that is still to do).

    Args:
        run_folder: A run folder.
        shard: Do only the I-th of N parts of the masked passes, beside other processes that do the others; then `vtcd
            merge RUN`.
        dry_run: Bound passes, memory and time of the whole run; write nothing.
        common: Options of every command.
    """
    if shard is None:
        _go_on(run_folder, dry_run, common, last="rank")
    elif dry_run:
        raise InputError("--shard and --dry-run exclude each other: the bounds are of the whole run; give one of them")
    else:
        _rank_shard(run_folder, shard, common)


def merge(run_folder: RunFolder, *, common: Annotated[Common, Flat] = COMMON) -> None:
    """Bring the parts together that `vtcd rank RUN --shard I/N` has made.

    Args:
        run_folder: A run folder.
        common: Options of every command.
    """
    from vtcd_jax.pipeline.merging import merge as merge_shards
    from vtcd_jax.runs import open_run

    config = _config(run_folder)
    with _naming(run_folder), open_run(run_folder, config, resume=True) as opened:
        print("\n".join(merge_shards(opened).lines()))


def curves(run_folder: RunFolder, *, dry_run: bool = False, common: Annotated[Common, Flat] = COMMON) -> None:
    """Attribution curves, layers and overlaps of a run (and what they need).

    Args:
        run_folder: A run folder.
        dry_run: Bound passes, memory and time of the whole run; write nothing.
        common: Options of every command.
    """
    _go_on(run_folder, dry_run, common, last="curves")


def report(run_folder: RunFolder, *, dry_run: bool = False, common: Annotated[Common, Flat] = COMMON) -> None:
    """The HTML report of a run (and what it needs).

    Args:
        run_folder: A run folder.
        dry_run: Bound passes, memory and time of the whole run; write nothing.
        common: Options of every command.
    """
    _go_on(run_folder, dry_run, common, last="report")


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
        config: JSON file of settings that tensors cannot tell (heads, frames, image size), or that shall differ.
        labels: Class names, one per line or JSON; for a video-text network the sentences to compare clips with.
        vocabulary: Of a video-text network: folder with vocab.json and merges.txt, or bpe_simple_vocab_16e6.txt.gz.
        weights: Which weights to take where a file holds several: a key such as model_ema, the beginning of the names,
            or base for those without an adapter's.
        ignore: Leave out the tensors whose whole name matches this regular expression; may be given several times.
        verify: .npz file of recorded inputs, sites and outputs of the original network that this one must give.
        tolerance: Largest error of a recorded array, relative to its largest magnitude.
        no_sanity: Do not run the network on two clips before the folder is written.
        check: After the conversion, the accuracy on these clips, with a file of labels.
        format: How parameters are kept; orbax is a sharded checkpoint for clusters.
        overwrite: Replace the model folder that is there.
        dry_run: Check everything, write nothing.
        common: Options of every command.
    """
    from vtcd_jax.converters import convert as convert_checkpoint

    _check_labels(check, dry_run)
    with _naming(out):
        done = convert_checkpoint(
            source, out, family=family, config=config, labels=labels, vocabulary=vocabulary, weights=weights,
            ignore=ignore, verify=verify, tolerance=tolerance, sanity=not no_sanity, format=format, overwrite=overwrite,
            dry_run=dry_run,
        )  # fmt: skip
    print(done.summary() if common.quiet else done.table(), flush=True)
    if check is not None:
        from vtcd_jax.models import load
        from vtcd_jax.scores.accuracy import check_accuracy

        with Progress(common.quiet) as progress:
            found = check_accuracy(load(out), *check, on_clip=lambda i, of: progress("read", i, of))
        print("\n".join(found.lines()))


def models(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[FOLDER ...]")] = (),
    *,
    describe: str | None = None,
    common: Annotated[Common, Flat] = COMMON,
) -> None:
    """The models that are shipped, those in the given folders, and the families that can be converted.

    Args:
        folders: Folders below which converted models lie.
        describe: Name or folder of a model: all of its sizes, preprocessing, classes, sites and source.
        common: Options of every command.
    """
    from vtcd_jax.models import families, names
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
        print("families that `vtcd convert` knows: " + ", ".join(sorted(families())))


def benchmark(
    settings: Annotated[PlantedSettings, Flat] = PLANTED,
    method: Annotated[VtcdSettings, Flat] = VTCD,
    *,
    out: Path | None = None,
    proposals: tuple[Literal["slic", "crops"], ...] = ("slic", "crops"),
    overwrite: bool = False,
    dry_run: bool = False,
    common: Annotated[Common, Flat] = COMMON,
) -> None:
    """Discovery and ranking judged on a hand-written network and clips of which the right answers are known.

    Args:
        settings: How they are judged.
        method: How concepts are found and ranked.
        out: JSON file for all figures and claims.
        proposals: What concepts are made of, each judged by itself: tubelets, random boxes.
        overwrite: Replace the file that is there.
        dry_run: Say how much there is to do; write nothing.
        common: Options of every command.
    """
    from vtcd_jax.base.files import write_json
    from vtcd_jax.planted import benchmark as judge
    from vtcd_jax.planted import lines
    from vtcd_jax.planted.evaluation.methods import vtcd
    from vtcd_jax.planted.evaluation.trials import passes

    if not proposals:
        raise InputError("--proposals: name at least one of slic and crops")
    if out is not None:
        _check_parents(out)
        if out.is_dir() or (out.exists() and not overwrite):
            raise InputError(f"{out}: is there already; give another file, or --overwrite to replace it")
    ways = {kind: dataclasses.replace(method.slic, proposals=kind) for kind in proposals}
    if dry_run:
        trials = settings.seeds * len(ways)
        print(f"{trials} trials on {settings.clips} clips each, at most {trials * passes(settings, method):,} passes")
        return
    keep_compilations()
    methods = {kind: vtcd(dataclasses.replace(method, slic=slic)) for kind, slic in ways.items()}
    with Progress(common.quiet) as progress:
        report = judge(methods, settings, workers=min(os.cpu_count() or 1, 4), progress=progress)
    print("\n".join(lines(report)))
    if out is not None:
        with _naming(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            write_json(out, report.to_json() | {"method": dataclasses.asdict(method)})
        print(f"all figures: {out}")


def _check_labels(check: tuple[Path, Path] | None, dry_run: bool) -> None:
    """Raises InputError before a conversion whose accuracy could not be told after it."""
    if check is None:
        return
    from vtcd_jax.data import find_clips
    from vtcd_jax.data.labels import read_labels
    from vtcd_jax.data.notices import InputWarning

    if dry_run:
        raise InputError("--check needs the model folder that a dry run does not write; leave one of them out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # said when the clips are read
        find_clips(check[0], images=True)
    read_labels(check[1])


def _config(folder: Path) -> dict[str, Any]:
    """What a run folder was begun with. Raises InputError where it is none."""
    from vtcd_jax.runs import read_config

    config = read_config(folder)
    if config is None:
        raise InputError(f"{folder}: is not a run folder; begin one with `vtcd run CLIPS --model M --out {folder}`")
    return config


def _settings(folder: Path) -> RunSettings:
    """The settings that a run was begun with."""
    config = _config(folder)
    try:
        return settings_of(config)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None


def _go_on(folder: Path, dry_run: bool, common: Common, last: str) -> None:
    """Continues a run with the settings it was begun with."""
    _run(_settings(folder), folder, Folder(resume=True, dry_run=dry_run), common, last)


def _rank_shard(folder: Path, text: str, common: Common) -> None:
    """One shard, in a folder of its own inside the run, which other shards may use at the same time."""
    from vtcd_jax.concepts import load_concepts
    from vtcd_jax.pipeline.merging import DONE, open_shard, parse_shard
    from vtcd_jax.pipeline.sources import RESOLVED, config_json, log_warnings, prepare
    from vtcd_jax.pipeline.stages import rank_shard
    from vtcd_jax.runs import check_run

    keep_compilations()
    shard, settings = parse_shard(text), _settings(folder)
    if settings.stop:
        raise InputError(
            f"--shard {text}: the run was begun with --stop, which looks at all clips together; leave it out"
        )
    check_run(folder, resume=True)
    concepts = load_concepts(folder)
    with Progress(common.quiet) as progress:
        prepared = prepare(settings, lambda done, total: progress("read", done, total))
        config = config_json(settings, prepared)
        check_run(folder, config, resume=True, ignore=(*RESOLVED, "made_with"))
        with _naming(folder), open_shard(folder, config, shard) as opened:
            log_warnings(opened, prepared.warnings)
            rank_shard(opened, settings, prepared, concepts, shard, progress)
            opened.event(DONE)
    print(f"shard {text} is done; when all are: vtcd merge {folder}")


def _run(settings: RunSettings, out: Path, folder: Folder, common: Common, last: str) -> None:
    """The stages up to ``last``, in a locked run folder."""
    from vtcd_jax.pipeline.sources import RESOLVED, config_json, log_warnings, prepare
    from vtcd_jax.runs import check_run, open_run

    keep_compilations()
    _check_parents(out)
    check_run(out, resume=folder.resume, overwrite=folder.overwrite)
    with Progress(common.quiet) as progress:
        prepared = prepare(settings, lambda done, total: progress("read", done, total))
        if folder.dry_run:
            from vtcd_jax.pipeline.planning import plan

            _print_wrong(prepared)
            print("\n".join(plan(settings, prepared).lines()))
            return
        settings = dataclasses.replace(settings, scores=prepared.scores)
        config = config_json(settings, prepared)
        options = {"resume": folder.resume, "overwrite": folder.overwrite, "ignore": RESOLVED}
        with _naming(out), open_run(out, config, **options) as opened:
            log_warnings(opened, prepared.warnings)
            _print_wrong(prepared)
            if prepared.wrong:
                opened.event("wrong clips", {"names": list(prepared.wrong), "left_out": prepared.only_correct})
            _stages(opened, settings, prepared, progress, last)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Troubles of the disk name a file: the one they say, else ``path``."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _check_parents(out: Path) -> None:
    """Raises InputError where a file stands in the place of a folder above ``out``."""
    above = next((folder for folder in out.absolute().parents if folder.exists()), None)
    if above is not None and not above.is_dir():
        raise InputError(f"{out}: {above} is a file; give another folder for the run")


def _stages(run, settings, prepared, progress, last: str) -> None:
    from vtcd_jax.pipeline import stages

    concepts = stages.discover_stage(run, settings, prepared, progress)
    print(f"{len(concepts)} concepts in {_clips(prepared.clips)}: {run.folder / 'concepts.csv'}")
    if last == "discover":
        return
    ranked = stages.rank_stage(run, settings, prepared, concepts, progress)
    importance, best = ranked.importance, ranked.importance[0].order()[0]
    for look in ranked.looks:
        print(look.line())
    print(f"most important by {_words(importance[0].score)}: {concepts.names[best]}: {run.folder / 'importance.csv'}")
    if last == "rank":
        return
    drawn = stages.curves_stage(run, settings, prepared, concepts, importance[0], progress)
    _print_curves(drawn)
    where = "the ranked clips" if prepared.held_out is None else f"{_clips(prepared.held_out)} held out"
    print(f"curves on {where}: {run.folder / 'curves.csv'}")
    if last == "curves":
        return
    from vtcd_jax.pipeline.reporting import report_stage

    path = report_stage(run, settings, prepared, concepts, ranked, drawn, progress)
    print(f"report: {path.resolve()}")


def _print_wrong(prepared) -> None:
    """Clips that the untouched network gets wrong, which the score of a removed concept can hardly show."""
    if prepared.wrong:
        done = "left out" if prepared.only_correct else "kept (--only-correct leaves them out)"
        names = ", ".join(prepared.wrong[:5]) + (", ..." if len(prepared.wrong) > 5 else "")
        print(f"the untouched network gets {_clips(prepared.wrong)} wrong, {done}: {names}")


def _print_curves(drawn) -> None:
    for curve in drawn.curves:
        areas = ", ".join(
            f"{order} {_with_error(area, error)}"
            for order, area, error in zip(curve.orders, curve.areas, curve.areas_se, strict=True)
        )
        print(f"area under {_words(curve.score)}: {areas}")
    if drawn.control is not None:
        print(drawn.control.line())
    for overlap in drawn.overlaps:
        print(
            f"overlap with {_words(overlap.mask)}: mIoU {_with_error(overlap.miou, overlap.se)}, "
            f"best of as many random groups {overlap.random.mean():.3f} (at most {overlap.random.max():.3f})"
        )


def _clips(clips) -> str:
    return f"{len(clips)} clip{'' if len(clips) == 1 else 's'}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _with_error(value: float, error: float) -> str:
    """An error is unknown with one clip."""
    return f"{value:.3f}" if math.isnan(error) else f"{value:.3f} ± {error:.3f}"
