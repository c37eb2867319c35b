"""Labels from the lakehouse: which bars are read, and what the result warns of."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from target_bars import daily, sample_bars

from ingestion.base.errors import CorruptPart, InputError
from ingestion.base.progress import Progress, showing
from ingestion.catalog import OHLCV_1D, Dataset
from ingestion.datasets import forward_returns
from ingestion.jobs.compute import lookahead
from ingestion.jobs.compute.lookahead import verify_lakehouse
from ingestion.jobs.serve.targets import LABEL_COLUMNS, read_bars, training_labels
from ingestion.lakehouse import Lakehouse, LocalDisk, append_part, arrow_schema, list_parts
from ingestion.lakehouse.parts import Part
from ingestion.project import Project

WRITTEN = datetime(2026, 11, 1, tzinfo=UTC)
SYMBOLS = ("BINANCE:BTCUSDT", "NASDAQ:AAPL", "NASDAQ:TSLA", "NYSE:NEE")
FIRST, LAST = date(2020, 8, 20), date(2020, 9, 10)


def settings_in(folder: Path) -> Project:
    return Project(folder, folder / "lakehouse", "https://scanner.test")


@pytest.fixture
def empty(tmp_path: Path) -> Project:
    return settings_in(tmp_path)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The sample's bars of some weeks around AAPL's and TSLA's splits; only to be read."""
    settings = settings_in(tmp_path_factory.mktemp("stocked"))
    bars = sample_bars(*SYMBOLS)
    closed = bars["event_timestamp"].cast(pa.date32())
    span = pc.and_(
        pc.greater_equal(closed, date(2020, 8, 1)), pc.less_equal(closed, date(2020, 10, 31))
    )
    write(settings, bars.filter(span))
    return settings


def write(settings: Project, bars: pa.Table, created: datetime = WRITTEN) -> None:
    """Append bars, a part a date; highs, lows and volumes that are not given are made up."""
    size = bars.num_rows
    made_up = {
        "high": bars["close"],
        "low": bars["close"],
        "volume": pa.array(np.ones(size)),
        "created_timestamp": pa.array([created] * size, pa.timestamp("us", tz="UTC")),
        "source": pa.array(["test"] * size),
    }
    schema = arrow_schema(OHLCV_1D)
    rows = pa.table(
        {n: bars[n] if n in bars.column_names else made_up[n] for n in schema.names}, schema=schema
    )
    dates = rows["event_timestamp"].cast(pa.date32())
    for day in pc.unique(dates).to_pylist():
        append_part(settings.lakehouse, OHLCV_1D, rows.filter(pc.equal(dates, day)), "run")


def spoil(settings: Project, day: date) -> None:
    """Put a part that cannot be read into a partition."""
    folder = settings.lakehouse_at / OHLCV_1D.storage / f"date={day}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "part-99.parquet").write_bytes(b"no Parquet")


def test_bars_of_a_date_range_are_read_once_with_the_asked_columns(stocked: Project) -> None:
    bars = read_bars(stocked.lakehouse, FIRST, LAST)
    assert tuple(bars.column_names) == LABEL_COLUMNS
    days = bars["event_timestamp"].cast(pa.date32()).to_pylist()
    assert (min(days), max(days)) == (FIRST, LAST)
    assert days == sorted(days)
    keys = bars.select(["symbol", "timestamp"]).to_pylist()
    assert len({tuple(key.values()) for key in keys}) == len(keys)
    assert set(bars["symbol"].unique().to_pylist()) == set(SYMBOLS)
    only = read_bars(stocked.lakehouse, FIRST, LAST, ["NYSE:NEE"], ["timestamp", "symbol", "low"])
    assert only.column_names == ["timestamp", "symbol", "low"]
    assert only["symbol"].unique().to_pylist() == ["NYSE:NEE"]


def test_symbols_that_appear_later_keep_their_names(empty: Project) -> None:
    start = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
    write(empty, daily([1, 2], symbol="TEST:M", start=start))
    write(empty, daily([3, 4], symbol="TEST:Z", start=start + timedelta(days=1)))
    write(empty, daily([5], symbol="TEST:A", start=start + timedelta(days=2)))
    bars = read_bars(empty.lakehouse, date.min, date.max)
    assert bars["symbol"].to_pylist() == ["TEST:M", "TEST:M", "TEST:Z", "TEST:A", "TEST:Z"]
    assert bars["close"].to_pylist() == [1, 2, 3, 5, 4]


def test_a_restated_bar_is_read_as_written_last(empty: Project) -> None:
    write(empty, daily([10, 11, 12]))
    write(empty, daily([10, 22, 12]), WRITTEN + timedelta(days=1))
    write(empty, daily([10, 33, 12]), WRITTEN - timedelta(days=1))
    assert read_bars(empty.lakehouse, date.min, date.max)["close"].to_pylist() == [10, 22, 12]
    labels = training_labels(empty, "fwd_return_1d", date.min, date.max, "close").labels
    assert labels.table["fwd_return_1d"].to_pylist() == [22 / 10 - 1, 12 / 22 - 1]


def test_no_bars_are_an_empty_table_of_the_same_columns(stocked: Project) -> None:
    there = read_bars(stocked.lakehouse, FIRST, LAST)
    for nothing in (
        read_bars(stocked.lakehouse, date(1999, 1, 1), date(1999, 12, 31)),
        read_bars(LocalDisk(stocked.lakehouse_at / "elsewhere"), FIRST, LAST),
        read_bars(stocked.lakehouse, FIRST, LAST, ["TEST:NONE"]),
        read_bars(stocked.lakehouse, FIRST, LAST, []),
    ):
        assert nothing.num_rows == 0
        assert nothing.schema == there.schema


@pytest.mark.parametrize("entry", ["open", "close"])
def test_labels_are_the_forward_returns_of_all_bars(stocked: Project, entry: str) -> None:
    result = training_labels(stocked, "fwd_return_5d", FIRST, LAST, entry)
    bars = sample_bars(*SYMBOLS)
    wanted = forward_returns(bars, 5, entry=entry, first=FIRST, last=LAST)
    assert result.labels == wanted
    assert result.labels.table.num_rows == wanted.decisions == 16 * 3 - 3 + 22
    assert result.symbols == 4


def test_only_the_partitions_of_the_windows_are_read(stocked: Project, empty: Project) -> None:
    wanted = training_labels(stocked, "fwd_return_1d", FIRST, LAST)
    shutil.copytree(stocked.lakehouse_at, empty.lakehouse_at)
    spoil(empty, FIRST - timedelta(days=1))
    spoil(empty, LAST + timedelta(days=13))
    assert training_labels(empty, "fwd_return_1d", FIRST, LAST) == wanted
    spoil(empty, LAST + timedelta(days=12))
    with pytest.raises(CorruptPart, match="part-99"):
        training_labels(empty, "fwd_return_1d", FIRST, LAST)


def test_a_range_to_the_end_of_time_is_allowed(stocked: Project) -> None:
    labels = training_labels(stocked, "fwd_return_9999d", date.min, date.max).labels
    assert labels.table.num_rows == 0
    assert sum(labels.dropped.values()) == labels.decisions > 0


def test_the_result_warns_of_survivors(stocked: Project) -> None:
    (survivors,) = training_labels(stocked, "fwd_return_5d", FIRST, LAST).warnings
    assert survivors.startswith("survivors: these 4 symbols")
    assert "--universe-as-of" in survivors


def test_symbols_without_bars_are_named(stocked: Project) -> None:
    asked = ["NYSE:NEE", *(f"TEST:{letter}" for letter in "ABCDEFG")]
    result = training_labels(stocked, "fwd_return_5d", FIRST, LAST, symbols=asked)
    assert result.symbols == 1
    assert result.warnings[1] == (
        "no bars in the range: TEST:A, TEST:B, TEST:C, TEST:D, TEST:E and 2 more"
    )


def test_dropped_halts_and_early_opens_are_warned_of(empty: Project) -> None:
    halted = daily([1.0] * 40, symbol="TEST:HALT", missing=tuple(range(5, 30)))
    early = daily([1.0] * 40, symbol="TEST:EARLY")
    stamps = [t + timedelta(hours=18) for t in early["event_timestamp"].to_pylist()]
    early = early.set_column(5, "event_timestamp", pa.array(stamps, pa.timestamp("us", tz="UTC")))
    write(empty, pa.concat_tables([halted, early]))
    result = training_labels(empty, "fwd_return_2d", date(2026, 1, 1), date(2026, 1, 31))
    assert [text.split(" because")[0] for text in result.warnings[1:]] == [
        "2 rows were dropped",
        "26 rows were dropped",
    ]
    assert "halted or delisted" in result.warnings[1]
    assert "hours of these exchanges" in result.warnings[2]


@pytest.mark.parametrize("universe", [True, datetime(2026, 1, 1, tzinfo=UTC)])
def test_the_universe_as_of_is_refused_until_it_is_known(
    stocked: Project, universe: bool | datetime
) -> None:
    with pytest.raises(InputError, match="has no symbols yet: run tvfeast meta-ingest"):
        training_labels(stocked, "fwd_return_5d", FIRST, LAST, universe_as_of=universe)


def test_no_decision_in_the_range_is_refused(stocked: Project) -> None:
    with pytest.raises(InputError, match=r"closed from 1999-01-01 to 1999-12-31.*import-bars"):
        training_labels(stocked, "fwd_return_5d", date(1999, 1, 1), date(1999, 12, 31))
    with pytest.raises(InputError, match="no bar of these symbols"):
        training_labels(stocked, "fwd_return_5d", FIRST, LAST, symbols=["TEST:NONE"])
    with pytest.raises(InputError, match="2020-09-10, is after the last, 2020-08-20"):
        training_labels(stocked, "fwd_return_5d", LAST, FIRST)


def test_an_unknown_target_is_refused_before_anything_is_read(empty: Project) -> None:
    with pytest.raises(InputError, match="fwd_return_<n>d"):
        training_labels(empty, "alpha", FIRST, LAST)


def test_the_lookahead_proof_reads_again_what_is_merged_meanwhile(empty: Project, monkeypatch):
    write(empty, daily([10.0, 11.0, 12.0]))
    listed, moved = lookahead.list_parts, []

    def moved_once(lakehouse: Lakehouse, dataset: Dataset, since: date) -> list[Part]:
        parts = listed(lakehouse, dataset, since)
        if not moved:
            last = parts[-1].path
            moved.append(last.rename(last.with_name("part-1.parquet")))
        return parts

    monkeypatch.setattr(lookahead, "list_parts", moved_once)
    assert verify_lakehouse(empty).passed
    assert moved


def test_the_proof_can_be_limited_to_later_bars_and_says_how_far_it_is(empty: Project):
    write(empty, daily([10.0, 11.0, 12.0, 13.0, 14.0, 15.0]))
    told = Counter[str]()

    class Told(Progress):
        def start(self, total: int | None) -> None:
            told["of"] = total or 0

        def advance(self, number: int) -> None:
            told["done"] += number

    with showing(lambda *_: Told()):
        whole = verify_lakehouse(empty)
    assert told["of"] == told["done"] >= whole.recomputations
    newest = list_parts(empty.lakehouse, OHLCV_1D)[-2].date
    later = verify_lakehouse(empty, since=newest)
    assert (whole.bars, later.bars, later.passed) == (6, 2, True)
    with pytest.raises(InputError, match="no bars of 2030-01-01 or later"):
        verify_lakehouse(empty, since=date(2030, 1, 1))


def test_on_a_sunday_the_proof_takes_every_markets_symbols(stocked: Project, tmp_path: Path):
    """The newest week of dates has coins alone, as after a holiday of the others."""
    settings = settings_in(tmp_path)
    shutil.copytree(stocked.lakehouse_at, settings.lakehouse_at)
    sunday = datetime(2020, 11, 1, tzinfo=UTC)
    for coin in ("BINANCE:BTCUSDT", "COINBASE:ETHUSD", "COINBASE:SOLUSD"):
        write(settings, daily([10.0 + day for day in range(8)], symbol=coin, start=sunday))
    report = verify_lakehouse(settings)
    assert report.passed
    assert report.exchanges == ("BINANCE", "COINBASE", "NASDAQ", "NYSE")
    assert report.symbols == 6
    assert verify_lakehouse(settings, most_symbols=4).exchanges == report.exchanges
    assert verify_lakehouse(settings, most_symbols=4) == verify_lakehouse(settings, most_symbols=4)


@pytest.mark.parametrize(
    ("names", "most", "chosen"),
    [
        (["A:1", "A:2", "A:3", "A:4", "B:1"], 3, ["A:1", "A:3", "B:1"]),
        (["A:1", "B:1", "B:2", "C:1", "C:2", "C:3", "C:4"], 5, ["A:1", "B:1", "B:2", "C:1", "C:3"]),
        (["A:1", "B:1", "C:1", "D:1"], 2, ["A:1", "C:1"]),
        (["A:1", "A:2"], 9, ["A:1", "A:2"]),
    ],
)
def test_symbols_are_spread_over_exchanges(names: list[str], most: int, chosen: list[str]):
    assert lookahead.spread(names, most) == chosen


@given(
    sizes=st.dictionaries(st.sampled_from("ABCDEFGH"), st.integers(1, 40), min_size=1),
    most=st.integers(1, 60),
)
def test_no_exchange_is_left_out_and_none_has_far_more_than_its_share(
    sizes: dict[str, int], most: int
):
    names = sorted(f"{e}:{at:02d}" for e, size in sizes.items() for at in range(size))
    chosen = lookahead.spread(names, most)
    assert len(chosen) == len(set(chosen)) == min(most, len(names))
    assert set(chosen) <= set(names)
    counts = {e: sum(name.startswith(f"{e}:") for name in chosen) for e in sizes}
    if most >= len(sizes):
        assert min(counts.values()) >= 1
        cut = [count for e, count in counts.items() if count < sizes[e]]
        assert not cut or max(counts.values()) - min(cut) <= 1
