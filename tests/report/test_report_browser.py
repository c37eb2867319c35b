"""The report in a browser: nothing overlaps, is cut off, faint, empty or without a unit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingestion.report.page import page
from tests.report.browser import CHROMIUM, WHY_NOT, Page, browser
from tests.report.examples import report
from tests.report.page_checks import faults

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(report()), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize(
    ("width", "dark"), [(1400, True), (1180, False), (768, False), (400, False), (400, True)]
)
def test_every_kind_of_content_is_readable(chromium: Page, file: str, width: int, dark: bool):
    chromium.open(file, width, dark=dark)
    assert not faults(chromium)


def test_what_is_wrong_is_found(chromium: Page, file: str):
    chromium.open(file, 1400)
    chromium.run(
        """(() => {
          document.querySelector(".lead").style.color = "#ccc";
          document.querySelector("#plots .lead").style.marginLeft = "2000px";
          document.querySelector("#tables-title").style.marginBottom = "-30px";
          const figure = document.querySelector("[data-key=calendar]");
          figure.querySelectorAll("svg rect").forEach((each) => each.remove());
          figure.querySelector(".axis.y").textContent = "day";
          console.error("something is wrong");
          return fetch("https://example.invalid/").catch(() => 0);
        })()"""
    )
    found = faults(chromium)
    assert {"faint", "clipped", "over", "empty", "bare", "complaints"} <= found.keys()
    assert found["empty"] == ["calendar"]


def test_the_switch_changes_the_colours_and_says_so(chromium: Page, file: str):
    chromium.open(file, 400)
    paper = "getComputedStyle(document.body).backgroundColor"
    before = chromium.run(paper)
    label = "document.getElementById('theme').getAttribute('aria-label')"
    assert chromium.run(label) == "Switch to dark colours"
    chromium.run("document.getElementById('theme').click()")
    assert chromium.run(paper) != before
    assert chromium.run(label) == "Switch to light colours"
    assert not faults(chromium)
    chromium.run("document.getElementById('theme').click()")
    assert chromium.run(paper) == before


def test_the_search_leaves_the_features_that_have_all_words(chromium: Page, file: str):
    chromium.open(file, 1400)
    chromium.run(
        """(() => { const search = document.getElementById("search");
          search.value = "rsi selection";
          search.dispatchEvent(new Event("input")); })()"""
    )
    names = (
        "[...document.querySelectorAll('article.feature:not([hidden]) > h4')]"
        ".map((each) => each.textContent)"
    )
    assert chromium.run(names) == ["RSI"]
    assert chromium.run("document.getElementById('found').textContent") == "1 of 3 features"


def test_the_figures_of_a_plot_are_a_table(chromium: Page, file: str):
    chromium.open(file, 1400)
    chromium.run("document.querySelector('[data-key=bars] details').open = true")
    chromium.wait("document.querySelector('[data-key=bars] details table')")
    rows = (
        "[...document.querySelectorAll('[data-key=bars] details tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert chromium.run(rows)[0] == ["NASDAQ", "5", "c"]


def test_the_keyboard_reaches_the_report_first(chromium: Page, file: str):
    chromium.open(file, 1400)
    for kind in ("keyDown", "keyUp"):
        chromium.send("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab",
                      windowsVirtualKeyCode=9)  # fmt: skip
    assert chromium.run("document.activeElement.textContent") == "Skip to the report"
    assert chromium.run("document.activeElement.getBoundingClientRect().left") >= 0
