"""Rows that Feast's own interface writes into the lakehouse, without its lock and its ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pytest
from pyarrow import fs

from feature_repo.catalog import TV_TECHNICALS_1D as GROUP
from feature_repo.stores.offline.files import Location
from feature_repo.stores.offline.writing import append
from ingestion.errors import CorruptPart
from ingestion.jobs.feast_repository import open_repository
from ingestion.jobs.materialize import materialize
from ingestion.jobs.verify_lakehouse import check_lakehouse
from ingestion.lakehouse import append_part, compact, lakehouse_lock, list_parts, read_part
from ingestion.lakehouse.compact import merge_parts
from ingestion.lakehouse.ledger import Ledger
from ingestion.settings import Settings
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
    tables = [read_part(part.path) for part in list_parts(root, GROUP)]
    return Counter(symbol for table in tables for symbol in table["symbol"].to_pylist())


def merge(root: Path, day: date) -> None:
    """Merge the parts of the newest day."""
    with lakehouse_lock(root, "merge"):
        merge_parts(root, GROUP, list_parts(root, GROUP, day), Ledger.read(root), "merge")


def test_a_part_that_feast_wrote_is_served_and_named_by_verify(writable_week: Settings, at):
    at(FRIDAY)
    materialize(writable_week)
    assert check_lakehouse(writable_week).passed
    store = open_repository(writable_week)
    late = technicals(["NASDAQ:AAPL"], FRIDAY, FRIDAY + timedelta(seconds=1), RSI=[12.5])
    store.write_to_offline_store(GROUP.name, late.to_pandas())
    written = list_parts(writable_week.lakehouse, GROUP)[-1].path
    assert read_part(written)["RSI"].to_pylist() == [12.5]
    (fault,) = check_lakehouse(writable_week).faults
    assert fault.file == written.relative_to(writable_week.lakehouse).as_posix()
    assert "does not say which run wrote it" in fault.reason
    with pytest.raises(CorruptPart, match="does not say which run wrote it"):
        merge(writable_week.lakehouse, FRIDAY.date())


def test_writers_with_and_without_the_lock_take_different_numbers(tmp_path: Path):
    count = 25

    def ours() -> None:
        for number in range(count):
            with lakehouse_lock(tmp_path, f"run-{number}"):
                append_part(tmp_path, GROUP, row(number, "OURS"), f"run-{number}")

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
    numbers = [part.number for part in list_parts(tmp_path, GROUP)]
    assert numbers == list(range(3 * count))


def test_what_came_in_the_midst_of_a_merge_is_not_lost(tmp_path: Path, monkeypatch):
    for number in range(2):
        append_part(tmp_path, GROUP, row(number, "OURS"), f"run-{number}")
    exchange: Callable[[Path, Path], None] = compact.exchange

    def late(one: Path, other: Path) -> None:
        write_unlocked(tmp_path, row(7, "THEIRS"))
        exchange(one, other)

    monkeypatch.setattr(compact, "exchange", late)
    merge(tmp_path, EVENING.date())
    assert symbols(tmp_path) == {"OURS:0": 1, "OURS:1": 1, "THEIRS:7": 1}
