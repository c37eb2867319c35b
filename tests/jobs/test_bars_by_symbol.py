"""Bars by symbol are the bars by date, whatever happened to either, and cost little to keep."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ingestion.catalog import OHLCV_1D
from ingestion.jobs.compute import bars_by_symbol
from ingestion.jobs.compute.bars_by_symbol import FOLDER, BarsBySymbol
from ingestion.jobs.compute.bars_of_symbol import BarsOfSymbol
from ingestion.lakehouse import LocalDisk, SeenParts, append_part, arrow_schema, list_parts
from ingestion.lakehouse.caches import cache_files
from ingestion.lakehouse.compact import merge_parts
from ingestion.lakehouse.ledger import Ledger

FIRST = datetime(2021, 1, 25, tzinfo=UTC)
SYMBOLS = ("A:A", "A:B", "B:A", "B:B", "B:C")
Key = tuple[str, int]
Bar = tuple[float, float, str]
"""Close, split ratio and source."""


class Lake:
    """A lakehouse of bars, and what they are by a way of its own."""

    def __init__(self, root: Path) -> None:
        self.disk, self.written = LocalDisk(root), 0
        self.bars: dict[Key, Bar] = {}
        """By symbol and day, the last version."""

    def write(self, day: int, symbols: list[str], source: str = "made up") -> None:
        """Append bars of a day, each other than all before."""
        opens = FIRST + timedelta(days=day)
        rows = []
        for symbol in symbols:
            self.written += 1
            close = 100.0 + self.written
            ratio = (1.0, 1.0, 2.0, 1 / 3)[self.written % 4]
            self.bars[symbol, day] = close, ratio, source
            rows.append(
                dict.fromkeys(("open", "high", "low", "close", "volume"), close)
                | {"timestamp": int(opens.timestamp()), "symbol": symbol, "source": source}
                | {"split_ratio": ratio}
                | {"event_timestamp": opens + timedelta(hours=7)}
                | {"created_timestamp": opens + timedelta(days=900, seconds=self.written)}
            )
        table = pa.Table.from_pylist(rows, schema=arrow_schema(OHLCV_1D))
        append_part(self.disk, OHLCV_1D, table, f"20260101T000000Z-{self.written}")

    def lose(self, day: int, number: int) -> None:
        """Lose a part of a day, and read what the others have."""
        when = (FIRST + timedelta(days=day)).date()
        parts = [part for part in list_parts(self.disk, OHLCV_1D) if part.date == when]
        parts[number % len(parts)].path.unlink()

    def merge(self, day: int) -> None:
        """Merge the parts of a day."""
        when = (FIRST + timedelta(days=day)).date()
        if sum(part.date == when for part in list_parts(self.disk, OHLCV_1D)) > 1:
            merge_parts(self.disk, OHLCV_1D, when, Ledger.read(self.disk), "20260102T000000Z-m")

    def open(self) -> BarsBySymbol:
        """Return the bars by symbol, as a run finds them."""
        scratch = self.disk.scratch_folder("scratch")
        return BarsBySymbol(self.disk, SeenParts.look(self.disk, OHLCV_1D), scratch)

    def read(self, symbols: list[str] | None = None) -> dict[Key, Bar]:
        """Return what it says of some symbols, or of all; every bar once."""
        parts = list_parts(self.disk, OHLCV_1D)
        nothing = arrow_schema(OHLCV_1D).empty_table()
        rows = pa.concat_tables([nothing, *self.open().months(parts, symbols)]).to_pylist()
        start = int(FIRST.timestamp())
        found = {
            (row["symbol"], (row["timestamp"] - start) // 86_400): tuple(
                row[name] for name in ("close", "split_ratio", "source")
            )
            for row in rows
        }
        assert len(found) == len(rows)
        return found

    def back(self, symbol: str, day: int) -> list[tuple[datetime, float | None]]:
        """Return what it says of one symbol from a day on back: closes and volumes."""
        last = FIRST + timedelta(days=day, hours=7)
        bars = BarsOfSymbol(self.disk, symbol, last.date())
        two = [(bar.close, bar.volume) for bar in islice(bars.back_from(last), 2)]
        found = [(bar.close, bar.volume) for bar in bars.back_from(last)]
        assert found[:2] == two  # they are read on from where it stopped
        return found

    def back_of(self, symbol: str, day: int) -> list[tuple[datetime, float]]:
        """Return what it must say."""
        days = sorted(
            (own for name, own in self.bars if name == symbol and own <= day), reverse=True
        )
        bars = [(own, *self.bars[symbol, own]) for own in days]
        return [
            (FIRST + timedelta(days=own, hours=7), close)
            for own, close, _, source in bars
            if source == "made up"
        ]

    def refresh(self, at_most: int = 9) -> None:
        """Do what a run does at its end, all parts being new."""
        self.open().refresh(list_parts(self.disk, OHLCV_1D), at_most)

    @property
    def files(self) -> dict[str, bytes]:
        """The files that there are, with their content."""
        return {file.path.stem: file.read() for file in cache_files(self.disk, FOLDER)}

    def of(self, symbols: list[str]) -> dict[Key, Bar]:
        """Return what it must say of some symbols."""
        return {key: bar for key, bar in self.bars.items() if key[0] in symbols}


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Bars of January to April 2021."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    made = Lake(tmp_path)
    for day in range(0, 70, 3):
        made.write(day, [*SYMBOLS])
    return made


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The dates whose bars are opened."""
    found: set[str] = set()
    whole = LocalDisk.open

    def noting(disk: LocalDisk, key: str) -> object:
        found.update(part for part in key.split("/") if part.startswith("date="))
        return whole(disk, key)

    monkeypatch.setattr(LocalDisk, "open", noting)
    return found


def dates(lake: Lake, since: date) -> set[str]:
    return {f"date={part.date}" for part in list_parts(lake.disk, OHLCV_1D, since)}


def test_months_that_are_over_are_read_from_their_files(lake: Lake, opened: set[str]):
    assert lake.read(["A:B"]) == lake.of(["A:B"])
    assert opened == dates(lake, FIRST.date())
    assert lake.files == {}  # to read some symbols makes none
    assert lake.read() == lake.bars
    assert [*lake.files] == ["2021-01", "2021-02", "2021-03"]
    opened.clear()
    seen = SeenParts.look(lake.disk, OHLCV_1D)
    opened.clear()
    some = ["A:A", "B:C", "X:ABSENT"]
    of_some = BarsBySymbol(lake.disk, seen, lake.disk.root).months(seen.parts, some)
    assert sum(rows.num_rows for rows in of_some) == len(lake.of(some))
    assert opened == dates(lake, date(2021, 4, 1))


def test_bars_back_are_read_by_month_and_as_far_as_somebody_asks(lake: Lake, opened: set[str]):
    lake.refresh()
    opened.clear()
    assert lake.back("A:B", 69) == lake.back_of("A:B", 69)
    assert opened == dates(lake, date(2021, 4, 1))
    opened.clear()
    last = FIRST + timedelta(days=51, hours=7)  # in the midst of March
    assert len([*islice(BarsOfSymbol(lake.disk, "A:B", last.date()).back_from(last), 3)]) == 3
    assert len(opened) == 3


def test_a_run_makes_a_few_months_and_writes_none_again_without_need(lake: Lake):
    lake.refresh(at_most=2)
    assert [*lake.files] == ["2021-02", "2021-03"]
    lake.refresh(at_most=2)
    before = lake.files
    assert [*before] == ["2021-01", "2021-02", "2021-03"]
    lake.write(100, [*SYMBOLS])  # April is over then
    lake.write(10, ["A:B"])
    lake.refresh()
    after = lake.files
    assert after.pop("2021-04")
    assert after == before
    assert lake.read(["A:B", "B:B"]) == lake.of(["A:B", "B:B"])
    for _ in range(bars_by_symbol._MANY):
        lake.write(10, ["A:B"])
    assert lake.read([*SYMBOLS]) == lake.bars
    lake.refresh()
    after = lake.files
    assert {month for month in before if after[month] != before[month]} == {"2021-02"}
    assert lake.read([*SYMBOLS]) == lake.bars


def test_a_month_without_bars_has_no_file(lake: Lake):
    lake.read()
    shutil.rmtree(lake.disk.root / "ohlcv_1d" / "date=2021-01-25")
    for day in (28, 31):
        shutil.rmtree(lake.disk.root / "ohlcv_1d" / f"date=2021-01-{day}")
    lake.refresh()
    assert [*lake.files] == ["2021-02", "2021-03"]
    assert all(day > 6 for _, day in lake.read())


def test_some_dates_of_a_month_are_not_taken_for_all_of_it(lake: Lake):
    parts = [part for part in list_parts(lake.disk, OHLCV_1D) if part.date < date(2021, 2, 15)]
    list(lake.open().months(parts, None))
    assert [*lake.files] == ["2021-01"]


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "other version", "no archive"])
def test_a_damaged_file_is_as_if_it_were_not_there(
    lake: Lake, harm: str, monkeypatch: pytest.MonkeyPatch
):
    if harm == "other version":
        with monkeypatch.context() as patch:
            patch.setattr(bars_by_symbol, "_LAYOUT", 99)
            lake.read()
    else:
        lake.read()
    path = lake.disk.root / "_caches" / FOLDER / "2021-02.zip"
    content = bytearray(path.read_bytes())
    if harm == "cut":
        del content[-50:]
    elif harm == "flip":
        content[content.index(b"0.numbers") + 200] ^= 1
    elif harm == "empty":
        content.clear()
    elif harm == "no archive":
        content[:] = b"nothing" * 99
    path.write_bytes(content)
    damaged = [file.name for file in cache_files(lake.disk, FOLDER) if file.damage()]
    assert damaged == ([] if harm == "other version" else [f"{FOLDER}/2021-02.zip"])
    assert lake.read([*SYMBOLS]) == lake.bars
    assert lake.back("B:B", 69) == lake.back_of("B:B", 69)
    found = lake.open()
    list(found.months(list_parts(lake.disk, OHLCV_1D), [*SYMBOLS]))
    found.refresh([], at_most=1)
    assert not [file for file in cache_files(lake.disk, FOLDER) if file.damage()]
    assert lake.read() == lake.bars


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.data())
def test_whatever_happens_it_says_what_the_dates_say(data: st.DataObject):
    days = st.integers(0, 70)
    some = st.lists(st.sampled_from(SYMBOLS), unique=True, min_size=1)
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr("os.fsync", lambda _: None)
        patch.setattr(bars_by_symbol, "_SYMBOLS_AT_ONCE", data.draw(st.integers(1, 3), "block"))
        patch.setattr(bars_by_symbol, "_MANY", data.draw(st.integers(1, 4), "many"))
        lake = Lake(Path(folder))
        for _ in range(data.draw(st.integers(1, 4), "rounds")):
            for day in data.draw(st.lists(days, min_size=1, max_size=6), "days"):
                source = data.draw(st.sampled_from(["made up", "withdrawn;wrong"]), "source")
                lake.write(day, data.draw(some, "symbols"), source)
            there = sorted({day for _, day in lake.bars})
            lake.merge(data.draw(st.sampled_from(there), "merged"))
            what = data.draw(st.sampled_from(["refresh", "read all", "read some"]), "then")
            if what == "refresh":
                lake.refresh(data.draw(st.integers(0, 3), "at most"))
            assert lake.read(None if what == "read all" else [*SYMBOLS]) == lake.bars
            of, last = data.draw(st.sampled_from(SYMBOLS), "of"), data.draw(days, "back from")
            assert lake.back(of, last) == lake.back_of(of, last)
        lost = data.draw(st.sampled_from(there), "lost")
        lake.lose(lost, data.draw(st.integers(0, 9), "part"))
        with_files, back = lake.read([*SYMBOLS]), lake.back("A:B", 70)
        shutil.rmtree(lake.disk.root / "_caches", ignore_errors=True)
        assert with_files == lake.read([*SYMBOLS])
        assert back == lake.back("A:B", 70)
