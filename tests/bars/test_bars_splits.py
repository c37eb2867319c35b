"""Split ratios stand on their ex-dates; a split-adjusted series is turned back to as traded."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from bars_tools import HEADER, Import, Rows, Write, day_of, utc

from ingestion.bars.refusals import Reason
from ingestion.base.errors import InputError

SAMPLE = Path(__file__).resolve().parent.parent.parent / "data" / "sample" / "bars.parquet"
EX_DATE = "2020-08-31"
COLUMNS = ("timestamp", "symbol", "open", "high", "low", "close", "volume", "split_ratio")


@pytest.fixture(scope="module")
def traded() -> pa.Table:
    """Apple's real bars around its split of four for one, as traded."""
    bars = pq.read_table(SAMPLE)
    first, last = (int(utc(day).timestamp()) for day in ("2020-08-20", "2020-09-10"))
    chosen = (pc.field("symbol") == "NASDAQ:AAPL") & (pc.field("timestamp") > first)
    return bars.filter(chosen & (pc.field("timestamp") < last))


def adjusted(traded: pa.Table, *, with_ratio: bool) -> pa.Table:
    """What a vendor makes of it: earlier prices divided by four, volumes multiplied."""
    before = pc.less(traded["timestamp"], int(utc(EX_DATE).timestamp()))
    factor = pc.if_else(before, 4.0, 1.0)
    columns = {name: traded[name] for name in COLUMNS}
    for name in ("open", "high", "low", "close"):
        columns[name] = pc.divide(traded[name], factor)
    columns["volume"] = pc.multiply(traded["volume"], factor)
    if with_ratio:
        ratio = columns.pop("split_ratio")
        columns["Stock Splits"] = pc.if_else(pc.equal(ratio, 1.0), 0.0, ratio)
    else:
        del columns["split_ratio"]
    return pa.table(columns)


def rows_of(table: pa.Table) -> list[dict[str, object]]:
    found: list[dict[str, object]] = table.select(COLUMNS).to_pylist()
    return found


def plain(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{name: row[name] for name in COLUMNS} for row in rows]


@pytest.mark.parametrize("given_by", ["column", "splits file", "both"])
def test_an_adjusted_series_is_turned_back_where_its_splits_are_given(
    given_by: str, traded: pa.Table, tmp_path: Path, run: Import, write: Write, stored: Rows
) -> None:
    path = tmp_path / "adjusted.parquet"
    pq.write_table(adjusted(traded, with_ratio=given_by != "splits file"), path)
    splits = write("splits.csv", f"symbol,date,ratio\nNASDAQ:AAPL,{EX_DATE},4:1\n")
    result = run(path, adjusted=True, splits=None if given_by == "column" else splits)
    assert result.still_adjusted == ()
    assert plain(stored()) == rows_of(traded)
    assert {row["source"] for row in stored()} == {"import:adjusted.parquet"}


def test_a_split_after_the_last_bar_counts_too(
    traded: pa.Table, tmp_path: Path, run: Import, write: Write, stored: Rows
) -> None:
    earlier = traded.slice(0, 5)
    path = tmp_path / "adjusted.parquet"
    pq.write_table(adjusted(earlier, with_ratio=False), path)
    splits = write("splits.csv", f"symbol,date,ratio\nNASDAQ:AAPL,{EX_DATE},4\n")
    result = run(path, adjusted=True, splits=splits)
    assert plain(stored()) == rows_of(earlier)
    assert (result.refusals, result.splits_ahead) == ((), 1)


def test_an_adjusted_series_without_splits_is_taken_as_it_comes_and_marked(
    traded: pa.Table, tmp_path: Path, run: Import, write: Write, stored: Rows
) -> None:
    vendor = adjusted(traded, with_ratio=False)
    path = tmp_path / "adjusted.parquet"
    pq.write_table(vendor, path)
    result = run(path, adjusted=True)
    assert result.still_adjusted == ("NASDAQ:AAPL",)
    assert [row["close"] for row in stored()] == vendor["close"].to_pylist()
    assert {row["split_ratio"] for row in stored()} == {1.0}
    assert {row["source"] for row in stored()} == {"import:adjusted.parquet;adjusted"}
    splits = write("splits.csv", f"symbol,date,ratio\nNASDAQ:AAPL,{EX_DATE},4\n")
    with pytest.raises(InputError, match=str(Reason.ADJUSTED)):
        run(splits=splits)
    # With its splits it becomes as traded after all.
    run(path, adjusted=True, splits=splits)
    assert plain(stored()) == rows_of(traded)


def test_splits_alone_are_recorded_on_stored_bars_as_restatements(
    run: Import, write: Write, stored: Rows
) -> None:
    """The market hid the split from the open: 4 % lower, it is like none."""
    lines = [day_of("NASDAQ:A", "2021-03-01", 20.0), day_of("NASDAQ:A", "2021-03-02", 9.6)]
    path = write("raw.csv", HEADER + "".join(lines))
    run(path)
    before = {row["timestamp"]: row for row in stored()}
    splits = write("splits.csv", "ticker,Date,ratio\nA,2021-03-02,2/1\n")
    result = run(splits=splits, exchange="NASDAQ")
    assert (result.written, result.restated, len(result.parts)) == (1, 1, 1)
    assert [row["split_ratio"] for row in stored()] == [1.0, 2.0]
    (changed,) = (row for row in stored() if row != before[row["timestamp"]])
    old = before[changed["timestamp"]]
    assert changed["created_timestamp"] == old["created_timestamp"] + timedelta(microseconds=1)
    assert changed["source"] == "import:raw.csv;splits:splits.csv"
    assert run(splits=splits, exchange="NASDAQ").written == 0
    # A file that says nothing about splits does not take the recorded one away.
    assert run(path).written == 0
    assert [row["split_ratio"] for row in stored()] == [1.0, 2.0]


def test_splits_given_with_bars_stand_on_their_ex_dates(
    traded: pa.Table, tmp_path: Path, run: Import, write: Write, stored: Rows
) -> None:
    path = tmp_path / "raw.parquet"
    pq.write_table(traded.drop_columns(["split_ratio"]), path)
    run(path, splits=write("splits.csv", f"symbol,date,ratio\nNASDAQ:AAPL,{EX_DATE},4\n"))
    assert plain(stored()) == rows_of(traded)


def test_what_overflows_when_turned_back_is_refused(run: Import, write: Write) -> None:
    days = ("2021-03-01", "2021-03-02")
    bars = write("v.csv", HEADER + "".join(day_of("NYSE:A", day) for day in days))
    for ratio, reason in (("1e308", Reason.PRICE), ("1e-307", Reason.VOLUME)):
        splits = write("splits.csv", f"symbol,date,ratio\nNYSE:A,2021-03-02,{ratio}\n")
        result = run(bars, splits=splits, adjusted=True, max_return=1e308)
        assert [(row.row, row.reason) for row in result.refusals] == [(1, reason)]


def test_equal_splits_collapse_and_others_are_refused(
    run: Import, write: Write, stored: Rows
) -> None:
    days = ("2021-03-01", "2021-03-02")
    bars = write("v.csv", HEADER + "".join(day_of("NYSE:A", day) for day in days))
    lines = [f"NYSE:A,{day},{ratio}\n" for day, ratio in zip(days * 2, "2324", strict=True)]
    splits = write("splits.csv", "symbol,date,ratio\n" + "".join(lines))
    result = run(bars, splits=splits)
    assert [(row.row, row.reason) for row in result.refusals] == [
        (2, Reason.DUPLICATE),
        (4, Reason.DUPLICATE),
    ]
    assert (result.files[1].accepted, result.files[1].repeated) == (1, 1)
    assert [row["split_ratio"] for row in stored()] == [2.0, 1.0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("NYSE:A,2021-03-01,0", Reason.SPLIT),
        ("NYSE:A,2021-03-01,-2", Reason.SPLIT),
        ("NYSE:A,2021-03-01,inf", Reason.SPLIT),
        ("NYSE:A,2021-03-01,1:0", Reason.SPLIT),
        ("NYSE:A,2021-03-01,two", Reason.SPLIT),
        ("NYSE:A,2021-03-01,", Reason.SPLIT),
        ("NYSE:A,soon,2", Reason.TIME),
        ("NYSE:A,2021-03-05T22:00:00Z,2", Reason.SESSION),
        (",2021-03-01,2", Reason.SYMBOL),
        ("NYSE:A,2021-03-01", Reason.CELLS),
    ],
)
def test_a_bad_split_is_refused_and_the_others_are_recorded(
    line: str, reason: Reason, run: Import, write: Write, stored: Rows
) -> None:
    bars = write(
        "v.csv",
        HEADER + day_of("NYSE:A", "2021-03-01", 20.0) + day_of("NYSE:A", "2021-03-02", 10.0),
    )
    splits = write("splits.csv", f"symbol,date,ratio\n{line}\nNYSE:A,2021-03-02,2\n")
    result = run(bars, splits=splits)
    (refusal,) = result.refusals
    assert (refusal.file, refusal.row, refusal.reason) == (str(splits), 1, reason)
    assert [row["split_ratio"] for row in stored()] == [1.0, 2.0]
    assert (result.files[1].read, result.files[1].accepted) == (2, 1)


def test_a_split_waits_for_its_bar(run: Import, write: Write, stored: Rows) -> None:
    splits = write("splits.csv", "symbol,date,ratio\nNYSE:A,2021-03-02,3:2\n")
    result = run(splits=splits)
    assert (result.splits_ahead, result.written, result.parts) == (1, 1, ())
    assert (run(splits=splits).splits_ahead, run(splits=splits).unchanged) == (0, 1)
    bars = write(
        "v.csv",
        HEADER + day_of("NYSE:A", "2021-03-01", 15.0) + day_of("NYSE:A", "2021-03-02", 10.0),
    )
    run(bars)
    assert [row["split_ratio"] for row in stored()] == [1.0, 1.5]
    assert run(bars).written == 0


@pytest.mark.parametrize("day", ["2021-03-06", "2021-03-07T00:00:00Z", "2021-03-06 00:00:00-05:00"])
def test_a_split_of_a_day_without_a_session_is_that_of_the_next_one(
    day: str, run: Import, write: Write, stored: Rows
) -> None:
    """The sixth and seventh of March 2021 are a weekend."""
    splits = write("splits.csv", f"symbol,date,ratio\nNYSE:A,{day},4\n")
    lines = [day_of("NYSE:A", "2021-03-05", 100.0), day_of("NYSE:A", "2021-03-08", 25.0)]
    result = run(write("v.csv", HEADER + "".join(lines)), splits=splits)
    assert (result.refused, result.held) == (0, 0)
    assert [row["split_ratio"] for row in stored()] == [1.0, 4.0]


def test_of_two_ratios_of_one_day_the_one_recorded_last_is_taken_up(
    run: Import, write: Write, stored: Rows
) -> None:
    for ratio in (3, 2):
        run(splits=write(f"{ratio}.csv", f"symbol,date,ratio\nNYSE:A,2021-03-02,{ratio}\n"))
    run(write("v.csv", HEADER + day_of("NYSE:A", "2021-03-02")))
    assert [row["split_ratio"] for row in stored()] == [2.0]


def test_a_file_that_tells_of_splits_overrules_what_waits(
    run: Import, write: Write, stored: Rows
) -> None:
    run(splits=write("splits.csv", "symbol,date,ratio\nNYSE:A,2021-03-02,3\n"))
    header = HEADER.replace("volume", "volume,split_ratio")
    line = day_of("NYSE:A", "2021-03-02").strip()
    run(write("v.csv", f"{header}{line},1\n"))
    assert [row["split_ratio"] for row in stored()] == [1.0]


def test_a_split_at_an_instant_is_of_the_bar_that_opens_then(
    run: Import, write: Write, stored: Rows
) -> None:
    """Of an exchange of unknown hours, a date alone would be the UTC day."""
    line = "NYSE:A,2021-03-02T14:30:00Z,2\nNOWHERE:A,2021-03-02T09:00:00Z,3\n"
    run(splits=write("splits.csv", f"symbol,date,ratio\n{line}"))
    lines = day_of("NYSE:A", "2021-03-02") + day_of("NOWHERE:A", "2021-03-02T09:00:00Z")
    run(write("v.csv", HEADER + lines))
    assert [row["split_ratio"] for row in stored()] == [3.0, 2.0]
