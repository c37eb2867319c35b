"""Other rooms use the lakehouse's verbs: none of them knows how it keeps its files."""

from __future__ import annotations

import re
from pathlib import Path

import ingestion

_ROOT = Path(ingestion.__file__).parent
_OTHERS = ("bars", "cli", "feast_objects", "jobs", "markets", "quality", "runs")
_KNOWS_FILES = re.compile(
    r"""["'f/]_runs\b(?!/<)|["']_tmp\b|\b(?:root|lakehouse)\s*/|\.(?:iterdir|r?glob|scandir)\("""
    r"""|\bfcntl\b|\bfsync\(|\.hardlink_to\(|\.relative_to\((?:root|lakehouse|[a-z]+\.lakehouse)"""
)
_NOT_YET = {
    # Folders of the project, not of the lakehouse.
    "quality/waivers.py": 1,
    "jobs/workspace.py": 1,
}
"""Lines that may still do so, by module. Make the numbers smaller, never greater."""


def test_no_other_room_knows_how_the_lakehouse_keeps_its_files() -> None:
    found: dict[str, list[str]] = {}
    for room in _OTHERS:
        for path in sorted((_ROOT / room).rglob("*.py")):
            for line in path.read_text().splitlines():
                if _KNOWS_FILES.search(line):
                    found.setdefault(path.relative_to(_ROOT).as_posix(), []).append(line.strip())
    more = {name: lines for name, lines in found.items() if len(lines) > _NOT_YET.get(name, 0)}
    fewer = {name: most for name, most in _NOT_YET.items() if len(found.get(name, ())) < most}
    assert more == {}
    assert fewer == {}, "fewer than listed: make the number smaller"


_CHANGES_FILES = re.compile(
    r"""["']_(?:runs|tmp|columns)\b|\bflock\b|\bfsync\(|\.hardlink_to\(|\.unlink\(|\.rmtree\("""
    r"""|\.i(?:terdir)\(|\.replace\((?:target|unfinished)|\.mkdir\("""
)


def test_two_modules_alone_change_files() -> None:
    """Another place for a lakehouse, such as an object store, does otherwise what is in these."""
    changing = {
        path.name
        for path in (_ROOT / "lakehouse").glob("*.py")
        if _CHANGES_FILES.search(path.read_text())
    }
    assert changing == {
        "foreign.py",  # lists whatever is in the folder
        "local_disk.py",
        "lock.py",
    }
