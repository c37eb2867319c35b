"""What a run leaves of the user's own is the user's own, whatever the umask."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ingestion.cli import entry as cli
from ingestion.cli.commands import cli as commands
from ingestion.lakehouse import LocalDisk, write_run_file
from ingestion.project import Project
from tests.conftest import MONDAY, SAMPLE
from tests.processes import Command, Forge, project_of


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def materialize() -> click.Command:
    """Return the command, which is imported when it is asked for."""
    command = commands.get_command(click.Context(commands), "materialize")
    assert command is not None
    return command


def others_may(path: Path) -> int:
    return path.stat().st_mode & 0o077


@pytest.mark.usefixtures("umask")
def test_a_receipt_is_its_owners_alone(tmp_path: Path) -> None:
    for _ in range(2):  # also one that replaces another
        receipt = write_run_file(LocalDisk(tmp_path), "run", "receipt.json", b"{}")
        assert others_may(receipt.path) == 0
        assert receipt.path.read_bytes() == b"{}"


@pytest.mark.usefixtures("umask")
def test_the_log_of_an_internal_error_is_its_owners_alone(
    settings: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(materialize(), "callback", broken)
    monkeypatch.setattr(sys, "argv", ["tvfeast", "materialize"])
    for entries in (1, 2):
        with pytest.raises(SystemExit):
            cli.main()
        log = settings.log_folder / "tvfeast.log"
        assert others_may(log) == 0
        assert log.read_text().count(" tvfeast materialize\n") == entries


def test_a_log_that_cannot_be_written_goes_under_no_name_that_others_could_have_laid(
    settings: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.log_folder.parent.mkdir(exist_ok=True)
    settings.log_folder.write_text("a file where the folder belongs")
    elsewhere = tmp_path / "tmp"
    elsewhere.mkdir()
    (elsewhere / "tvfeast.log").symlink_to(tmp_path / "victim")
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    monkeypatch.setattr(materialize(), "callback", lambda **_: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["tvfeast", "materialize"])
    with pytest.raises(SystemExit):
        cli.main()
    assert not (tmp_path / "victim").exists()
    (log,) = elsewhere.glob("tvfeast-*.log")
    assert "ZeroDivisionError" in log.read_text()
    assert others_may(log) == 0


def allow_all() -> None:
    os.umask(0)


def test_a_flow_leaves_receipts_registry_and_online_store_to_their_owner_alone(
    settings: Project, forge: Forge
) -> None:
    flow = Command("flow-data", "--candidates", SAMPLE / "portfolio_candidates.json")
    done = forge.start(flow, project_of(settings, MONDAY), allow_all).wait()
    assert done.code == 0, done.err
    data = settings.folder / "data"
    receipts = [path for path in (settings.lakehouse_at / "_runs").rglob("*") if path.is_file()]
    stores = [path for path in data.glob("*.db*") if path.is_file()]
    assert receipts
    assert {"online.db", "registry.db"} <= {path.name for path in stores}
    assert [path.name for path in (*receipts, *stores) if others_may(path)] == []
