"""The reference says of the code what the code says of itself."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ingestion.base import errors
from ingestion.base.settings import VARIABLES
from ingestion.cli.commands import cli
from ingestion.cli.reference import with_code

ROOT = Path(__file__).resolve().parent.parent.parent
REFERENCE = ROOT / "docs" / "reference"


@pytest.mark.parametrize("command", cli.list_commands())
def test_each_command_has_a_section_with_its_help(command: str):
    page = with_code((REFERENCE / "commands.md").read_text())
    section = page.split(f"\n### `tvfeast {command}`\n")[1].split("\n### ")[0]
    assert f"Usage: tvfeast {command}" in section
    assert "--help" in section


def test_subcommands_have_a_section_too():
    page = with_code((REFERENCE / "commands.md").read_text())
    assert "#### `tvfeast universe show`" in page


def test_every_variable_that_the_code_reads_is_in_the_table():
    """A name is read where a module has it as a string of its own."""
    read = {
        node.value
        for path in (ROOT / "ingestion").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"TVFEAST_[A-Z_]*[A-Z]", node.value)
    }
    assert read == set(VARIABLES)
    page = with_code((REFERENCE / "settings.md").read_text())
    assert all(f"| `{name}` |" in page for name in VARIABLES)


def test_every_error_is_listed_with_its_exit_code():
    page = with_code((REFERENCE / "settings.md").read_text())
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.TvfeastError):
            row = next(line for line in page.splitlines() if f"`{name}`" in line)
            assert row.startswith(f"| {kind.exit_code} |")
