"""What the lakehouse holds is not written again; what differs is restated, created later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from bars_tools import HEADER, NOW, Import, Rows, Write, day_of, seconds, utc

from ingestion.bars import writing
from ingestion.bars.bar_reader import BarBatch, BarReader
from ingestion.base import clock
from ingestion.base.errors import LakehouseLocked
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import append_parts, lakehouse_lock, list_parts
from ingestion.project import Project

SAMPLE = Path(__file__).resolve().parent.parent.parent / "data" / "sample" / "bars.parquet"


def test_importing_the_sample_reproduces_it_exactly_and_once(
    lakehouse: Project, tmp_path: Path, run: Import, stored: Rows
) -> None:
    sample = pq.read_table(SAMPLE)
    result = run(SAMPLE)
    assert (result.read, result.written, result.refused) == (sample.num_rows,) * 2 + (0,)
    assert result.symbols == 60
    names = sample.column_names
    assert [{name: row[name] for name in names} for row in stored()] == sample.to_pylist()
    parts = list_parts(lakehouse.lakehouse, OHLCV_1D)
    assert parts == list(result.parts)
    assert {part.number for part in parts} == {0}
    latest = tmp_path / "latest.parquet"
    pq.write_table(sample.filter(pc.field("timestamp") > seconds("2021-03-01")), latest)
    again = run(latest)
    assert (again.written, again.unchanged, again.parts) == (0, again.read, ())
    assert list_parts(lakehouse.lakehouse, OHLCV_1D) == parts


def test_a_corrected_bar_is_a_new_row_created_later(
    lakehouse: Project, run: Import, write: Write, stored: Rows, at: Callable[[datetime], None]
) -> None:
    lines = [day_of("NYSE:A", "2021-03-01"), day_of("NYSE:B", "2021-03-01")]
    run(write("first.csv", HEADER + "".join(lines)))
    at(NOW + timedelta(days=1))
    corrected = HEADER + lines[0] + day_of("NYSE:B", "2021-03-01", 10.1)
    result = run(write("second.csv", corrected))
    assert (result.written, result.unchanged, result.restated) == (1, 1, 1)
    assert [(row["close"], row["created_timestamp"], row["source"]) for row in stored()] == [
        (10.0, NOW, "import:first.csv"),
        (10.1, NOW + timedelta(days=1), "import:second.csv"),
    ]
    parts = list_parts(lakehouse.lakehouse, OHLCV_1D)
    assert [pq.ParquetFile(part.path).metadata.num_rows for part in parts] == [2, 1]


@pytest.mark.parametrize("moved", [timedelta(0), timedelta(days=-1)])
def test_a_restatement_is_created_later_even_if_the_clock_is_not(
    moved: timedelta,
    run: Import,
    write: Write,
    stored: Rows,
    at: Callable[[datetime], None],
) -> None:
    run(write("v.csv", HEADER + day_of("NYSE:A", "2021-03-01")))
    at(NOW + moved)
    run(write("v.csv", HEADER + day_of("NYSE:A", "2021-03-01", volume=7.0)))
    (row,) = stored()
    assert row["volume"] == 7.0
    assert row["created_timestamp"] == NOW + timedelta(microseconds=1)


def test_a_row_says_when_it_was_written_and_not_when_its_import_began(
    run: Import,
    write: Write,
    stored: Rows,
    at: Callable[[datetime], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def append(*arguments: object) -> object:
        paths = append_parts(*arguments)  # type: ignore[arg-type]
        at(clock.now() + timedelta(minutes=1))
        return paths

    monkeypatch.setattr(writing, "PARTS_AT_ONCE", 1)
    monkeypatch.setattr(writing, "append_parts", append)
    days = ("2021-03-01", "2021-03-02", "2021-03-03")
    run(write("v.csv", HEADER + "".join(day_of("NYSE:A", day) for day in days)))
    created = [row["created_timestamp"] - NOW for row in stored()]
    assert created == [timedelta(minutes=minute) for minute in range(3)]


def test_a_vendor_that_stamps_the_opening_bell_otherwise_restates_the_same_bar(
    run: Import, write: Write, stored: Rows
) -> None:
    run(write("label.csv", HEADER + day_of("NYSE:A", "2021-03-01")))
    same = write("instant.csv", HEADER + day_of("NYSE:A", "2021-03-01T14:33:00Z"))
    assert run(same).written == 0
    other = write("instant.csv", HEADER + day_of("NYSE:A", "2021-03-01T14:33:00Z", 10.5))
    assert run(other).restated == 1
    (row,) = stored()
    assert (row["timestamp"], row["close"]) == (seconds("2021-03-01 14:30"), 10.5)


def test_a_date_gets_one_part_however_many_files_hold_it(
    lakehouse: Project, run: Import, write: Write
) -> None:
    files = [write(f"{name}.csv", HEADER + day_of(f"NYSE:{name}", "2021-03-01")) for name in "ABC"]
    result = run(*files, files[0])
    assert len(result.parts) == 1
    assert [counts.written for counts in result.files] == [1, 1, 1]


def test_an_import_waits_for_no_other_run(lakehouse: Project, run: Import, write: Write) -> None:
    path = write("v.csv", HEADER + day_of("NYSE:A", "2021-03-01"))
    with lakehouse_lock(lakehouse.lakehouse, "other"), pytest.raises(LakehouseLocked):
        run(path)
    assert list_parts(lakehouse.lakehouse, OHLCV_1D) == []
    assert run(path).written == 1


def test_no_other_run_writes_while_the_files_are_read(
    lakehouse: Project, run: Import, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`local-features` goes by run ids: a newer one must not finish before these rows are there."""
    read = BarReader.read

    def beside(self: BarReader, number: int, path: Path) -> BarBatch:
        with pytest.raises(LakehouseLocked), lakehouse_lock(lakehouse.lakehouse, "other"):
            pass
        return read(self, number, path)

    monkeypatch.setattr(BarReader, "read", beside)
    assert run(write("v.csv", HEADER + day_of("NYSE:A", "2021-03-01"))).written == 1


def test_what_a_killed_import_left_is_completed(
    lakehouse: Project, run: Import, write: Write, stored: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = ("2021-03-01", "2021-03-02", "2021-03-03")
    path = write("v.csv", HEADER + "".join(day_of("NYSE:A", day) for day in days))
    left = iter([True, False])

    def die_at_the_second(*arguments: object) -> object:
        if not next(left):
            raise KeyboardInterrupt
        return append_parts(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(writing, "PARTS_AT_ONCE", 1)
    monkeypatch.setattr(writing, "append_parts", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(path)
    monkeypatch.setattr(writing, "append_parts", append_parts)
    result = run(path)
    assert (result.written, result.unchanged) == (2, 1)
    assert [row["event_timestamp"] for row in stored()] == [utc(f"{day} 21:00") for day in days]
