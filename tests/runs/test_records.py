"""What is known of the runs' folders equals what they say, whatever became of them or the cache."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner
from hypothesis import strategies as st

from ingestion.cli.commands import cli
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import LocalDisk, append_part, lakehouse_lock, local_disk, run_ids
from ingestion.project import Project
from ingestion.runs import records
from ingestion.runs.records import FILE, Records, read_records
from ingestion.runs.run import Run
from ingestion.runs.run_folder import RunFolder, look_into
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.fuzzing import fuzz
from tests.lakehouse.technicals import technicals

QUIET_NS = 8_000_000
"""How long a file must have been as it is in these tests; longer than a clock's tick."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(local_disk, "_LONG_AGO_NS", QUIET_NS)
    return with_runs(tmp_path)


def with_runs(folder: Path, count: int = 3) -> Project:
    """Runs with a part and two receipts each."""
    project = Project(folder, folder / "lakehouse", "https://scanner.invalid")
    for number in range(count):
        run_id = f"run-{number}"
        append_part(project.lakehouse, GROUP, technicals([f"A:{number}"]), run_id)
        for job in ("ingest", "validate"):
            with Run(project, run_id, job, file=f"{job}.json") as run:
                run.tell(symbols=number)
    return project


def read(project: Project, *, anew: bool = False) -> Records:
    time.sleep(2 * QUIET_NS / 1e9)
    runs = run_ids(project.lakehouse)
    return read_records(project.lakehouse, runs, project.catalog, anew=anew)


def plainly(project: Project) -> list[RunFolder]:
    scanned = project.catalog.scanned
    runs = reversed(run_ids(project.lakehouse))
    return [look_into(project.lakehouse, run_id, scanned) for run_id in runs]


def cache(project: Project) -> Path:
    return project.lakehouse_at / "_caches" / FILE


def receipt(project: Project, run: int = 0) -> Path:
    return project.lakehouse_at / "_runs" / f"run-{run}" / "ingest.json"


def test_what_is_as_it_was_is_not_read_again(project: Project, monkeypatch: pytest.MonkeyPatch):
    first = read(project)
    assert (first.unread, len(first.folders)) == (set(), 3)
    monkeypatch.setattr(records, "look_into", None)
    again = read(project)
    assert again.unread == {"run-0", "run-1", "run-2"}
    assert again.folders == first.folders
    assert {entry.part for entry in again.ledger} == {entry.part for entry in first.ledger}


class Change(NamedTuple):
    """Something that people, disks and backups do; ``at`` is any number."""

    do: Callable[[Project, int], None]

    def __repr__(self) -> str:
        return self.do.__name__


def _files(project: Project) -> list[Path]:
    return sorted(p for p in (project.lakehouse_at / "_runs").glob("*/*") if p.is_file())


def change_a_byte(project: Project, at: int) -> None:
    if files := _files(project):
        file = files[at % len(files)]
        content, status = bytearray(file.read_bytes()), file.stat()
        content[at % len(content)] ^= 1
        file.write_bytes(content)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as if nobody had


def replace_by_a_copy_of_another(project: Project, at: int) -> None:
    if files := _files(project):
        shutil.copy2(files[at % len(files)], files[at * 7 % len(files)].with_suffix(".new"))
        new = files[at * 7 % len(files)]
        new.with_suffix(".new").replace(new)


def add_a_line(project: Project, at: int) -> None:
    if files := _files(project):
        with files[at % len(files)].open("a") as file:
            file.write('{"confirmed": "nothing"}\n')


def delete_a_file(project: Project, at: int) -> None:
    if files := _files(project):
        files[at % len(files)].unlink()


def add_a_foreign_file(project: Project, at: int) -> None:
    (project.lakehouse_at / "_runs" / f"run-{at % 3}").mkdir(exist_ok=True)
    (project.lakehouse_at / "_runs" / f"run-{at % 3}" / "notes.txt").write_text("by hand")


def retire_a_run(project: Project, at: int) -> None:
    shutil.rmtree(project.lakehouse_at / "_runs" / f"run-{at % 3}", ignore_errors=True)


def add_a_run(project: Project, at: int) -> None:
    with Run(project, f"run-{at % 9}", "prune", file="prune.json") as run:
        run.tell(at=at)


def take_a_copy_of_all(project: Project, at: int) -> None:
    shutil.rmtree(project.folder / "backup", ignore_errors=True)
    shutil.copytree(project.lakehouse_at, project.folder / "backup", symlinks=True)


def put_the_copy_back(project: Project, at: int) -> None:
    backup = project.folder / "backup"
    if backup.exists():
        if at % 2:
            shutil.rmtree(project.lakehouse_at)
        shutil.copytree(backup, project.lakehouse_at, dirs_exist_ok=True)


def put_the_cache_back(project: Project, at: int) -> None:
    backup = project.folder / "backup" / "_caches" / FILE
    if backup.exists():
        cache(project).parent.mkdir(exist_ok=True)
        shutil.copy2(backup, cache(project))


def damage_the_cache(project: Project, at: int) -> None:
    if cache(project).exists() and (content := bytearray(cache(project).read_bytes())):
        content[at % len(content)] ^= 1 << at % 8
        cache(project).write_bytes(content[: len(content) - at % 3])


def delete_the_cache(project: Project, at: int) -> None:
    cache(project).unlink(missing_ok=True)


CHANGES = [
    Change(each)
    for each in (
        *(change_a_byte, replace_by_a_copy_of_another, add_a_line, delete_a_file, add_a_run),
        *(add_a_foreign_file, retire_a_run, take_a_copy_of_all, put_the_copy_back),
        *(put_the_cache_back, damage_the_cache, delete_the_cache),
    )
]


@fuzz(
    cases=12,
    steps=st.lists(
        st.tuples(st.sampled_from(CHANGES), st.integers(0, 10**6)), min_size=1, max_size=8
    ),
)
def test_what_is_known_equals_what_the_folders_say(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[Change, int]],
):
    monkeypatch.setattr(local_disk, "_LONG_AGO_NS", QUIET_NS)
    project = with_runs(tmp_path_factory.mktemp("changed"))
    read(project)
    for change, at in steps:
        change.do(project, at)
        assert read(project).folders == plainly(project)


def test_a_byte_that_a_disk_changed_by_itself_is_found_by_reading_all_and_then_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    read(project)
    states = {
        run_id: project.lakehouse.folder_state(f"_runs/{run_id}")
        for run_id in run_ids(project.lakehouse)
    }
    change_a_byte(project, 0)
    monkeypatch.setattr(LocalDisk, "folder_state", lambda _, key: states[key.rpartition("/")[2]])
    assert all(folder.is_sound for folder in read(project).folders)
    assert not all(folder.is_sound for folder in read(project, anew=True).folders)
    assert not all(folder.is_sound for folder in read(project).folders)


def test_the_command_says_how_many_runs_it_did_not_read_and_reads_them_with_all(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TVFEAST_PROJECT", str(make_workspace(project.folder / "workspace")))
    monkeypatch.setenv("TVFEAST_LAKEHOUSE", str(project.lakehouse_at))
    read(project)
    again = CliRunner().invoke(cli, ["verify"])
    assert (again.exit_code, again.output.count("\n")) == (0, 1), again.output
    assert "3 runs as an earlier check has left them, not read again (--all)" in again.output
    anew = CliRunner().invoke(cli, ["verify", "--all", "--json"])
    assert (anew.exit_code, json.loads(anew.output)["unread"]) == (0, 0)
    refused = CliRunner().invoke(cli, ["verify", "--all", "--online"])
    assert refused.exit_code != 0


def test_a_run_that_writes_is_read_each_time(project: Project):
    with lakehouse_lock(project.lakehouse, "run-1"):
        read(project)
        assert read(project).unread == {"run-0", "run-2"}
    read(project)
    assert read(project).unread == {"run-0", "run-1", "run-2"}


def test_what_changed_a_moment_ago_is_read_each_time(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(local_disk, "_LONG_AGO_NS", 3_600 * 10**9)
    read(project)
    assert read(project).unread == set()


def test_after_another_catalog_everything_is_read_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    read(project)
    monkeypatch.setattr(records, "catalog_hash", lambda catalog: "another")
    assert read(project).unread == set()


def test_nothing_is_kept_where_this_user_may_not_write(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LocalDisk, "stage", refuse)
    assert read(project).folders == plainly(project)
    assert not cache(project).exists()
