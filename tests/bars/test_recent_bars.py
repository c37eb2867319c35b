"""Recent bars are those of the dates, whatever is kept of them, and dates are opened once."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ingestion.bars import kept_days
from ingestion.bars.recent_bars import RecentBars
from ingestion.base.instants import from_micros
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import LocalDisk, list_parts
from ingestion.lakehouse.caches import CacheFile
from tests.jobs.test_bars_by_symbol import FIRST, SYMBOLS, Lake

SOURCES = ["made up", "scanner", "withdrawn;wrong"]
Row = tuple[date, str, Any, Any, bool]


def said(lake: Lake, first: date, last: date) -> list[Row]:
    """Return what is said of the bars of a span."""
    recent = RecentBars.read(lake.disk, first, last, keep=True)
    return rows_of(recent)


def rows_of(recent: RecentBars) -> list[Row]:
    return sorted(
        (each.day, recent.names[symbol], from_micros(close), from_micros(created), is_scanned)
        for each in recent.days
        for symbol, close, created, is_scanned in zip(
            *(column.tolist() for column in each[1:]), strict=True
        )
    )


def stored(lake: Lake, first: date, last: date) -> list[Row]:
    """Return what the files say, read by another way."""
    versions = defaultdict(list)
    for part in list_parts(lake.disk, OHLCV_1D):
        if first <= part.date <= last:
            for row in pq.ParquetFile(part.path).read().to_pylist():
                versions[part.date, row["symbol"], row["timestamp"]].append(row)
    return sorted(
        (
            day,
            symbol,
            row["event_timestamp"].astimezone(UTC),
            row["created_timestamp"].astimezone(UTC),
            row["source"] == "scanner",
        )
        for (day, symbol, _), rows in versions.items()
        if not max(rows, key=lambda row: row["created_timestamp"])["source"].startswith("withdrawn")
        for row in rows
    )


def day_of(day: int) -> date:
    return (FIRST + timedelta(days=day)).date()


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.data())
def test_whatever_happens_they_are_those_of_the_dates(data: st.DataObject) -> None:
    days = st.integers(0, 12)
    some = st.lists(st.sampled_from(SYMBOLS), unique=True, min_size=1)
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr("os.fsync", lambda _: None)
        lake = Lake(Path(folder))
        for _ in range(data.draw(st.integers(1, 4), "rounds")):
            for day in data.draw(st.lists(days, min_size=1, max_size=5), "days"):
                source = data.draw(st.sampled_from(SOURCES), "source")
                lake.write(day, data.draw(some, "symbols"), source)
            span = sorted(data.draw(st.tuples(days, days), "span"))
            first, last = map(day_of, span)
            unkept = RecentBars.read(lake.disk, first, last)
            assert rows_of(unkept) == stored(lake, first, last)
            assert said(lake, first, last) == stored(lake, first, last)
            one = data.draw(st.sampled_from(list_parts(lake.disk, OHLCV_1D)), "part")
            day = (one.date - FIRST.date()).days
            what = data.draw(st.sampled_from(["merge", "lose", "cut", ""]), "then")
            if what == "merge":
                lake.merge(day)
            elif what == "lose":
                lake.lose(day, data.draw(st.integers(0, 5), "number"))
            elif what == "cut" and (kept := CacheFile(kept_days._FILE, lake.disk)).exists():
                kept.path.write_bytes(kept.read()[: -data.draw(st.integers(1, 900), "bytes")])
            assert said(lake, first, last) == stored(lake, first, last)


@pytest.mark.parametrize("harm", ["", "flip", "other version"])
def test_dates_are_opened_once_and_a_damaged_file_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    lake = Lake(tmp_path)
    for day in range(5):
        lake.write(day, [*SYMBOLS], SOURCES[day % 2])
    first, last = day_of(0), day_of(9)
    assert said(lake, first, last) == stored(lake, first, last)
    kept = CacheFile(kept_days._FILE, lake.disk)
    if harm == "flip":
        content = bytearray(kept.read())
        content[content.index(b"created") + 30] ^= 1
        kept.path.write_bytes(content)
        assert kept.damage()
    elif harm == "other version":
        monkeypatch.setattr(kept_days, "_LAYOUT", 99)
    lake.write(9, ["A:A"])
    opened: list[str] = []
    whole = LocalDisk.open
    monkeypatch.setattr(
        LocalDisk, "open", lambda disk, key: (opened.append(key), whole(disk, key))[1]
    )
    found = said(lake, first, last)
    dates = {key.split("/")[-2] for key in opened if "date=" in key}
    assert found == stored(lake, first, last)
    assert dates == {f"date={day_of(day)}" for day in ((0, 1, 2, 3, 4, 9) if harm else (9,))}
