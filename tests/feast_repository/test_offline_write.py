"""Rows that Feast's own interface writes into the lakehouse, without its lock and its ledger."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from ingestion.base.errors import CorruptPart
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.serve.feast_repository import open_repository
from ingestion.jobs.serve.materialize import materialize
from ingestion.lakehouse import (
    LocalDisk,
    append_part,
    compact,
    lakehouse_lock,
    list_parts,
    read_file,
)
from ingestion.lakehouse.compact import merge_parts
from ingestion.lakehouse.ledger import Ledger
from ingestion.plugins.offline.files import Location
from ingestion.plugins.offline.writing import append
from ingestion.project import Project
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.feast_repository.conftest import WEEK
from tests.lakehouse.technicals import EVENING, technicals

FRIDAY = WEEK[-1]


def row(number: int, prefix: str) -> pa.Table:
    return technicals([f"{prefix}:{number}"], EVENING + timedelta(seconds=number), RSI=[1.0])


def write_unlocked(root: Path, rows: pa.Table) -> None:
    """Write as the offline store does."""
    location = Location(fs.LocalFileSystem(), str(root / GROUP.storage), dated=True)
    append(location, rows, "event_timestamp")


def symbols(root: Path) -> Counter[str]:
    tables = [read_file(part) for part in list_parts(LocalDisk(root), GROUP)]
    return Counter(symbol for table in tables for symbol in table["symbol"].to_pylist())


def merge(root: Path, day: date) -> None:
    with lakehouse_lock(LocalDisk(root), "merge"):
        merge_parts(LocalDisk(root), GROUP, day, Ledger.read(LocalDisk(root)), "merge")


def test_a_part_that_feast_wrote_is_served_and_named_by_verify(writable_week: Project, at):
    at(FRIDAY)
    materialize(writable_week)
    assert check_lakehouse(writable_week).passed
    store = open_repository(writable_week)
    late = technicals(["NASDAQ:AAPL"], FRIDAY, FRIDAY + timedelta(seconds=1), RSI=[12.5])
    store.write_to_offline_store(GROUP.name, late.to_pandas())
    written = list_parts(writable_week.lakehouse, GROUP)[-1].path
    assert pq.ParquetFile(written).read()["RSI"].to_pylist() == [12.5]
    (fault,) = check_lakehouse(writable_week).faults
    assert fault.file == written.relative_to(writable_week.lakehouse_at).as_posix()
    assert "does not say which run wrote it" in fault.reason
    with pytest.raises(CorruptPart, match="does not say which run wrote it"):
        merge(writable_week.lakehouse_at, FRIDAY.date())


def test_writers_with_and_without_the_lock_take_different_numbers(tmp_path: Path):
    count = 25

    def ours() -> None:
        for number in range(count):
            with lakehouse_lock(LocalDisk(tmp_path), f"run-{number}"):
                append_part(LocalDisk(tmp_path), GROUP, row(number, "OURS"), f"run-{number}")

    def theirs() -> None:
        for number in range(count):
            write_unlocked(tmp_path, row(number, "THEIRS"))

    threads = [Thread(target=work) for work in (ours, theirs, theirs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {f"OURS:{n}": 1 for n in range(count)} | {f"THEIRS:{n}": 2 for n in range(count)}
    assert symbols(tmp_path) == expected
    numbers = [part.number for part in list_parts(LocalDisk(tmp_path), GROUP)]
    assert numbers == list(range(3 * count))


class Killed(BaseException):
    """As by SIGKILL: nothing that follows is done."""


def two_parts(root: Path) -> None:
    for number in range(2):
        append_part(LocalDisk(root), GROUP, row(number, "OURS"), f"run-{number}")


ALL = {"OURS:0": 1, "OURS:1": 1, "THEIRS:7": 1}


def test_what_feast_wrote_during_a_merge_that_was_killed_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    two_parts(tmp_path)
    link = compact.create_parts

    def killed_after(*given: Any) -> None:
        write_unlocked(tmp_path, row(7, "THEIRS"))
        link(*given)
        raise Killed

    monkeypatch.setattr(compact, "create_parts", killed_after)
    with pytest.raises(Killed):
        merge(tmp_path, EVENING.date())
    assert symbols(tmp_path) == ALL
    with lakehouse_lock(LocalDisk(tmp_path), "next"):
        pass
    assert symbols(tmp_path) == ALL
    assert [part.number for part in list_parts(LocalDisk(tmp_path), GROUP)] == [2, 3]


def test_no_part_that_feast_writes_shares_its_number_with_a_merged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Who had listed it would read the rows of the other parts twice."""
    two_parts(tmp_path)
    link = compact.create_parts
    read: list[pa.Table] = []

    def while_being_read(*given: Any) -> Any:
        write_unlocked(tmp_path, row(7, "THEIRS"))
        listed = list_parts(LocalDisk(tmp_path), GROUP)
        entry = link(*given)
        read.extend(read_file(part) for part in listed)
        return entry

    monkeypatch.setattr(compact, "create_parts", while_being_read)
    merge(tmp_path, EVENING.date())
    assert Counter(pa.concat_tables(read)["symbol"].to_pylist()) == ALL
    assert symbols(tmp_path) == ALL
    assert [part.number for part in list_parts(LocalDisk(tmp_path), GROUP)] == [2, 3]


@pytest.mark.parametrize("name", ["part-2.parquet", "notes.txt"])
def test_a_file_that_comes_while_a_date_is_being_merged_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    two_parts(tmp_path)
    folder = list_parts(LocalDisk(tmp_path), GROUP)[0].path.parent
    in_order = compact._in_order

    def slowly(*given: Any) -> Any:
        (folder / name).write_bytes(b"foreign")
        return in_order(*given)

    monkeypatch.setattr(compact, "_in_order", slowly)
    merge(tmp_path, EVENING.date())
    number = 3 if name == "part-2.parquet" else 2
    assert {path.name for path in folder.iterdir()} == {f"part-{number}.parquet", name}
    (entry,) = (entry for entry in Ledger.read(LocalDisk(tmp_path)) if entry.run_id == "merge")
    assert entry.part.endswith(f"part-{number}.parquet")
