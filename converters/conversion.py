"""From a published checkpoint to a model folder, or to one error that lists everything that is wrong.

Recognise the layout, put the config together, match every tensor to a rule, look at every value, and only then write:
tensor by tensor, under a temporary name, renamed when the finished network has been run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from vtcd_jax.base import files
from vtcd_jax.base.errors import InputError
from vtcd_jax.models import building, registry
from vtcd_jax.models.types import Model

from .files.containers import Container, open_checkpoint
from .foreign import check_adapter_beside
from .layouts import State, ignoring, recognise
from .network import Config, Labels, describe
from .report import ConversionReport
from .sanity import sanity as run_sanity
from .tables.rules import plan, value_problems
from .verifying import Compared, Recording
from .verifying import verify as run_verify
from .vocabulary import NO_VOCABULARY, find_tokenizer, takes_text, with_sentences
from .writing import check_out, make_params, write

FORMATS = ("safetensors", "orbax")
MAX_PROBLEMS = 200
Check = Callable[[Model], "tuple[str, tuple[Compared, ...]]"]


def _check_options(format: str, tolerance: float) -> None:
    if format not in FORMATS:
        raise InputError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    if not 0 < tolerance < math.inf:
        raise InputError(f"tolerance {tolerance:g}: give a number above 0, such as 1e-4")


def convert(
    checkpoint: str | Path,
    out: str | Path,
    *,
    family: str | None = None,
    config: Config = None,
    labels: Labels = None,
    vocabulary: str | Path | None = None,
    weights: str | None = None,
    ignore: Sequence[str] = (),
    verify: Recording | None = None,
    tolerance: float = 1e-4,
    sanity: bool = True,
    format: str = "safetensors",
    overwrite: bool = False,
    dry_run: bool = False,
) -> ConversionReport:
    """Converts a checkpoint into a model folder for ``vtcd_jax.models.load``.

    checkpoint: a ``.safetensors`` or torch zip file, or a Hugging Face folder.
    out:        the folder to make.
    family:     convert only as this family; by default it is recognised.
    config:     settings (a JSON file or a dict, in our names or the source's) that tensors cannot tell.
    labels:     class names (see ``read_labels``); by default those of a ``config.json``, else "class_0", …. For a
                video-text network: the sentences that clips are compared with; they need its vocabulary.
    vocabulary: of a video-text network: a folder with ``vocab.json`` and ``merges.txt``, a ``tokenizer.json``, or
                OpenAI's ``bpe_simple_vocab_16e6.txt.gz``; by default what lies in a Hugging Face folder.
    weights:    which weights to take where a file holds several: a key of the file (such as "model_ema"; "a/b" for one
                inside another), the beginning of the tensors' names, or "base" for those without an adapter's.
    ignore:     regular expressions for whole names of tensors to leave out.
    verify:     recorded values of the original network (see ``verifying``) that the converted one must give.
    tolerance:  largest error of a recorded array, relative to its largest magnitude.
    sanity:     without ``verify``, run the network on two clips and refuse outputs that make no sense.
    format:     "safetensors", or "orbax" for a sharded checkpoint.
    overwrite:  replace ``out`` if it is a model folder.
    dry_run:    check everything, write nothing; the parameters are made in memory.
    Raises InputError with all problems at once; then nothing is written. Raises OSError when writing fails.
    """
    _check_options(format, tolerance)
    if not dry_run:
        check_out(Path(out), Path(checkpoint), overwrite)
    container = open_checkpoint(checkpoint)
    adapters = check_adapter_beside(container, weights)
    state, problems = ignoring(recognise(container, family, weights), ignore)
    network = describe(container, state, config, labels)
    tokenizer = find_tokenizer(container, network.config, vocabulary)
    if network.labels and tokenizer is None and takes_text(network.config):
        problems.append(f"{NO_VOCABULARY}; give it with --vocabulary, or leave the labels out")
    shapes = None
    if network.preprocessing is not None:
        shapes = {name: tuple(s.shape) for name, s in files.flatten(building.param_shapes(network.config)).items()}
    planned = plan(state.tensors, state.names, state.layout.rules, shapes)
    problems += [*network.problems, *planned.problems]
    problems += value_problems(state.tensors, state.names, state.layout.rules)
    if problems or network.preprocessing is None or shapes is None:
        raise InputError(_message(container, state, problems))
    report = ConversionReport(
        family=state.layout.family,
        layout=state.layout.name,
        why=f"{container.kind}, {state.where}",
        rows=planned.rows,
        ignored=state.ignored | adapters | planned.ignored,
        assumed=network.assumed,
        changed=network.changed,
        config=network.config,
        parameters=sum(math.prod(shape) for shape in shapes.values()),
        labels=network.labels,
        out=None if dry_run else Path(out),
    )
    module = registry.family(state.layout.family).module(network.config)
    model = Model({}, module, network.config, network.preprocessing, network.labels, Path(out).name)
    check = _check(container, state, verify, tolerance, sanity)
    if not dry_run:
        manifest = _manifest(container, report)
        found = write(model, planned.fills, shapes, Path(out), manifest, format, tokenizer, check)
    else:
        full = dataclasses.replace(model, params=make_params(planned.fills))
        found = check and check(with_sentences(full, tokenizer))
    return report if found is None else dataclasses.replace(report, sanity=found[0], verified=found[1])


def _check(
    container: Container, state: State, recording: Recording | None, tolerance: float, sane: bool
) -> Check | None:
    """What is done with the finished network before its folder appears; None when nothing is."""
    if recording is None and not sane:
        return None

    def check(model: Model) -> tuple[str, tuple[Compared, ...]]:
        try:
            if recording is None:
                return run_sanity(model), ()
            return "", run_verify(model, recording, tolerance)
        except InputError as error:
            raise InputError(_message(container, state, [str(error)])) from None

    return check


def _message(container: Container, state: State, problems: Sequence[str]) -> str:
    problems = list(dict.fromkeys(problems))
    shown = problems[:MAX_PROBLEMS]
    if len(problems) > len(shown):
        shown.append(f"… and {len(problems) - len(shown)} more")
    recognised = f"{state.layout.family}, {state.layout.name}; {state.where}"
    return f"cannot convert {container.path} (recognised as {recognised}):\n  " + "\n  ".join(shown)


def _manifest(container: Container, report: ConversionReport) -> Mapping[str, Any]:
    """Where the parameters come from. No dates and no paths: the same checkpoint gives the same bytes."""
    versions = {}
    for package in ("vtcd-jax", "jax", "flax", "numpy"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "source": container.path.name,
        "source_sha256": container.hashes(),
        "family": report.family,
        "layout": report.layout,
        "why": report.why,
        "assumed": list(report.assumed),
        "changed": list(report.changed),
        "parameters": report.parameters,
        "licence": "that of the source checkpoint",
        "versions": versions,
    }
