"""The report holds what went in, needs nothing from outside, and trusts no word that it prints."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from vtcd_jax import report
from vtcd_jax.base.errors import InputError
from vtcd_jax.concepts import MaskOverlap
from vtcd_jax.concepts.evaluation.mask_overlaps import upper
from vtcd_jax.data.clips import Clips
from vtcd_jax.models import describe
from vtcd_jax.report import ShownClips, citations
from vtcd_jax.report.view import concept_counts

EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)> & {{ 7 * 7 }}"


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] not in ("script", "style"):
            self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return "".join(self.words)


def page(data, folder, **options) -> Page:
    return Page(report.write(folder, data, **options).read_text("utf-8"))


def decode(video: dict) -> tuple[np.ndarray, str, str]:
    """Frames, codec and pixel format of a <video> element."""
    import av

    found = base64.b64decode(video["data-src"].removeprefix("data:video/mp4;base64,"), validate=True)
    with av.open(io.BytesIO(found), "r") as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), stream.codec_context.name, str(stream.codec_context.pix_fmt)


def test_concepts_of_tokens_have_a_share_of_the_tokens_in_place_of_tubelets(make, clips, tmp_path):
    data = make()
    of_tokens = replace(data.concepts, centres=data.concepts.dictionary, slic_grid=data.concepts.grid)
    size = np.zeros(len(of_tokens), np.int64)
    size[0] = 3 * 8 * 6 * 6 * len(clips) // 4  # three quarters of the tokens of its head
    sizes = np.where(of_tokens.assignment == 0, size[0] // (of_tokens.assignment == 0).sum(), 0)
    tubelets = replace(of_tokens.tubelets, size=sizes.astype(np.int32))
    counts = concept_counts(replace(data, concepts=replace(of_tokens, tubelets=tubelets)))
    assert list(counts) == ["Tokens, %", "Clips", "Silhouette"]
    assert counts["Tokens, %"][0][0] == pytest.approx(75, abs=0.5) and not counts["Tokens, %"][0][1:].any()
    assert list(concept_counts(data)) == ["Tubelets", "Clips", "Spread", "Silhouette"]
    both = data, replace(data, concepts=of_tokens)
    of_both = [page(one, tmp_path / name, top=0).text for one, name in zip(both, "ab", strict=True)]
    assert ["clips per tubelet" in text for text in of_both] == [True, False]
    assert ["Every token" in text for text in of_both] == [False, True]
    said = {"tokens": "A sample of the tokens", "crops": "called boxes", "slic": "called tubelets"}
    for proposals, words in said.items():
        found_in = replace(of_tokens, settings={"slic": {"proposals": proposals}})
        assert words in " ".join(page(replace(data, concepts=found_in), tmp_path / proposals, top=0).text.split())


def test_nothing_is_loaded_from_outside(make, tmp_path):
    path = report.write(tmp_path / "report", make(), top=2, clips_each=2)
    assert path == tmp_path / "report" / "index.html"
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]
    html = path.read_text("utf-8")
    assert "://" not in html and "url(" not in html and "@import" not in html
    found = Page(html)
    addresses = [
        value
        for _, attributes in found.elements
        for key, value in attributes.items()
        if key in ("src", "href", "data-src", "srcset", "poster", "action", "data")
    ]
    assert len(addresses) > 8
    assert all(value.startswith(("data:", "#")) for value in addresses)


def test_the_same_data_give_the_same_bytes(make, tmp_path):
    first = report.write(tmp_path / "a", make(overlaps=()), top=1, clips_each=2).read_bytes()
    assert report.write(tmp_path / "b", make(overlaps=()), top=1, clips_each=2).read_bytes() == first
    assert report.write(tmp_path / "a", make(overlaps=(), seed=8), top=1, clips_each=2).read_bytes() != first


def test_the_table_has_every_concept_in_order_of_importance(make, tmp_path):
    data = make()
    rows = [row for row in page(data, tmp_path, top=1, clips_each=1).named("tr") if "data-concept" in row]
    order = data.importance[0].order()
    assert [int(row["data-concept"]) for row in rows] == order.tolist()
    assert [int(row["data-head"]) for row in rows] == data.concepts.head[order].tolist()
    assert [int(row["data-layer"]) for row in rows] == data.concepts.site[order].tolist()


def test_pairs_that_do_not_add_up_are_shown_and_counted(make, tmp_path):
    data = make()
    text = " ".join(page(data, tmp_path, top=3, clips_each=1).text.split())
    assert "Pairs whose effects do not add up" in text and "276 pairs were tested, 2 differ" in text
    assert "AND" in text and "0.0004" in text and "for these clips" in text
    found = data.interactions
    none = replace(found, p=np.ones(3), over="clips")
    text = " ".join(page(replace(data, interactions=none), tmp_path / "none", top=3, clips_each=1).text.split())
    assert "276 pairs were tested, none differ" in text and "over clips" in text
    assert "do not add up" not in page(replace(data, interactions=None), tmp_path / "no", top=3, clips_each=1).text


def overlap(mask: str, concept: int) -> MaskOverlap:
    """An overlap of a half beside one draw of each control."""
    return MaskOverlap(mask, concept, 0.5, 0.02, np.array([0.3]), np.array([0.2]), 5)


def test_every_number_that_matters_is_printed(make, tmp_path):
    data = make()
    first = data.importance[0]
    found = page(data, tmp_path, top=1, clips_each=1)
    best = first.order()[0]
    titles = [cell["title"] for cell in found.named("td") if "title" in cell]
    assert titles[0] == (
        f"{first.importance[best]:.3f}, ± {first.half_widths()[0][best]:.3f} for these clips,"
        f" ± {first.half_widths()[1][best]:.3f} for new clips"
    )
    assert len(titles) == len(data.concepts)
    assert data.curves is not None
    for value in (*data.curves.areas, data.overlaps[0].miou, upper(data.overlaps[0].centres)):
        assert f"{value:.3f}" in found.text
    for words in (
        "slic.n_segments",
        data.clips.hashes[0],
        *data.notes,
        *data.baselines,
        data.curves_note,
        "videomae-world",
    ):
        assert words in found.text
    for key in data.methods:
        assert str(citations.ENTRIES.get(key, key)) in found.text


def test_words_from_outside_are_escaped(make, clips, tmp_path):
    names = tuple(EVIL + str(i) for i in range(len(clips)))
    evil = Clips.make(clips.video, names, clips.labels, clips.masks)
    data = make(
        clips=evil,
        title=EVIL,
        model=EVIL,
        description=EVIL,
        target=EVIL,
        layers={EVIL: 0.5},
        baselines=(EVIL,),
        notes=(EVIL,),
        settings={EVIL: EVIL},
        versions={EVIL: EVIL},
        overlaps=(overlap(EVIL, 0),),
        overlaps_note=EVIL,
        curves_note=EVIL,
    )
    sites = tuple(f"block_1/{EVIL}{i}" for i in range(2))
    concepts = data.concepts
    old = concepts.labels
    grid, packed = (dict(zip(sites, values.values(), strict=True)) for values in (old.grid, old.packed))
    concepts = replace(concepts, sites=sites, labels=replace(old, grid=grid, packed=packed))
    scores = tuple(replace(found, score=f"{EVIL}{i}", estimator=EVIL) for i, found in enumerate(data.importance))
    shown = replace(data.clips, labels=(EVIL,) * len(clips))
    assert data.curves is not None
    data = replace(
        data,
        clips=shown,
        concepts=concepts,
        importance=scores,
        curves=replace(data.curves, score=EVIL, orders=(EVIL,) * 3),
    )
    evil_page, good_page = (page(d, tmp_path, top=1, clips_each=1) for d in (data, make()))
    pictures = evil_page.named("img")
    assert all(set(p) == {"class", "src", "alt"} and p["src"].startswith("data:image/jpeg;base64,") for p in pictures)
    assert len(evil_page.named("script")) == len(good_page.named("script")) == 1
    assert not any(key.startswith("on") for _, attributes in evil_page.elements for key in attributes)
    assert {tag for tag, _ in evil_page.elements} == {tag for tag, _ in good_page.elements}
    assert evil_page.text.count(EVIL) > 20


def test_clips_are_h264_that_browsers_play_and_show_the_concept(make, tmp_path):
    data = make()
    best = int(data.importance[0].order()[0])
    front, video = page(replace(data, overlaps=()), tmp_path, top=1, clips_each=1).named("video")
    assert front["data-same"] == f"concept-{best}"
    frames, codec, pixels = decode(video)
    assert (codec, pixels) == ("h264", "yuv420p")
    clip = int(data.concepts.best_clips(best, 1)[0])
    shown, mask = report.overlays.display(data.clips.frames[clip], data.concepts.support(best)[clip])
    colour = report.overlays.colour_of(0)
    three = [shown, report.overlay(shown, mask, colour), report.overlays.outline(shown, mask, colour)]
    assert frames.shape == (16, 3 * 192, 192, 3)
    assert np.abs(frames.astype(float) - np.concatenate(three, axis=1)).mean() < 8
    assert {"muted", "loop", "playsinline"} <= video.keys()


def test_cards_are_the_most_important_and_those_beside_true_masks(make, tmp_path):
    data = make()
    order = data.importance[0].order().tolist()
    last = order[-1]
    found = page(replace(data, overlaps=(overlap("target", last),)), tmp_path, top=3, clips_each=2)
    assert [a["id"] for a in found.named("article")] == [f"concept-{c}" for c in (*order[:3], last)]
    assert len([video for video in found.named("video") if "data-src" in video]) == 8
    same = [video["data-same"] for video in found.named("video") if "data-same" in video]
    assert same == [f"concept-{c}" for c in order[:3]]  # on the first screen
    links = {a["href"] for a in found.named("a")}
    assert all(f"#concept-{c}" in links for c in (*order[:3], last))


def test_clips_stay_within_their_room(make, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 16, 96, 96, 3), np.uint8)
    base = make()
    clips = Clips.make(noise, [f"clip {i}" for i in range(3)], masks={"target": noise[..., 0] > 200})
    concepts = base.concepts
    kept = concepts.tubelets.video < 3
    tubelets = replace(concepts.tubelets, **{n: getattr(concepts.tubelets, n)[kept] for n in vars(concepts.tubelets)})
    concepts = replace(
        concepts,
        tubelets=tubelets,
        assignment=concepts.assignment[kept],
        weights=concepts.weights[kept],
        memberships=concepts.memberships[kept],
        labels=replace(concepts.labels, packed={site: clips[:3] for site, clips in concepts.labels.packed.items()}),
        video_names=clips.names,
        video_hashes=clips.hashes,
    )
    importance = tuple(
        replace(found, per_video=found.per_video[:3], present=found.present[:3], baseline=found.baseline[:3])
        for found in base.importance
    )
    data = replace(base, clips=ShownClips.of(clips), concepts=concepts, importance=importance, overlaps=())

    def size(room: int) -> int:
        found = page(data, tmp_path, top=1, clips_each=2, max_bytes=room)
        return sum(len(video.get("data-src") or "") for video in found.named("video"))

    assert size(12_000_000) > 400_000 > size(400_000) > 0


def test_a_report_needs_neither_curves_nor_classes_nor_several_clips(make, clips, tmp_path):
    nothing = {
        "curves": None,
        "convergence": None,
        "layers": {},
        "overlaps": (),
        "interactions": None,
        "baselines": (),
        "notes": (),
    }
    data = make(clips=clips[:1], settings={}, versions={}, **nothing)
    assert np.isnan(data.importance[0].se_videos).all()
    importance = tuple(replace(found, score="reconstruction") for found in data.importance[:1])
    found = page(replace(data, importance=importance), tmp_path, top=1)
    assert not re.search(r"\bnan\b", found.text.lower())
    assert "none (self-supervised)" in found.text
    assert not any("for new clips" in (cell.get("title") or "") for cell in found.named("td"))
    assert not any(section.get("id") in ("curves", "overlap") for section in found.named("section"))


def test_parts_that_do_not_belong_together_are_refused(make, clips):
    data = make()
    with pytest.raises(InputError, match="at least one importance"):
        replace(data, importance=())
    with pytest.raises(InputError, match="not the clips of its concepts"):
        replace(data, clips=ShownClips.of(clips[:2]))
    with pytest.raises(InputError, match=r"'probability' is \[7, 5\]"):
        broken = replace(data.importance[0], per_video=data.importance[0].per_video[:, :5])
        replace(data, importance=(broken,))
    with pytest.raises(InputError, match="concept 99, but there are 16"):
        replace(data, overlaps=(overlap("target", 99),))


def test_senseless_numbers_and_unknown_methods_are_refused(make, tmp_path):
    for options in ({"top": -1}, {"clips_each": 0}, {"fps": 0.0}):
        with pytest.raises(InputError, match="a report needs"):
            report.write(tmp_path / "new", make(), **options)
    with pytest.raises(InputError, match="no citation for 'vtdc'; nearest: 'vtcd'"):
        report.write(tmp_path / "new", make(methods=("vtdc",)), top=0)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_a_failure_of_the_disk(make, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OSError):
        report.write(tmp_path / "taken", make(overlaps=()), top=0)


def test_describe_names_family_sizes_and_parameters():
    from vtcd_jax import models
    from vtcd_jax.models.families.videomae import VideoMAEConfig

    config = VideoMAEConfig(image_size=16, patch_size=8, num_frames=4, width=16, depth=1, num_heads=2, num_classes=3)
    params = {"head": {"kernel": np.zeros((16, 3)), "bias": np.zeros(3)}}
    model = models.Model(
        params,
        module=models.all_families()[config.family].module(config),
        config=config,
        preprocessing=models.Preprocessing(4, 16, 16),
    )
    assert describe(model) == (
        "VideoMAE classifier · width 16 · depth 1 · 2 heads · 4 × 16 × 16 clips · patches of 2 × 8 × 8"
        " · 5.1e-05 M parameters"
    )


def test_importing_the_report_loads_no_heavy_package():
    code = (
        "import sys, vtcd_jax.report as r; r.write, r.ReportData, r.save_clip, r.overlay\n"
        "print([m for m in ('jinja2', 'av', 'matplotlib', 'skimage', 'scipy') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
