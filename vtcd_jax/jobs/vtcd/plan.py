"""Upper bounds for the cost of the stages of VTCD, for ``--dry-run``.

Every kind of work is measured once on a small piece, with the largest number of concepts that can be chosen: one block
of masked passes is compiled and timed, one head of one clip segmented, one layer of random tubelets factorised for a
few steps, one clip of the report drawn. The bounds follow by arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

from vtcd_jax.ablation.cost import PassCost, pass_cost, worst_case_support
from vtcd_jax.concepts import concept_sites
from vtcd_jax.concepts.cost import factorisation_seconds, largest_site, segmentation_seconds
from vtcd_jax.importance.curves import removal_counts
from vtcd_jax.jobs.job import Cost
from vtcd_jax.models import sites
from vtcd_jax.report.overlays import card_seconds

from .inputs import VtcdInputs
from .settings import RunSettings

CLIPS_PER_CARD = 6


@dataclass(frozen=True)
class Sizes:
    """clips, held_out: numbers of clips.  heads: of all sites.  concepts: the largest possible number."""

    clips: int
    held_out: int
    names: tuple[str, ...]
    heads: int
    concepts: int


def sizes(settings: RunSettings, inputs: VtcdInputs) -> Sizes:
    """Largest amounts of work."""
    names = concept_sites(inputs.model, settings.site)
    shapes = sites(inputs.model)
    heads = sum(shapes[name].shape[4] if len(shapes[name].shape) == 6 else 1 for name in names)
    held_out = 0 if inputs.held_out is None else len(inputs.held_out)
    return Sizes(len(inputs.clips), held_out, names, heads, heads * settings.nmf.elbow.largest)


@dataclass(frozen=True)
class Rates:
    """Measurements for several stages.

    passes:    cost of masked passes.
    segment:   seconds for one head of one clip.
    factorise: seconds for all heads.
    card:      seconds for one clip of the report.
    """

    passes: PassCost
    segment: float
    factorise: float
    card: float


def measure(settings: RunSettings, inputs: VtcdInputs) -> Rates:
    """Measures a small piece of every kind of work."""
    size, model = sizes(settings, inputs), inputs.model
    support = worst_case_support(model, size.names, settings.nmf.elbow.largest)
    passes = pass_cost(
        model, inputs.clips, inputs.targets, support, masks=settings.masks, score=inputs.scores, mode=settings.mode,
        chunk=settings.chunk, dtype=settings.precision,
    )  # fmt: skip
    segment = segmentation_seconds(model, largest_site(model, size.names), settings.slic)
    factorise = factorisation_seconds(model, size.names, size.clips, settings.slic, settings.nmf)
    return Rates(passes, segment, factorise, card_seconds(inputs.clips))


def outline(settings: RunSettings, inputs: VtcdInputs) -> list[str]:
    """Numbers of clips and largest number of concepts."""
    size = sizes(settings, inputs)
    return [
        f"clips      {size.clips} ranked, {size.held_out} held out",
        f"concepts   at most {size.concepts:,} in {size.heads} heads of {len(size.names)} layers",
    ]


def discovery_costs(settings: RunSettings, inputs: VtcdInputs, rates: Rates) -> list[Cost]:
    """Tubelets and concepts."""
    size = sizes(settings, inputs)
    clips = size.clips + size.held_out
    return [
        Cost("tubelets", clips * size.heads * rates.segment, note=f"{size.heads} heads of {clips} clips"),
        Cost("concepts", rates.factorise, note=f"of {len(size.names)} layers"),
    ]


def ranking_costs(settings: RunSettings, inputs: VtcdInputs, rates: Rates) -> list[Cost]:
    """Compiling, and the passes of the ranking."""
    size, passes = sizes(settings, inputs), rates.passes
    count = size.clips * (_per_clip(settings, size) + 1)
    each = f"{passes.seconds * 1e3:.1f} ms each, chunk {passes.chunk}; --masks bounds them"
    return [
        Cost("compiling", 4 * passes.compiling, memory=passes.memory),  # features, unmodified clips, ranking, curves
        Cost("ranking", count * passes.seconds, count, note=each),
    ]


def curve_costs(settings: RunSettings, inputs: VtcdInputs, rates: Rates) -> list[Cost]:
    """The passes of the curves and of their controls, and the report."""
    size, seconds = sizes(settings, inputs), rates.passes.seconds
    steps, evaluated = len(removal_counts(size.concepts, settings.steps)), size.held_out or size.clips
    curves = evaluated * (2 + settings.repeats) * steps
    control = 0
    if settings.control_masks:
        control = 2 * (size.clips * min(_per_clip(settings, size), settings.control_masks) + evaluated * steps)
    cards = settings.top * min(CLIPS_PER_CARD, size.clips)
    return [
        Cost("curves", curves * seconds, curves, note="--steps and --repeats bound them"),
        Cost("controls", control * seconds, control, note="--control-masks bounds them; 0: no controls"),
        Cost("report", cards * rates.card, note="--top bounds its clips"),
    ]


def _per_clip(settings: RunSettings, size: Sizes) -> int:
    return min(settings.masks, size.concepts) if settings.design_name == "leave-one-out" else settings.masks
