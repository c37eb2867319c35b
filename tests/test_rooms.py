"""A room imports only rooms above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ROOMS = (
    ("ingestion.errors", "ingestion.redaction", "ingestion.settings", "ingestion.clock"),
    ("ingestion.reading", "ingestion.folders", "ingestion.spill", "ingestion.store_files"),
    ("feature_repo.catalog",),
    (
        *("ingestion.symbols", "ingestion.candidates"),
        *("ingestion.exchanges", "ingestion.calendars"),
        *("ingestion.hours", "ingestion.closes", "ingestion.sessions"),
        "ingestion.placing",
    ),
    ("ingestion.lakehouse",),
    ("ingestion.scanner",),
    ("ingestion.bars", "ingestion.local", "ingestion.labels"),
    ("ingestion.quality",),
    ("ingestion.replay",),
    ("feature_repo.stores",),
    ("feature_repo.entities", "feature_repo.views", "feature_repo.services"),
    ("feature_repo.definitions", "ingestion.workspace"),
    ("ingestion.jobs",),
    ("ingestion.render", "ingestion.options"),
    ("ingestion.commands",),
    ("ingestion.cli",),
)
"""From the top down; rooms of one line may import each other."""

MODULES = [
    path.relative_to(ROOT).with_suffix("")
    for folder in ("ingestion", "feature_repo")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.parent != ROOT / folder or path.name != "__init__.py"
]


def room(module: str) -> int | None:
    for number, names in enumerate(ROOMS):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return number
    return None


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda module: ".".join(module.parts))
def test_a_module_imports_only_what_is_above_its_room(module: Path):
    name = ".".join(module.parts).removesuffix(".__init__")
    own = room(name)
    assert own is not None, f"{name} is in no room"
    below = {
        other for other in imported(ROOT / module.with_suffix(".py")) if (room(other) or 0) > own
    }
    assert not below


@pytest.mark.parametrize(
    ("rooms", "forbidden"),
    [
        (("ingestion/scanner",), {"pyarrow", "feast", "pandas"}),
        (("ingestion/local", "ingestion/bars", "ingestion/labels"), {"requests", "feast"}),
        (("ingestion/lakehouse", "ingestion/quality"), {"requests", "feast"}),
        (("feature_repo/catalog",), {"pyarrow", "feast", "requests", "pathlib"}),
    ],
)
def test_rooms_do_not_know_what_they_must_not(rooms: tuple[str, ...], forbidden: set[str]):
    for folder in rooms:
        for path in (ROOT / folder).rglob("*.py"):
            assert not {name.partition(".")[0] for name in imported(path)} & forbidden, path


def test_the_stores_serve_any_feast_repository():
    """Of the project they know errors, now, and what other processes do to files: no lakehouse."""
    known = (
        *("ingestion.errors", "ingestion.clock", "ingestion.reading", "ingestion.folders"),
        "feature_repo.stores",
    )
    for path in (ROOT / "feature_repo" / "stores").rglob("*.py"):
        own = {name for name in imported(path) if name.startswith(("ingestion.", "feature_repo."))}
        assert all(name.startswith(known) for name in own), path
