"""Served against recomputed, over snapshots that came through the replay scanner."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import InputError, LakehouseLocked
from ingestion.base.plain import plain
from ingestion.base.progress import Progress, showing
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.compute.parity import ParityRequest, parity
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.lakehouse import append_part, lakehouse_lock, list_parts, read_current
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.quality.parity import ColumnParity
from ingestion.replay import Panel, ReplayScanner
from tests.conftest import SAMPLE
from tests.declared import LOCAL_1D, TV_TECHNICALS_1D
from tests.lakehouse.in_a_bucket import access

STOCKS = ("NASDAQ:AAPL", "NASDAQ:TSLA", "NYSE:JPM")
BTC = "BINANCE:BTCUSDT"
BARLESS = "NYSE:XOM"
"""Served, but never imported."""
SYMBOLS = (*STOCKS, BTC, BARLESS)
MONDAY = datetime(2021, 4, 12, 21, 30, tzinfo=UTC)
SNAPSHOTS = (
    MONDAY,
    MONDAY + timedelta(days=1),
    datetime(2021, 4, 14, 20, 10, tzinfo=UTC),  # ten minutes after the close: not final yet
    MONDAY + timedelta(days=3),
    MONDAY + timedelta(days=5),  # Saturday: Friday's bar for the first time
    MONDAY + timedelta(days=6),  # Sunday: Friday's bar again
)
FIRST = datetime(2020, 12, 1, tzinfo=UTC)
WRITTEN = datetime(2021, 5, 1, tzinfo=UTC)
CLOCK_COLUMNS = ("Perf.W", "Perf.1M")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lakehouse with six snapshots of five symbols, the bars of four, and their features."""
    root = tmp_path_factory.mktemp("parity")
    table = pq.read_table(SAMPLE / "bars.parquet")
    with (SAMPLE / "symbols.csv").open(encoding="utf-8") as file:
        about = {row["symbol"]: row for row in csv.DictReader(file)}
    table = table.filter(
        pc.and_(
            pc.is_in(table["symbol"], pa.array(SYMBOLS)),
            pc.greater_equal(table["timestamp"], int(FIRST.timestamp())),
        )
    )
    known = table.filter(pc.not_equal(table["symbol"], BARLESS))
    pq.write_table(auctioned(known), root / "bars.parquet")
    panel = Panel.from_bars(table, about)
    with pytest.MonkeyPatch.context() as patch, ReplayScanner(panel) as replay:
        patch.setattr("os.fsync", lambda _: None)
        settings = replace(
            Project.from_environment(), lakehouse_at=root / "lakehouse", scanner_url=replay.url
        )
        request = FeatureIngestRequest(Candidates("test", SYMBOLS, (), 0))
        for instant in SNAPSHOTS:
            patch.setenv("TVFEAST_NOW", instant.isoformat())
            feature_ingest(settings, request)
        patch.setenv("TVFEAST_NOW", WRITTEN.isoformat())
        import_bars(settings, ImportRequest((root / "bars.parquet",)))
        local_features(settings)
    return root / "lakehouse"


def auctioned(bars: pa.Table) -> pa.Table:
    """Stamp stocks' opens at a pre-open auction, half an hour early, as some vendors do."""
    early = pc.if_else(pc.equal(bars["symbol"], BTC), 0, 1_800)
    place = bars.column_names.index("timestamp")
    return bars.set_column(place, "timestamp", pc.subtract(bars["timestamp"], early))


@pytest.fixture
def lakehouse(built: Path, tmp_path: Path, at) -> Project:
    """A copy to write to."""
    at(WRITTEN)
    shutil.copytree(built, tmp_path / "lakehouse")
    return replace(Project.from_environment(), lakehouse_at=tmp_path / "lakehouse")


def columns(settings: Project, **request) -> dict[str, ColumnParity]:
    report = parity(settings, ParityRequest(**request)).report
    return {column.feature: column for column in report.columns}


def restate(settings: Project, symbol: str, known_at: datetime, **values: float | None) -> None:
    """Write a later version of a snapshot's row."""
    parts = list_parts(settings.lakehouse, TV_TECHNICALS_1D)
    rows = read_current(parts, TV_TECHNICALS_1D)
    wanted = pc.and_(
        pc.equal(rows["symbol"], symbol), pc.equal(rows["timestamp"], int(known_at.timestamp()))
    )
    (row,) = rows.filter(wanted).to_pylist()
    row |= {"created_timestamp": WRITTEN + timedelta(seconds=len(parts)), **values}
    table = pa.Table.from_pylist([row], schema=rows.schema)
    append_part(settings.lakehouse, TV_TECHNICALS_1D, table, "restatement")


class Told(Progress):
    """What a job says of its progress."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int | None]] = []

    def start(self, total: int | None) -> None:
        self.said.append(("of", total))

    def advance(self, number: int) -> None:
        self.said.append(("done", number))

    def close(self) -> None:
        self.said.append(("closed", 0))


@pytest.mark.parametrize(
    ("days", "parts"), [((date.min, date.max), 6), ((date(2021, 4, 13), date(2021, 4, 15)), 3)]
)
def test_it_reads_the_snapshots_of_the_dates_alone_and_says_how_far_it_is(
    lakehouse: Project, days: tuple[date, date], parts: int
) -> None:
    told = defaultdict[str, Told](Told)
    with showing(lambda what, *_: told[what]):
        parity(lakehouse, ParityRequest(*days))
    assert told["parity"].said == [("of", parts), ("done", parts), ("closed", 0)]
    behind = told["dates of bars read"].said  # those behind what differs
    assert behind[0] == ("of", None)
    assert set(behind[1:-1]) == {("done", 1)}
    assert behind[-1] == ("closed", 0)
    empty = Told()
    with (
        showing(lambda *_: empty),
        pytest.raises(InputError, match="no snapshots in that range"),
    ):
        parity(lakehouse, ParityRequest(date(2022, 1, 1)))
    assert empty.said == [("closed", 0)]


def test_what_the_bars_give_is_what_was_served(lakehouse: Project):
    """The same formulas on both sides, through scanner, lakehouse, bars and joins."""
    report = parity(lakehouse).report
    assert [column.feature for column in report.columns] == [
        column.name for column in TV_TECHNICALS_1D.features
    ]
    for column in report.columns:
        assert column.n == report.compared
        assert (column.served_only, column.recomputed_only) == (0, 0)
        if column.feature not in CLOCK_COLUMNS:
            assert column.max_error == column.median_error == 0
            assert column.sign_agreement == 1
            assert column.rank_correlation == pytest.approx(1)
            assert (column.beyond, column.worst) == (0, ())


def test_each_snapshot_is_counted_once(lakehouse: Project):
    report = parity(lakehouse).report
    evenings, stocks = len(SNAPSHOTS), len(STOCKS)
    assert report.snapshots == evenings * len(SYMBOLS)
    # Wednesday's bar of the stocks and of the barless one was seen only before it was final.
    assert (report.open, report.unknown) == (stocks + 1, 0)
    # The stocks' bars of Monday, Tuesday, Thursday, Friday; a bar of Bitcoin each time.
    assert report.compared == 4 * stocks + evenings
    assert report.unmatched == 4
    assert report.repeated == stocks + 1, "Sunday shows Friday's bar once more"
    assert (report.first, report.last) == (date(2021, 4, 12), date(2021, 4, 18))


def test_an_injected_error_is_found_and_named(lakehouse: Project):
    before = columns(lakehouse)
    restate(lakehouse, "NASDAQ:TSLA", SNAPSHOTS[1], RSI=12.5, AO=-1e6)
    found = columns(lakehouse)
    assert {name for name in found if found[name] != before[name]} == {"RSI", "AO"}
    (named,) = found["RSI"].worst
    assert (named.symbol, named.served) == ("NASDAQ:TSLA", 12.5)
    assert named.bar_close == datetime(2021, 4, 13, 20, tzinfo=UTC)
    local = read_current(list_parts(lakehouse.lakehouse, LOCAL_1D), LOCAL_1D)
    stored = {(row["symbol"], row["event_timestamp"]): row["RSI"] for row in local.to_pylist()}
    assert named.recomputed == stored["NASDAQ:TSLA", named.bar_close]
    assert found["RSI"].max_error == pytest.approx(abs(12.5 - named.recomputed))
    assert found["RSI"].median_error == 0
    assert found["AO"].sign_agreement == pytest.approx(1 - 1 / found["AO"].n)
    assert columns(lakehouse, tolerance=1.0)["RSI"].beyond == 0


def test_a_value_on_one_side_only_is_counted_apart(lakehouse: Project):
    restate(lakehouse, "NYSE:JPM", SNAPSHOTS[0], RSI=None)
    found = columns(lakehouse)
    assert (found["RSI"].recomputed_only, found["RSI"].served_only) == (1, 0)
    assert found["RSI"].n == found["ADX"].n - 1


def test_the_first_final_snapshot_of_a_bar_counts(lakehouse: Project):
    before = columns(lakehouse)
    restate(lakehouse, "NYSE:JPM", SNAPSHOTS[5], RSI=1.0)  # Sunday repeats Friday's bar
    restate(lakehouse, "NYSE:JPM", SNAPSHOTS[2], RSI=1.0)  # Wednesday's was still open
    assert columns(lakehouse) == before
    restate(lakehouse, "NYSE:JPM", SNAPSHOTS[4], RSI=1.0)
    assert columns(lakehouse)["RSI"].beyond == 1


def test_a_snapshot_that_does_not_tell_its_bar_is_not_compared(lakehouse: Project):
    before = parity(lakehouse).report
    restate(lakehouse, "NYSE:JPM", SNAPSHOTS[1], bar_timestamp=None)
    after = parity(lakehouse).report
    assert (after.unknown, after.compared) == (1, before.compared - 1)


def test_performance_is_recomputed_at_the_snapshots_instant(lakehouse: Project):
    """Bitcoin's bar of 11 April, seen on the 12th at 21:30: seven days before that is past the
    open of the 5th. From the bar's close, at 00:00, the last open before would be the 4th's.
    """
    rows = pq.read_table(SAMPLE / "bars.parquet").to_pylist()
    bars = {datetime.fromtimestamp(r["timestamp"], UTC): r for r in rows if r["symbol"] == BTC}
    at_instant, at_close = (
        100 * (bars[datetime(2021, 4, 11, tzinfo=UTC)]["close"] / bars[since]["open"] - 1)
        for since in (datetime(2021, 4, 5, tzinfo=UTC), datetime(2021, 4, 4, tzinfo=UTC))
    )
    local = read_current(list_parts(lakehouse.lakehouse, LOCAL_1D), LOCAL_1D).to_pylist()
    midnight = datetime(2021, 4, 12, tzinfo=UTC)
    (stored,) = (r for r in local if (r["symbol"], r["event_timestamp"]) == (BTC, midnight))
    assert stored["Perf.W"] == pytest.approx(at_close)
    assert abs(at_instant - at_close) > 1
    for instant in SNAPSHOTS[1:]:
        restate(lakehouse, BTC, instant, **{"Perf.W": None})
    for served, beyond in ((at_instant, 0), (at_close, 1)):
        restate(lakehouse, BTC, SNAPSHOTS[0], **{"Perf.W": served})
        found = columns(lakehouse)["Perf.W"]
        assert found.beyond == beyond
    assert found.worst[0].recomputed == pytest.approx(at_instant)


def test_a_range_compares_its_own_snapshots(lakehouse: Project):
    report = parity(lakehouse, ParityRequest(date(2021, 4, 13), date(2021, 4, 15))).report
    assert (report.first, report.last) == (date(2021, 4, 13), date(2021, 4, 15))
    assert report.compared == 2 * len(STOCKS) + 3
    weekend = parity(lakehouse, ParityRequest(date(2021, 4, 18))).report
    assert weekend.compared == len(STOCKS) + 1, "of this range, Sunday has Friday's bar first"


def test_the_receipt_holds_the_report(lakehouse: Project):
    restate(lakehouse, "NASDAQ:TSLA", SNAPSHOTS[1], RSI=12.5)
    result = parity(lakehouse)
    assert result.receipt.key == f"_runs/{result.report.run_id}/parity.json"
    document = json.loads(result.receipt.path.read_bytes())
    report = json.loads(json.dumps(plain(result.report)))
    assert {name: document[name] for name in report} == report
    (rsi,) = (column for column in document["columns"] if column["feature"] == "RSI")
    assert rsi["worst"][0]["bar_close"] == "2021-04-13T20:00:00+00:00"
    again = parity(lakehouse).report
    assert replace(again, run_id=result.report.run_id) == result.report
    assert not list(lakehouse.lakehouse_at.glob("_tmp/*"))


def test_without_anything_to_compare_it_says_what_to_do(lakehouse: Project, tmp_path: Path):
    with pytest.raises(InputError, match="flow-data"):
        parity(replace(lakehouse, lakehouse_at=tmp_path / "none"))
    with pytest.raises(InputError, match="2021-04-12 to 2021-04-18"):
        parity(lakehouse, ParityRequest(date(2022, 1, 1)))
    with pytest.raises(InputError, match="after"):
        parity(lakehouse, ParityRequest(date(2022, 1, 2), date(2022, 1, 1)))
    shutil.rmtree(lakehouse.lakehouse_at / LOCAL_1D.storage)
    with pytest.raises(InputError, match=r"22 of finished.* 4 of bars still open.*import-bars"):
        parity(lakehouse)


def test_it_waits_for_no_other_run(lakehouse: Project):
    with lakehouse_lock(lakehouse.lakehouse, "other"), pytest.raises(LakehouseLocked):
        parity(lakehouse)


def test_the_command_prints_a_table_or_one_object(lakehouse: Project):
    restate(lakehouse, "NASDAQ:TSLA", SNAPSHOTS[1], RSI=12.5)
    for *arguments, lines in (["parity", 20], ["parity", "--json", "--from", "2021-04-13", 1]):
        done = subprocess.run(
            [sys.executable, "-m", "ingestion.cli", *arguments],
            env={
                **access(),
                "PATH": os.environ["PATH"],
                "TVFEAST_LAKEHOUSE": str(lakehouse.lakehouse_at),
                "TVFEAST_NOW": WRITTEN.isoformat(),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) >= lines
        if lines == 1:
            assert len(json.loads(done.stdout)["report"]["columns"]) == 14
        else:
            assert "RSI of NASDAQ:TSLA, bar closed 2021-04-13 20:00 UTC: served 12.5" in done.stdout
