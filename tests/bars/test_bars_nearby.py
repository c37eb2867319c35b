"""Which stored dates an import reads, and how often."""

from __future__ import annotations

from collections import Counter
from datetime import date
from importlib import import_module
from typing import Any

import pyarrow as pa
import pytest
from bars_tools import HEADER, Import, Rows, Write, day_of

from ingestion.bars import arrays, stored_bars
from ingestion.catalog import Dataset
from ingestion.lakehouse.parts import Part, read_part

DAYS = ("2021-02-01", "2021-03-01", "2021-04-01", "2021-05-03")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[date]:
    """How often each date is read to judge what comes."""
    reads: Counter[date] = Counter()
    read_current_of = stored_bars.read_current_of

    def counted(
        parts: list[Part], dataset: Dataset, symbols: list[str], columns: list[str]
    ) -> pa.Table:
        reads[parts[0].date] += 1
        return read_current_of(parts, dataset, symbols, columns)

    monkeypatch.setattr(stored_bars, "read_current_of", counted)
    return reads


def test_a_date_is_read_once_however_many_times_bars_are_judged(
    run: Import, write: Write, reads: Counter[date], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "ROWS_AT_ONCE", 3)
    lines = [day_of(f"NYSE:{name}", day, 10) for day in DAYS for name in "ABCDEFG"]
    path = write("v.csv", HEADER + "".join(lines))
    assert run(path).written == len(lines)
    assert not reads
    again = run(path)
    assert (again.written, again.unchanged) == (0, len(lines))
    assert reads == Counter(map(date.fromisoformat, DAYS))


def test_splits_of_many_symbols_read_a_date_twice_at_most(
    run: Import, write: Write, stored: Rows, reads: Counter[date]
) -> None:
    """Once around the splits, and once to find the next bars of all of them."""
    run(write("b.csv", HEADER + "".join(day_of("NYSE:B", day, 10) for day in DAYS)))
    reads.clear()
    lines = "".join(f"NYSE:{name},2021-03-15,4\n" for name in ("A", "B", "C", "D", "E"))
    result = run(splits=write("splits.csv", f"symbol,date,ratio\n{lines}"))
    assert result.splits_ahead == 5
    ratios = {f"{row['event_timestamp']:%Y-%m-%d}": row["split_ratio"] for row in stored()}
    assert ratios == {DAYS[0]: 1, DAYS[1]: 1, DAYS[2]: 4, DAYS[3]: 1}
    assert set(reads) >= {date.fromisoformat(day) for day in DAYS[1:3]}
    assert max(reads.values()) <= 2


def test_parts_of_other_symbols_are_not_read(
    run: Import, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Histories of single symbols, one call each, do not cost more with each call."""
    for name in ("A", "B", "C", "D"):
        run(write(f"{name}.csv", HEADER + day_of(f"NYSE:{name}", DAYS[0], 10)))
    read: list[str] = []
    current = import_module("ingestion.lakehouse.current")

    def noting(part: Part, dataset: Dataset, columns: list[str], **how: Any) -> pa.Table:
        rows = read_part(part, dataset, columns, **how)
        if rows.num_rows:  # a part that is read has at least one
            read.append(part.key)
        return rows

    monkeypatch.setattr(current, "read_part", noting)
    result = run(write("e.csv", HEADER + day_of("NYSE:E", DAYS[0], 10)))
    assert result.written == 1
    assert [key for key in read if key.startswith("ohlcv_1d/")] == []
    run(write("again.csv", HEADER + day_of("NYSE:B", DAYS[0], 10)))
    assert len({key for key in read if key.startswith("ohlcv_1d/")}) == 1
