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
from vtcd_jax.concepts.settings import resolved
from vtcd_jax.importance.curves import removal_counts
from vtcd_jax.importance.designs.slopes import slope_price
from vtcd_jax.importance.named_designs import slope_rows
from vtcd_jax.jobs.job import Cost
from vtcd_jax.models import sites
from vtcd_jax.report.films import film_seconds

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
    largest = settings.nmf.elbow.largest
    return Sizes(len(inputs.clips), held_out, names, heads, heads * (largest + int(settings.nmf.tree * largest)))


@dataclass(frozen=True)
class Rates:
    """Measurements for several stages.

    passes:    cost of masked passes.
    slopes:    cost of passes for slopes; None for a design without slopes.
    segment:   seconds for one head of one clip.
    factorise: seconds for all heads.
    card:      seconds for one clip of the report.
    """

    passes: PassCost
    slopes: PassCost | None
    segment: float
    factorise: float
    card: float


def measure(settings: RunSettings, inputs: VtcdInputs) -> Rates:
    """Measures a small piece of every kind of work."""
    size, model = sizes(settings, inputs), inputs.model
    support = worst_case_support(model, size.names, settings.nmf.elbow.largest)
    asked = {"mode": settings.mode, "chunk": settings.chunk, "dtype": settings.precision}
    one = (model, inputs.clips, inputs.targets, support)
    passes = pass_cost(*one, masks=settings.masks, score=inputs.scores, **asked)
    rows, slopes = _slopes_per_clip(settings, inputs), None
    if rows:
        slopes = pass_cost(*one, masks=rows, score=inputs.sloped(settings), result="slopes", **asked)
    slic, nmf = resolved(settings.slic, settings.nmf)
    segment = segmentation_seconds(model, largest_site(model, size.names), slic)
    factorise = factorisation_seconds(model, size.names, size.clips, slic, nmf)
    return Rates(passes, slopes, segment, factorise, film_seconds(inputs.clips))


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
    segmented = resolved(settings.slic, settings.nmf)[0].proposals != "tokens"
    tubelets = Cost("tubelets", clips * size.heads * rates.segment, note=f"{size.heads} heads of {clips} clips")
    return [
        *([tubelets] if segmented else []),
        Cost("concepts", rates.factorise, note=f"of {len(size.names)} layers"),
        *_token_costs(settings, clips, rates),
    ]


def _token_costs(settings: RunSettings, clips: int, rates: Rates) -> list[Cost]:
    """A pass per clip where tokens have concepts, and one for the random centres of the control."""
    if settings.nmf.assign != "tokens":
        return []
    count = clips * (2 if settings.control_masks else 1)
    return [Cost("concepts of tokens", count * rates.passes.seconds, note=f"of {clips} clips")]


def ranking_costs(settings: RunSettings, inputs: VtcdInputs, rates: Rates) -> list[Cost]:
    """Compiling, and the passes of the ranking."""
    size, passes, slopes = sizes(settings, inputs), rates.passes, rates.slopes
    count = size.clips * (_per_clip(settings, inputs, size) + 1)
    each = f"{passes.seconds * 1e3:.1f} ms each, chunk {passes.chunk}; --masks bounds them"
    compiling, memory = 4 * passes.compiling, passes.memory  # features, unmodified clips, ranking, curves
    costs = [Cost("ranking", count * passes.seconds, count, note=each)]
    if slopes is not None:
        compiling, memory = compiling + slopes.compiling, max(memory, slopes.memory)
        rows = size.clips * _slopes_per_clip(settings, inputs)
        each = f"{slopes.seconds * 1e3:.1f} ms each, chunk {slopes.chunk}; --masks bounds them"
        costs.append(Cost("slopes", rows * slopes.seconds, rows, note=each))
    return [Cost("compiling", compiling, memory=memory), *costs]


def curve_costs(settings: RunSettings, inputs: VtcdInputs, rates: Rates) -> list[Cost]:
    """The passes of the curves and of their controls, and the report."""
    size, seconds = sizes(settings, inputs), rates.passes.seconds
    steps, evaluated = len(removal_counts(size.concepts, settings.steps)), size.held_out or size.clips
    curves = evaluated * (2 + settings.repeats) * steps
    control = 0
    if settings.control_masks:
        ranked = size.clips * min(settings.masks, settings.control_masks, _most(settings, size))
        control = 2 * (ranked + evaluated * steps)
    cards = settings.top * min(CLIPS_PER_CARD, size.clips)
    return [
        Cost("curves", curves * seconds, curves, note="--steps and --repeats bound them"),
        Cost("controls", control * seconds, control, note="--control-masks bounds them; 0: no controls"),
        Cost("report", cards * rates.card, note="--top bounds its clips"),
    ]


def _per_clip(settings: RunSettings, inputs: VtcdInputs, size: Sizes) -> int:
    """Masked passes of a clip."""
    if inputs.design(settings) == "slopes":
        return 0
    return _most(settings, size) - _slopes_per_clip(settings, inputs) * slope_price(len(inputs.sloped(settings)))


def _most(settings: RunSettings, size: Sizes) -> int:
    """What a clip may cost, in masked passes."""
    return min(settings.masks, size.concepts) if settings.design == "leave-one-out" else settings.masks


def _slopes_per_clip(settings: RunSettings, inputs: VtcdInputs) -> int:
    """Rows of slopes of a clip."""
    design = inputs.design(settings)
    if design not in ("slopes", "joined"):
        return 0
    return slope_rows(design, settings.masks, len(inputs.sloped(settings)))
