"""A run that has ended is not looked into again, and all files that it wrote are found."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import strategies as st

from ingestion.base.errors import LakehouseLocked
from ingestion.jobs.audit.cache_check import check_caches
from ingestion.lakehouse import LocalDisk, lakehouse_lock, run_files, write_run_file
from ingestion.lakehouse.lease import KEPT_S, Step
from ingestion.lakehouse.run_files import written_by_runs
from ingestion.project import Project
from ingestion.runs.run import new_run_id
from tests.fuzzing import fuzz

RARE = "import_bars.json"
NAMES = ("flow_data.json", "validate.json", RARE, "quarantine.parquet")
CACHE = "_caches/written_by_runs.zip"


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


def run_id(days: int, number: int) -> str:
    """A run of some days ago."""
    return f"{datetime.now(UTC) - timedelta(days=days):%Y%m%dT000000Z}-{number:06}abcd"


def add_runs(disk: LocalDisk, numbers: Iterable[int], days: int = 9) -> None:
    """Runs of which every seventh has a receipt of the rare kind."""
    for number in numbers:
        for name in NAMES:
            if name != RARE or number % 7 == 0:
                write_run_file(disk, run_id(days, number), name, b"{}")


def lock(disk: LocalDisk) -> None:
    with lakehouse_lock(disk, new_run_id()):
        pass


def there(disk: LocalDisk, name: str) -> list[str]:
    """The runs with a file of a name, by listing all folders."""
    return sorted((path.parent.name for path in disk.root.glob(f"_runs/*/{name}")), reverse=True)


def found(disk: LocalDisk, name: str) -> list[str]:
    return [file.run_id for file in run_files(disk, name)]


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders into which somebody looked for a file."""
    seen: list[str] = []
    having = LocalDisk.having

    def counted(disk: LocalDisk, folders: Iterable[str], name: str) -> Iterator[str]:
        return having(disk, (seen.append(each) or each for each in folders), name)  # type: ignore[func-returns-value]

    monkeypatch.setattr(LocalDisk, "having", counted)
    return seen


def test_the_folders_looked_into_do_not_grow_with_the_runs_that_have_ended(
    tmp_path: Path, looked_at: list[str]
):
    disk = LocalDisk(tmp_path)
    counts = []
    for first in (0, 70):
        add_runs(disk, range(first, first + 70))
        lock(disk)
        add_runs(disk, range(9), days=0)
        looked_at.clear()
        assert found(disk, RARE) == there(disk, RARE)
        without_it = [
            each for each in looked_at if each.rpartition("/")[2] not in there(disk, RARE)
        ]
        counts.append(len(without_it))
        looked_at.clear()
        assert found(disk, "parity.json") == []
        counts.append(len(looked_at))
    assert counts == [7, 9, 7, 9], "of the runs of today alone"


def test_what_was_gone_when_a_run_was_last_looked_into_is_found_once_it_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ingestion.lakehouse.ended_runs._FEW", 1)
    disk = LocalDisk(tmp_path)
    add_runs(disk, [7, 14, 21, 28, 35])
    take_a_copy(disk, 0)
    first, second, third, fourth, fifth = sorted(disk.root.glob("_runs/*"))
    (first / RARE).unlink()
    for name in (RARE, "files.jsonl"):
        (second / name).unlink()
    (third / RARE).unlink()
    (third / "files.jsonl").write_bytes(b"no ledger\n" * 9)
    shutil.rmtree(fourth)
    for file in fifth.iterdir():
        file.unlink()
    lock(disk)
    assert found(disk, RARE) == []
    put_the_copy_back(disk, 0)
    assert found(disk, RARE) == there(disk, RARE)
    assert len(there(disk, RARE)) == 5


def delete_a_file(disk: LocalDisk, at: int) -> None:
    if files := sorted(disk.root.glob("_runs/*/*")):
        files[at % len(files)].unlink()


def delete_a_run(disk: LocalDisk, at: int) -> None:
    if folders := sorted(disk.root.glob("_runs/*")):
        shutil.rmtree(folders[at % len(folders)])


def spoil_a_ledger(disk: LocalDisk, at: int) -> None:
    if files := sorted(disk.root.glob("_runs/*/files.jsonl")):
        files[at % len(files)].write_bytes(random.Random(at).randbytes(99))


def add_a_run(disk: LocalDisk, at: int) -> None:
    add_runs(disk, [at], days=at % 4)


def add_old_runs(disk: LocalDisk, at: int) -> None:
    add_runs(disk, range(at, at + 3))


def lock_it(disk: LocalDisk, at: int) -> None:
    lock(disk)


def take_a_copy(disk: LocalDisk, at: int) -> None:
    shutil.rmtree(disk.root / "copy", ignore_errors=True)
    shutil.copytree(disk.root / "_runs", disk.root / "copy")


def put_the_copy_back(disk: LocalDisk, at: int) -> None:
    if (disk.root / "copy").exists():
        shutil.copytree(disk.root / "copy", disk.root / "_runs", dirs_exist_ok=True)


def damage_the_cache(disk: LocalDisk, at: int) -> None:
    if (file := disk.root / CACHE).exists():
        content = bytearray(file.read_bytes())
        content[at % len(content)] ^= 1 << at % 8
        file.write_bytes(content[: len(content) - at % 3])


CHANGES: list[Callable[[LocalDisk, int], None]] = [
    *(delete_a_file, delete_a_run, spoil_a_ledger, add_a_run, add_old_runs, lock_it, take_a_copy),
    *(put_the_copy_back, damage_the_cache),
]


@fuzz(
    cases=25,
    steps=st.lists(
        st.tuples(st.sampled_from(CHANGES), st.integers(0, 10**5)), min_size=1, max_size=12
    ),
)
def test_what_people_and_disks_do_to_runs_is_seen_at_once(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[Callable[[LocalDisk, int], None], int]],
):
    monkeypatch.setattr("ingestion.lakehouse.ended_runs._FEW", 1)
    disk = LocalDisk(tmp_path_factory.mktemp("runs"))
    add_runs(disk, range(9))
    take_a_copy(disk, 0)
    lock(disk)
    assert len(written_by_runs(disk)) == 9
    for change, at in steps:
        change(disk, at)
        for name in NAMES:
            assert found(disk, name) == there(disk, name)


def test_a_run_in_parts_is_found_whole_however_long_ago_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ingestion.lakehouse.ended_runs._FEW", 1)
    disk, mine = LocalDisk(tmp_path), run_id(5, 1)
    add_runs(disk, [7, 8])
    with lakehouse_lock(disk, mine, Step(False, KEPT_S)):
        write_run_file(disk, mine, "validate.json", b"{}")
    with pytest.raises(LakehouseLocked):
        lock(disk)
    with lakehouse_lock(disk, mine, Step(True, 0)):
        assert mine not in written_by_runs(disk)
        write_run_file(disk, mine, RARE, b"{}")
    assert found(disk, RARE) == there(disk, RARE) == [run_id(5, 1), run_id(9, 7)]
    lock(disk)
    assert RARE in (written_by_runs(disk)[mine] or ())


def test_verify_names_what_is_kept_of_a_run_that_was_completed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ingestion.lakehouse.ended_runs._FEW", 1)
    project = Project(tmp_path, tmp_path / "lakehouse", "https://scanner.invalid")
    disk = LocalDisk(tmp_path / "lakehouse")
    add_runs(disk, [1])
    lock(disk)
    assert check_caches(project).faults == ()
    write_run_file(disk, run_id(9, 1), RARE, b"{}")  # as if the copy of a later day was put back
    ((file, reason),) = check_caches(project).faults
    assert file == CACHE
    assert run_id(9, 1) in reason
    assert "delete it" in reason
    (disk.root / CACHE).unlink()
    assert found(disk, RARE) == there(disk, RARE) == [run_id(9, 1)]
    assert check_caches(project).faults == ()
