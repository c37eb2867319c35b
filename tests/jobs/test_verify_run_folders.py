"""What a run leaves in its own folder: changed, deleted, foreign, or not to be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ingestion.base.errors import InputError
from ingestion.jobs.audit.verify_lakehouse import accept_losses, check_lakehouse
from ingestion.lakehouse import LocalDisk, append_part, open_lakehouse, write_run_file
from ingestion.project import Project
from ingestion.runs.run import Run
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.technicals import technicals

RECEIPT = "_runs/run-1/some_job.json"
LEDGER = "_runs/run-1/files.jsonl"


@pytest.fixture
def settings(tmp_path: Path) -> Project:
    """Two runs with a part each; the first one's receipt was written twice."""
    settings = Project(tmp_path, tmp_path / "lakehouse", "https://scanner.invalid")
    append_part(settings.lakehouse, GROUP, technicals(["A:A"]), "run-1")
    append_part(settings.lakehouse, GROUP, technicals(["B:B"]), "run-2")
    with Run(settings, "run-1", "some-job", file="some_job.json") as run:
        run.tell(symbols=5)
        run.write()
    return settings


def faults(settings: Project) -> list[tuple[str, str]]:
    return [(fault.file, fault.reason) for fault in check_lakehouse(settings).faults]


def test_a_receipt_that_was_written_twice_holds(settings: Project):
    assert faults(settings) == []


def test_a_changed_value_in_a_receipt_is_named(settings: Project):
    path = settings.lakehouse_at / RECEIPT
    path.write_text(path.read_text().replace('"symbols": 5', '"symbols": 6'))
    ((file, reason),) = faults(settings)
    assert file == RECEIPT
    assert "the hash differs" in reason


def test_a_deleted_receipt_is_named_until_somebody_answers_for_it(settings: Project):
    (settings.lakehouse_at / RECEIPT).unlink()
    ((file, reason),) = faults(settings)
    assert file == RECEIPT
    assert "is gone: run run-1 wrote it; put it back from a backup" in reason
    assert f"--accept {RECEIPT}" in reason
    result = accept_losses(settings, [RECEIPT], "lost with a disk, says the desk")
    assert [entry.part for entry in result.accepted] == [RECEIPT]
    assert faults(settings) == []


@pytest.mark.parametrize(
    "kept", [lambda lines: [], lambda lines: lines[:1], lambda lines: [lines[0], lines[1][:-9]]]
)
def test_a_receipt_that_its_ledger_has_lost_is_named(settings: Project, kept):
    ledger = settings.lakehouse_at / LEDGER
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(kept(lines)))
    assert "is not in the files.jsonl beside it" in dict(faults(settings))[RECEIPT]


@pytest.mark.parametrize("written", [0, 1])
def test_a_run_that_was_killed_while_it_wrote_its_receipt_holds(
    settings: Project, monkeypatch, written: int
):
    root = settings.lakehouse_at
    if written:
        write_run_file(
            open_lakehouse(root), "killed", "some_job.json", b'{"run_id": "killed", "step": 1}'
        )

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_run_file(
            open_lakehouse(root), "killed", "some_job.json", b'{"run_id": "killed", "step": 2}'
        )
    assert (root / "_runs/killed/some_job.json.unfinished").exists()
    assert faults(settings) == []


def test_a_run_that_was_killed_before_it_could_confirm_its_receipt_holds(settings: Project):
    ledger = settings.lakehouse_at / LEDGER
    lines = ledger.read_text().splitlines(keepends=True)
    assert json.loads(lines[-1]) == {"confirmed": RECEIPT}
    ledger.write_text("".join(lines[:-1]))
    assert faults(settings) == []


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "some_job.json", ".hidden", "run-1/notes.txt", "run-2/x.parquet"],
)
def test_what_no_run_has_written_is_named(settings: Project, name: str):
    shutil.copy(settings.lakehouse_at / RECEIPT, settings.lakehouse_at / "_runs" / name)
    assert faults(settings) == [(f"_runs/{name}", "is not the lakehouse's: move it out")]


def test_a_receipt_that_no_run_has_written_is_named(settings: Project):
    shutil.copy(settings.lakehouse_at / RECEIPT, settings.lakehouse_at / "_runs/run-1/a.json")
    ((file, reason),) = faults(settings)
    assert file == "_runs/run-1/a.json"
    assert reason.startswith("is not in the files.jsonl beside it")


def test_a_foreign_folder_with_a_run_is_named_alone(settings: Project):
    folder = settings.lakehouse_at / "_runs/run-1/copy"
    shutil.copytree(settings.lakehouse_at / "_runs/run-2", folder)
    assert faults(settings) == [("_runs/run-1/copy", "is not the lakehouse's: move it out")]


def test_a_ledger_that_cannot_be_read_is_named_and_all_others_are_looked_into(settings: Project):
    root = settings.lakehouse_at
    (root / LEDGER).unlink()
    (root / LEDGER).mkdir()
    (second,) = (root / GROUP.storage).glob("*/part-1.parquet")
    second.write_bytes(b"")
    named = dict(faults(settings))
    assert set(named) == {LEDGER, second.relative_to(root).as_posix()}
    assert "cannot be read (Is a directory)" in named[LEDGER]
    assert "put it back from a backup" in named[LEDGER]


def test_a_run_folder_that_may_not_be_read_is_named(settings: Project, monkeypatch):
    def names(self: LocalDisk, folder: str):
        if folder == "_runs/run-2":
            raise PermissionError(13, "Permission denied", self.location(folder))
        return listed(self, folder)

    listed = LocalDisk.names
    monkeypatch.setattr(LocalDisk, "names", names)
    ((file, reason),) = faults(settings)
    assert file == "_runs/run-2"
    assert "Permission denied" in reason


def test_nothing_is_accepted_while_a_ledger_cannot_be_read(settings: Project):
    root = settings.lakehouse_at
    (part,) = (root / GROUP.storage).glob("*/part-1.parquet")
    part.unlink()
    (root / LEDGER).unlink()
    (root / LEDGER).mkdir()
    with pytest.raises(InputError, match=r"files\.jsonl cannot be read"):
        accept_losses(settings, [str(part)], "known to be gone")
