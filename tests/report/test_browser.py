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
        assert visit.page.evaluate(f"{videos}.every(v => v.videoWidth === 192 && v.error === null)")
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
    values = [float(text) for text in visit.column(9)]
    assert values == sorted(values, reverse=True) and visit.names() != ranked
    assert visit.page.locator("th[aria-sort]").all_inner_texts()[0].startswith("Silhouette")
    assert visit.page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    spread.click()
    values = [float(text) for text in visit.column(9)]
    assert values == sorted(values)
    visit.page.get_by_role("button", name="Concept", exact=True).click()
    assert visit.names() == sorted(ranked)
    importance = visit.page.get_by_role("button", name="Importance")
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
    visit.until("document.querySelector('video').readyState >= 2")
    assert visit.page.evaluate("[...document.querySelectorAll('video')].every(v => v.paused)")
    visit.page.get_by_role("button", name="Play clips").click()
    visit.until("document.querySelector('video').currentTime > 0")
    visit.page.close()


@pytest.mark.parametrize("width", [400, 760, 1280, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_window(browser, path, width, scheme):
    visit = Visit(browser, path, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in background.strip("rgb()").split(","))
    assert brightness > 600 if scheme == "light" else brightness < 150
    visit.page.close()
