"""Every link of README and its like, and of the site, leads to a file and to a heading there.

Links to other hosts are listed by ``python -m tests.docs.test_links``, and not followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from ingestion.cli.reference import with_code

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_CODE = re.compile(r"^(`{3,}).*?^\1$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_IMAGE = re.compile(r"^```\{(?:image|figure)\} (\S+)$", re.MULTILINE)


class Link(NamedTuple):
    """A link, and where it stands."""

    page: Path
    target: str

    @property
    def outside(self) -> bool:
        return re.match(r"[a-z]+:", self.target) is not None


def links(page: Path) -> Iterator[Link]:
    """Yield the links of a page that are no code."""
    text = page.read_text()
    for found in (*_LINK.finditer(_CODE.sub("", text)), *_IMAGE.finditer(text)):
        yield Link(page, found[1])


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings, as GitHub and the site name them."""
    text = re.sub(r"^(`{3,}).*?^\1$", "", with_code(page.read_text()), flags=re.M | re.S)
    return frozenset(anchor(heading) for heading in _HEADING.findall(text))


def anchor(heading: str) -> str:
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def fault(link: Link) -> str:
    """Return what is wrong with a link inside the project, if anything is."""
    name, _, heading = link.target.partition("#")
    path = (link.page.parent / name).resolve() if name else link.page
    if not path.exists():
        return f"{link.target}: there is no such file"
    if heading and heading not in anchors(path):
        return f"{link.target}: there is no such heading"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path):
    faults = [fault(link) for link in links(page) if not link.outside]
    assert [text for text in faults if text] == []


def test_a_link_to_nothing_is_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# The `heading`\n[a](#the-heading) [b](#other) [c](gone.md) `[d](e.md)`\n")
    assert [fault(link) for link in links(page)] == [
        "",
        "#other: there is no such heading",
        "gone.md: there is no such file",
    ]


def test_every_page_of_the_site_is_reached_from_its_index():
    index = ROOT / "docs" / "index.md"
    notebooks = {place.resolve() for place in (index.parent / "notebooks").glob("*.ipynb")}
    listed = {
        (index.parent / f"{line.strip()}{_suffix(line)}").resolve()
        for block in re.findall(r"```\{toctree\}\n(.*?)```", index.read_text(), re.DOTALL)
        for line in block.splitlines()
        if line and not line.startswith(":")
    }
    assert {page for page in PAGES if page.parent != ROOT} - {index} | notebooks == listed


def _suffix(entry: str) -> str:
    return ".ipynb" if entry.startswith("notebooks/") else ".md"


if __name__ == "__main__":
    for found in sorted({link for page in PAGES for link in links(page) if link.outside}):
        print(f"{found.page.relative_to(ROOT)}: {found.target}")
