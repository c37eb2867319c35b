"""Wrong bars that are withdrawn: features, joins and what is served are those of the clean twin."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import demand_all
from ingestion.catalog import OHLCV_1D
from ingestion.cli.explain import explain_text
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.compute.local_features import backfill, local_features
from ingestion.jobs.compute.lookahead import verify_lakehouse
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.ingest.missing_sessions import find_holes
from ingestion.jobs.ingest.withdraw import WithdrawRequest, withdraw_bars
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.jobs.serve.training_set import TrainingSetRequest, training_set
from ingestion.jobs.serve.verify_online import verify_online
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import append_part, arrow_schema, list_parts, read_current
from ingestion.project import Project
from ingestion.runs.run import new_run_id
from tests.conftest import MONDAY, SAMPLE
from tests.declared import LOCAL_1D

HOUR = timedelta(hours=1)
SYMBOLS = ["NASDAQ:AAPL", "NASDAQ:TSLA", "NYSE:JPM"]
FEATURES = [column.name for column in LOCAL_1D.features]
SPOILED, WITHDRAWN = MONDAY + HOUR, MONDAY + 5 * HOUR
"""When the wrong bars came, and when they were withdrawn."""
WRONG = [
    ("NASDAQ:AAPL", "2021-03-05 00:00"),  # midnight UTC as a start, beside the right one
    ("NASDAQ:AAPL", "2021-03-05 21:00"),  # 16:00 New York as a start
    ("NYSE:JPM", "2021-03-06 00:00"),  # a Saturday
    ("NASDAQ:TSLA", "2021-01-10 00:00"),  # before the first one
    ("NASDAQ:TSLA", "2021-04-11 00:00"),  # after the last one, and served
    ("NYSE:ZZZ", "2021-04-10 00:00"),  # a symbol that has no other bar
    ("NYSE:ZZZ", "2021-04-11 00:00"),
]


@dataclass(frozen=True)
class Twins:
    """Two projects of the same good bars."""

    clean: Project
    spoiled: Project
    folder: Path


def wrong_bar(symbol: str, opened: str) -> dict[str, Any]:
    at = datetime.fromisoformat(opened).replace(tzinfo=UTC)
    return {
        "timestamp": int(at.timestamp()),
        "symbol": symbol,
        **{"open": 300.0, "high": 330.0, "low": 290.0, "close": 310.0},
        "volume": 100.0,
        "split_ratio": 1.0,
        "event_timestamp": at + timedelta(days=1),
        "created_timestamp": SPOILED,
        "source": "import:old.csv",
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    folder = tmp_path_factory.mktemp("twins")
    bars = pq.read_table(SAMPLE / "bars.parquet")
    since = int(datetime(2021, 1, 20, tzinfo=UTC).timestamp())
    until = int((MONDAY - timedelta(days=2)).timestamp())
    opened = pc.field("timestamp")
    wanted = pc.field("symbol").isin(SYMBOLS) & (opened >= since) & (opened < until)
    pq.write_table(bars.filter(wanted), folder / "bars.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        clean, spoiled = (make_workspace(folder / name) for name in ("clean", "spoiled"))
        patch.setenv("TVFEAST_NOW", MONDAY.isoformat())
        patch.setenv("TVFEAST_PROJECT", str(clean))
        twin = Project.from_environment()
        import_bars(twin, ImportRequest((folder / "bars.parquet",)))
        local_features(twin)
        patch.setenv("TVFEAST_PROJECT", str(spoiled))
        twins = Twins(twin, Project.from_environment(), folder)
        shutil.copytree(twin.lakehouse_at, twins.spoiled.lakehouse_at, dirs_exist_ok=True)
        spoil(twins.spoiled)
        patch.setenv("TVFEAST_NOW", (SPOILED + HOUR).isoformat())
        local_features(twins.spoiled)
        materialize(twins.spoiled)
        patch.setenv("TVFEAST_NOW", WITHDRAWN.isoformat())
        assert withdraw_bars(twins.spoiled, WithdrawRequest("bad", listed=True)).bars == len(WRONG)
        local_features(twins.spoiled)
        materialize(twins.spoiled)
        yield twins


def spoil(settings: Project) -> None:
    days: dict[date, list[dict[str, Any]]] = {}
    for each in WRONG:
        row = wrong_bar(*each)
        days.setdefault(row["event_timestamp"].date(), []).append(row)
    for rows in days.values():
        table = pa.Table.from_pylist(rows, schema=arrow_schema(OHLCV_1D))
        append_part(settings.lakehouse, OHLCV_1D, table, new_run_id())


@pytest.fixture
def twins(made: Twins, at, monkeypatch: pytest.MonkeyPatch) -> Twins:
    at(WITHDRAWN + HOUR)
    monkeypatch.setenv("TVFEAST_PROJECT", str(made.spoiled.folder))
    return made


def bars(settings: Project) -> list[dict[str, Any]]:
    rows = read_current(list_parts(settings.lakehouse, OHLCV_1D), OHLCV_1D)
    return rows.drop_columns(["created_timestamp"]).to_pylist()


def test_the_bars_are_those_of_the_clean_twin(twins: Twins):
    assert bars(twins.spoiled) == bars(twins.clean)
    assert check_lakehouse(twins.spoiled).faults == []
    now = WITHDRAWN + HOUR
    assert find_holes(twins.spoiled.lakehouse, now) == find_holes(twins.clean.lakehouse, now)


def test_the_rows_of_all_other_bars_are_those_of_the_clean_twin_bit_for_bit(twins: Twins):
    kept = [name for name in arrow_schema(LOCAL_1D).names if name != "created_timestamp"]
    clean, spoiled = (
        read_current(list_parts(each.lakehouse, LOCAL_1D), LOCAL_1D).select(kept)
        for each in (twins.clean, twins.spoiled)
    )
    closes = {
        (symbol, int(wrong_bar(symbol, opened)["event_timestamp"].timestamp()))
        for symbol, opened in WRONG
    }
    keys = zip(spoiled["symbol"].to_pylist(), spoiled["timestamp"].to_pylist(), strict=True)
    others = spoiled.filter(pa.array([key not in closes for key in keys]))
    assert spoiled.num_rows == others.num_rows + len(WRONG)
    assert others.equals(clean)


def joined(settings: Project, folder: Path, labels: pd.DataFrame, **options: Any) -> pd.DataFrame:
    labels.to_parquet(folder / "labels.parquet")
    request = TrainingSetRequest(
        folder / "labels.parquet", folder / "set.parquet", service="training_v1", **options
    )
    training_set(settings, request)
    return pq.read_table(folder / "set.parquet").to_pandas()


def grid(*instants: datetime) -> pd.DataFrame:
    symbols = [*SYMBOLS, "NYSE:ZZZ"]
    return pd.DataFrame(
        [(symbol, instant) for instant in instants for symbol in symbols],
        columns=["symbol", "event_timestamp"],
    )


def test_a_point_in_time_join_is_that_of_the_clean_twin_at_every_instant(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
):
    days = [datetime(2021, 2, 26, tzinfo=UTC) + n * timedelta(hours=7) for n in range(160)]
    labels = grid(datetime(2021, 1, 12, tzinfo=UTC), *days)
    ours = joined(twins.spoiled, twins.folder, labels)
    monkeypatch.setenv("TVFEAST_PROJECT", str(twins.clean.folder))
    theirs = joined(twins.clean, twins.folder, labels)
    pd.testing.assert_frame_equal(ours[FEATURES], theirs[FEATURES])
    assert ours["RSI"].notna().sum() > 300


def test_as_recorded_the_wrong_values_count_until_they_are_withdrawn(twins: Twins):
    """AAPL at 300 after 121: that is what was known then, and since the withdrawal it is not."""
    before, after = WITHDRAWN - HOUR, WITHDRAWN + timedelta(minutes=30)
    rows = joined(twins.spoiled, twins.folder, grid(before, after), as_recorded=True)
    tesla = rows[rows.symbol == "NASDAQ:TSLA"].set_index("event_timestamp")["returns_1d"]
    last, former = closes_of(twins, "NASDAQ:TSLA")
    assert tesla[before] == pytest.approx(310.0 / last - 1)
    assert tesla[after] == pytest.approx(last / former - 1)


def closes_of(twins: Twins, symbol: str) -> tuple[float, float]:
    """The newest close and the one before."""
    closes = [row["close"] for row in bars(twins.clean) if row["symbol"] == symbol]
    return closes[-1], closes[-2]


def test_what_is_served_is_what_is_valid(twins: Twins):
    demand_all(verify_online(twins.spoiled))
    last, former = closes_of(twins, "NASDAQ:TSLA")
    as_of = SelectRequest(by="returns_1d", as_of=WITHDRAWN, top=5)
    chosen = {row.symbol: row.features["returns_1d"] for row in select(twins.spoiled, as_of).rows}
    assert chosen["NASDAQ:TSLA"] == pytest.approx(last / former - 1)
    assert "NYSE:ZZZ" not in chosen


def test_nothing_looks_ahead_and_nothing_is_computed_twice(twins: Twins, tmp_path: Path):
    assert verify_lakehouse(twins.spoiled).passed
    # The last one may have begun in the same second as the withdrawal: then it is looked at again.
    assert local_features(twins.spoiled).rows_written == 0
    assert local_features(twins.spoiled).dates == 0
    again = backfill(twins.spoiled, date(2020, 1, 1), date(2021, 12, 31))
    assert again.rows_written == 0
    assert again.bars == len(bars(twins.clean))


def test_explain_says_that_a_bar_was_withdrawn(twins: Twins):
    request = ExplainRequest(
        "NASDAQ:TSLA", "local_1d:returns_1d", as_of=WITHDRAWN + HOUR, online=False
    )
    told = explain(twins.spoiled, request)
    assert len(told.stories[0].notes) == 1
    text = explain_text(told)
    assert "withdrawn on 2021-04-13: bad" in text
    assert "values of the bar before" in text
