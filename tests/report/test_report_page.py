"""The report's page: one file, whose texts are texts, and which asks for nothing."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

import ingestion.report
from ingestion.report.contents import Mark
from ingestion.report.page import page
from tests.report.examples import report

ASSETS = Path(ingestion.report.__file__).parent / "assets"
LIBRARIES = {
    "d3.min.js": "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1",
    "plot.umd.min.js": "4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb",
}


class Read(HTMLParser):
    """Tags with their attributes, and the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_libraries_are_as_they_were_published(name: str):
    assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == LIBRARIES[name]


def test_nothing_is_loaded_from_elsewhere():
    tags = Read(page(report())).tags
    sources = [
        value
        for tag, attributes in tags
        for name in ("src", "href", "data", "action", "srcset", "poster")
        if (value := attributes.get(name)) and tag != "a"
    ]
    assert sources == ["data:,"]
    links = [attributes["href"] for tag, attributes in tags if tag == "a"]
    assert links
    assert all(link and link.startswith("#") for link in links)
    style = (ASSETS / "report.css").read_text()
    assert "@import" not in style
    assert "url(" not in style


def test_every_link_has_its_place_and_every_id_is_there_once():
    tags = Read(page(report())).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in tags:
        for name in ("aria-labelledby", "for"):
            assert attributes.get(name) in {*ids, None}
        if (link := attributes.get("href")) and link.startswith("#"):
            assert link[1:] in ids


def test_a_text_is_never_markup():
    text = page(report())
    assert "<b>marks" not in text
    assert "alert(1)</script>" not in text
    assert "Markets with &lt;b&gt;marks&lt;/b&gt;" in text


def test_the_figures_of_each_plot_are_in_the_page():
    scripts = Read(page(report())).scripts
    told = json.loads(scripts[0])
    assert {each["kind"] for each in told} == {
        "calendar", "matrix", "bands", "histogram", "lines", "stacked", "bars",
    }  # fmt: skip
    for each in told:
        lengths = {len(column) for column in each["columns"].values()}
        assert len(lengths) == 1
        assert lengths > {0} or lengths != {0}


def test_headings_descend_one_level_at_a_time():
    levels = [int(tag[1]) for tag, _ in Read(page(report())).tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    for before, after in pairwise(levels):
        assert after <= before + 1


@pytest.mark.parametrize("mark", [Mark.GOOD, Mark.CARE, Mark.BAD])
def test_the_first_heading_is_the_answer(mark: Mark):
    text = page(report(mark))
    assert text.index("May I trade on today’s rows?") < text.index("Yes, with care.</h1>")
    assert f'class="verdict {mark}"' in text


def test_two_plots_of_one_key_are_refused():
    once = report()
    with pytest.raises(ValueError, match="one key"):
        page(replace(once, sections=[*once.sections, once.sections[1]]))
