"""The report as a browser shows it: quiet, offline, playing, sortable."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vtcd_jax import report

pytestmark = pytest.mark.browser

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
CARDS, CLIPS = 4, 3


@pytest.fixture(scope="module")
def browser() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser` (playwright)")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs Chromium on the PATH (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=program, headless=True, args=list(QUIET))
        yield found
        found.close()


@pytest.fixture(scope="module")
def path(make, tmp_path_factory) -> Path:
    return report.write(tmp_path_factory.mktemp("report"), make(overlaps=()), top=CARDS, clips_each=CLIPS)


class Visit:
    """An open page with everything that it complained about or asked for."""

    def __init__(self, browser, path: Path, **options):
        self.page = browser.new_page(**options)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def until(self, expression: str, seconds: float = 20) -> None:
        """Waits for a JavaScript expression. (Playwright's own waiting needs `eval`, which the page forbids.)"""
        end = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"never became true: {expression}; complaints: {self.complaints}"
            self.page.wait_for_timeout(50)

    def names(self) -> list[str]:
        return self.page.locator("#concepts tbody tr:visible th").all_inner_texts()

    def column(self, number: int) -> list[str]:
        cells = self.page.locator(f"#concepts tbody tr:visible > :nth-child({number})")
        return [text.strip() for text in cells.all_inner_texts()]


@pytest.fixture
def visit(browser, path) -> Iterator[Visit]:
    found = Visit(browser, path, viewport={"width": 1280, "height": 900})
    yield found
    found.page.close()


def test_every_clip_plays_without_a_complaint_or_a_request(visit):
    for card in range(CARDS):
        visit.page.locator("article").nth(card).scroll_into_view_if_needed()
        videos = f"[...document.querySelectorAll('article')[{card}].querySelectorAll('video')]"
        visit.until(f"{videos}.length === {CLIPS} && {videos}.every(v => v.readyState >= 2 && !v.paused)")
        visit.page.evaluate(f"window.before = {videos}.map(v => v.currentTime)")
        visit.until(f"{videos}.every((v, i) => v.currentTime !== window.before[i])")
        assert visit.page.evaluate(
            f"{videos}.every(v => v.videoWidth === 192 && v.videoHeight === 576 && v.error === null)"
        )
    assert visit.complaints == []
    assert visit.requests
    assert [url[:60] for url in visit.requests if not url.startswith(("file:", "data:"))] == []


def test_the_page_forbids_requests_to_itself(visit):
    blocked = visit.page.evaluate(
        """() => new Promise(resolve => {
            document.addEventListener("securitypolicyviolation", event => resolve(event.blockedURI));
            const image = new Image();
            image.src = "http://127.0.0.1:9/pixel";
        })"""
    )
    assert blocked == "http://127.0.0.1:9/pixel"
    assert visit.page.evaluate(
        """() => { document.body.insertAdjacentHTML("beforeend", "<p id=p onclick='window.ran = 1'>x</p>");
                   document.getElementById("p").click(); return window.ran === undefined; }"""
    )


def test_heads_sort_the_table_both_ways(visit, make):
    data = make()
    first = data.importance[0]
    ranked = [data.concepts.titles[c] for c in first.order()]
    assert visit.names() == ranked
    spread = visit.page.get_by_role("button", name="Silhouette")
    spread.click()
    values = [float(text) for text in visit.column(10)]
    assert values == sorted(values, reverse=True) and visit.names() != ranked
    assert visit.page.locator("th[aria-sort]").all_inner_texts()[0].startswith("Silhouette")
    assert visit.page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    spread.click()
    values = [float(text) for text in visit.column(10)]
    assert values == sorted(values)
    visit.page.get_by_role("button", name="Concept", exact=True).click()
    assert visit.names() == sorted(ranked)
    importance = visit.page.locator("#concepts").get_by_role("button", name="Importance")
    importance.click()
    assert visit.names() == ranked
    importance.click()
    assert visit.names() == ranked[::-1]
    visit.page.get_by_role("button", name="Rank").click()
    assert visit.names() == ranked
    assert visit.complaints == []


def test_unknown_numbers_sort_last_in_both_directions(browser, make, tmp_path):
    from dataclasses import replace

    import numpy as np

    data = make(overlaps=())
    silhouette = data.concepts.silhouette.copy()
    silhouette[3] = np.nan
    concepts = replace(data.concepts, silhouette=silhouette)
    visit = Visit(browser, report.write(tmp_path, replace(data, concepts=concepts), top=0))
    for _ in range(2):
        visit.page.get_by_role("button", name="Silhouette").click()
        assert visit.names()[-1] == data.concepts.titles[3]
    visit.page.close()


def test_filters_leave_the_matching_rows(visit):
    everything = visit.names()
    visit.page.select_option("#layer", label="3")
    assert visit.names() == [name for name in everything if name.startswith("block 3, ")]
    visit.page.select_option("#head", label="1")
    assert visit.names() == [name for name in everything if name.startswith("block 3, head 1, ")]
    assert visit.page.inner_text("#count") == f"4 of {len(everything)}"
    visit.page.fill("#text", "CONCEPT 2")
    assert visit.names() == ["block 3, head 1, concept 2"]
    visit.page.fill("#text", "b3.h1.c2")
    assert visit.names() == ["block 3, head 1, concept 2"]
    visit.page.fill("#text", "nothing")
    assert visit.names() == []
    visit.page.fill("#text", "")
    visit.page.select_option("#layer", "")
    visit.page.select_option("#head", "")
    assert visit.names() == everything
    assert visit.complaints == []


def test_filters_leave_the_matching_cards_and_stay_in_the_address(browser, path, visit):
    cards = "[...document.querySelectorAll('article')].filter(a => !a.hidden).map(a => a.querySelector('h3').innerText)"
    every = visit.page.evaluate(cards)
    visit.page.select_option("#layer", label="3")
    kept = visit.page.evaluate(cards)
    assert kept == [name for name in every if "block 3" in name] and 0 < len(kept) < len(every)
    assert visit.page.url.endswith("?layer=1")  # the second site
    again = Visit(browser, path, viewport={"width": 1280, "height": 900})
    again.page.goto(visit.page.url)
    assert again.page.evaluate(cards) == kept and again.names() == visit.names()
    again.page.close()
    visit.page.select_option("#layer", "")
    assert visit.page.evaluate(cards) == every and "?" not in visit.page.url
    assert visit.complaints == []


def test_the_map_of_heads_filters_and_a_second_click_takes_it_back(visit):
    everything = visit.names()
    cells = visit.page.locator(".map button")
    assert cells.count() == 4 and cells.first.get_attribute("aria-label").startswith("layer 3, head 0: 4 concepts")
    cells.first.click()
    assert visit.names() == [name for name in everything if name.startswith("block 3, head 0, ")]
    assert cells.first.get_attribute("aria-pressed") == "true"
    cells.first.focus()
    visit.page.keyboard.press("Enter")
    assert visit.names() == everything and cells.first.get_attribute("aria-pressed") == "false"
    assert visit.complaints == []


def test_the_first_screen_has_the_verdict_the_strongest_playing_and_the_map(browser, path):
    visit = Visit(browser, path, viewport={"width": 1440, "height": 900})
    visit.until("[...document.querySelectorAll('.five video')].every(v => v.readyState >= 2 && !v.paused)")
    for part in (".says", ".checks", ".five li:last-child .errorbar", ".map"):
        box = visit.page.locator(part).last.bounding_box()
        assert box["y"] + box["height"] <= 900, part
    assert visit.page.locator(".five video").count() == CARDS and visit.complaints == []
    visit.page.close()


def test_a_switch_shows_the_clip_as_it_is_with_an_overlay_or_an_outline(visit):
    """The three pictures of a video; the window shows one of them, whole."""
    film = visit.page.locator("article .film").first
    film.scroll_into_view_if_needed()
    seen = {}
    for view in ("overlay", "original", "outline"):
        visit.page.select_option("#view", view)
        seen[view] = visit.page.evaluate(
            """() => { const film = document.querySelector("article .film"), video = film.querySelector("video");
                       const [f, v] = [film.getBoundingClientRect(), video.getBoundingClientRect()];
                       return [(f.top - v.top) / f.height, v.height / f.height]; }"""
        )
    assert {view: [round(value, 2) for value in values] for view, values in seen.items()} == {
        "original": [0, 3], "overlay": [1, 3], "outline": [2, 3],
    }  # fmt: skip
    visit.page.locator("body").press("o")
    assert visit.page.input_value("#view") == "overlay"
    assert visit.complaints == []


def test_a_printed_report_has_a_picture_for_every_clip(visit):
    visit.page.emulate_media(media="print")
    shown = "e => e.offsetWidth > 60 && e.offsetHeight > 60 && e.complete && e.naturalWidth === 192"
    assert visit.page.evaluate(f"[...document.querySelectorAll('article img')].every({shown})")
    assert visit.page.evaluate("document.querySelectorAll('article img').length") == CARDS * CLIPS
    assert visit.page.evaluate("[...document.querySelectorAll('video')].every(v => v.offsetWidth === 0)")
    assert visit.page.evaluate("document.querySelector('nav').offsetHeight") == 0
    assert visit.page.evaluate(
        "document.querySelector('.scroll').scrollHeight <= document.querySelector('.scroll').clientHeight + 2"
    )


def test_a_click_on_a_row_leads_to_its_card(visit, make):
    third = int(make().importance[0].order()[2])
    visit.page.locator("#concepts tbody tr").nth(2).locator("td").nth(4).click()
    visit.until(
        f"() => {{ const box = document.getElementById('concept-{third}').getBoundingClientRect();"
        " return box.top >= 0 && box.top < innerHeight - 200; }"
    )
    assert visit.page.url.endswith(f"#concept-{third}")


def test_one_button_stops_and_starts_all_clips(visit):
    visit.page.locator("article").first.scroll_into_view_if_needed()
    loaded = "[...document.querySelectorAll('video[src]')]"
    visit.until(f"{loaded}.length >= {CLIPS} && {loaded}.every(v => !v.paused)")
    visit.page.get_by_role("button", name="Pause clips").click()
    assert visit.page.evaluate(f"{loaded}.every(v => v.paused)")
    visit.page.get_by_role("button", name="Play clips").click()
    visit.until(f"{loaded}.every(v => !v.paused)")
    assert visit.complaints == []


def test_clips_wait_where_the_reader_wants_little_motion(browser, path):
    visit = Visit(browser, path, reduced_motion="reduce")
    visit.page.locator("article").first.scroll_into_view_if_needed()
    visit.until("document.querySelector('video[src]').readyState >= 2")
    assert visit.page.evaluate("[...document.querySelectorAll('video')].every(v => v.paused)")
    visit.page.get_by_role("button", name="Play clips").click()
    visit.until("document.querySelector('video[src]').currentTime > 0")
    visit.page.close()


@pytest.mark.parametrize("width", [320, 400, 760, 1280, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_window(browser, path, width, scheme):
    visit = Visit(browser, path, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in background.strip("rgb()").split(","))
    assert brightness > 600 if scheme == "light" else brightness < 150
    visit.page.close()
