"""``docs/feast_surface.md`` from the tests: ``python -m tests.feast_surface.document``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

from tests.feast_surface.surface import KINDS, Line

AREAS = {
    "commands": "test_surface_commands",
    "reading": "test_surface_reading",
    "types": "test_surface_types",
    "writing": "test_surface_writing",
    "logging": "test_surface_logging",
    "documents": "test_surface_documents",
    "views": "test_surface_views",
    "servers": "test_surface_servers",
    "monitoring": "test_surface_monitoring",
    "integrations": "test_surface_integrations",
}
"""The modules of the tests, by what they are about, in the order of the document."""

_PREFACE = """\
# Feast's surface on our stores

Generated from `tests/feast_surface/` by `make docs`; do not edit. What can be done with Feast 0.67,
tried on its own stores (offline `file`, online `sqlite`, engine `local`, the registry as it comes:
*stock*) and on those of `ingestion/plugins/` (*ours*). Each line is a test that runs on both, and
proves what it says of both: "works" is a test that passes, "refused" an error with that sentence,
"fails" a wrong answer or an error of the store itself, and "broken in Feast" one whose cause lies
outside of any store: these are listed here, and not repaired.

| | what | stock | ours | remark |
|---|---|---|---|---|
"""


def surface_markdown() -> str:
    """Return the whole document."""
    return _PREFACE + "".join(f"| {' | '.join(cells)} |\n" for cells in _rows())


def lines_of(module: ModuleType) -> list[Line]:
    """Return the lines of a module's tests, in their order."""
    return [test.line for test in vars(module).values() if hasattr(test, "line")]


def _rows() -> Iterator[list[str]]:
    for area, name in AREAS.items():
        module = importlib.import_module(f"tests.feast_surface.{name}")
        for number, line in enumerate(lines_of(module)):
            first = "" if number else f"**{area}**"
            cells = [line.outcomes[kind].cell for kind in KINDS]
            yield [first, line.subject, *cells, line.remark]


if __name__ == "__main__":
    sys.stdout.write(surface_markdown())
