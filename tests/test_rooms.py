"""A room imports only rooms above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ROOMS = (
    ("ingestion.base",),
    ("ingestion.catalog",),
    ("ingestion.lakehouse",),
    ("ingestion.markets",),
    ("ingestion.formulas",),
    ("ingestion.project",),
    ("ingestion.runs",),
    ("ingestion.scanner",),
    ("ingestion.bars",),
    ("ingestion.sources",),
    ("ingestion.quality",),
    ("ingestion.plugins",),
    ("ingestion.datasets",),
    ("ingestion.replay",),
    ("ingestion.feast_objects",),
    ("ingestion.report",),
    ("ingestion.jobs",),
    ("ingestion.cli",),
    ("ingestion.local", "feature_repo"),
)
"""From the top down; rooms of one line may import each other.

Jobs compare Feast's registry with the catalog, so the objects for Feast are above them.
"""

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
        (("ingestion/formulas", "ingestion/bars", "ingestion/datasets"), {"requests", "feast"}),
        (("ingestion/lakehouse", "ingestion/quality", "ingestion/runs"), {"requests", "feast"}),
        (("ingestion/catalog",), {"pyarrow", "feast", "requests"}),
    ],
)
def test_rooms_do_not_know_what_they_must_not(rooms: tuple[str, ...], forbidden: set[str]):
    for folder in rooms:
        for path in (ROOT / folder).rglob("*.py"):
            assert not {name.partition(".")[0] for name in imported(path)} & forbidden, path


def test_the_plug_ins_serve_any_feast_repository():
    """Of the project they know the base alone: no lakehouse, no catalog."""
    for path in (ROOT / "ingestion" / "plugins").rglob("*.py"):
        own = {name for name in imported(path) if name.startswith(("ingestion.", "feature_repo"))}
        assert all(name.startswith(("ingestion.base", "ingestion.plugins")) for name in own), path


def test_the_library_never_imports_the_feast_repository():
    for path in (ROOT / "ingestion").rglob("*.py"):
        assert not any(name.startswith("feature_repo") for name in imported(path)), path
