"""The built site needs nothing from elsewhere, and each of its links leads somewhere.

``make test-docs`` builds it and names its folder in ``TVFEAST_TEST_SITE``.
"""

from __future__ import annotations

import os
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

SITE = Path(os.environ.get("TVFEAST_TEST_SITE", ""))
pytestmark = pytest.mark.skipif(
    "TVFEAST_TEST_SITE" not in os.environ, reason="make test-docs builds the site first"
)
_LOADS = {"script", "img", "link", "iframe", "source", "video", "audio", "object", "embed"}


class Page(HTMLParser):
    """What a page loads, where it leads, and where links into it may lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given.get("id", ""), given.get("name", "")}
        to = given.get("src") or given.get("href") or given.get("data") or ""
        if tag in _LOADS and given.get("rel") not in {"prev", "next", "index", "search"}:
            self.loads.append(to)
        elif tag == "a" and to:
            self.leads.append(to)


@cache
def page(path: Path) -> Page:
    return Page(path)


def pages() -> list[Path]:
    found = sorted(SITE.rglob("*.html"))
    assert len(found) > 25, "the site is not there"
    return found


def test_nothing_is_loaded_from_elsewhere():
    loads = {(path.name, to) for path in pages() for to in page(path).loads}
    assert [each for each in loads if urlsplit(each[1]).scheme not in {"", "data"}] == []
    styles = "".join(path.read_text() for path in SITE.rglob("*.css"))
    named = set(re.findall(r"(?:url\(|@import )['\"]?([^'\")]+)", styles))
    assert [url for url in named if urlsplit(url).scheme not in {"", "data"}] == []


def test_links_lead_to_pages_and_places_of_the_site():
    lost = []
    for path in pages():
        for to in page(path).leads:
            parts = urlsplit(to)
            if parts.scheme or to == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file() or (
                target.suffix == ".html" and unquote(parts.fragment) not in page(target).anchors
            ):
                lost.append(f"{path.relative_to(SITE)}: {to}")
    assert lost == []


def test_tables_that_commands_print_scroll_and_sentences_do_not():
    tables = re.findall(
        r'<span class="table" tabindex="0">(.*?\n)</span>',
        (SITE / "tutorial.html").read_text(),
        re.DOTALL,
    )
    rows = [re.sub("<[^>]+>", "", table).splitlines() for table in tables]
    assert [len(each) for each in rows] == [5, 3, 7, 5]
    assert rows[1][0].split() == ["flow", "symbols", "started", "ago", "every", "state"]
    assert rows[2][-1].split()[:2] == ["5", "NYSE:BRK.B"]
