"""Ranking imported history: a lakehouse with bars and what is computed from them, no snapshot."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ingestion.base.errors import InputError
from ingestion.base.plain import plain
from ingestion.catalog import OHLCV_1D, UNIVERSE_MEMBERS
from ingestion.cli.serving import selection_rows, selection_text
from ingestion.cli.tables import csv_text
from ingestion.jobs.compute.local_features import backfill
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.select import Selection, SelectRequest, select
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import append_part, append_rows, arrow_schema, list_parts, read_file
from ingestion.markets.hours import BarState
from ingestion.project import Project
from tests.conftest import MONDAY, SAMPLE
from tests.declared import LOCAL_1D, TV_TECHNICALS_1D
from tests.lakehouse.technicals import technicals

FRIDAY = datetime(2021, 3, 5, 22, tzinfo=UTC)
FEATURES = tuple(column.name for column in LOCAL_1D.features)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Bars of the sample and five weeks of features; nothing is registered with Feast."""
    folder = make_workspace(tmp_path_factory.mktemp("imported") / "workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVFEAST_PROJECT", str(folder))
        patch.setenv("TVFEAST_NOW", MONDAY.isoformat())
        settings = Project.from_environment()
        import_bars(settings, ImportRequest(files=(SAMPLE / "bars.parquet",)))
        backfill(settings, date(2021, 2, 22), date(2021, 3, 31))
        yield settings


@pytest.fixture
def kept(imported: Project, at) -> Project:
    """The same, only to be read, on the evening of the import."""
    at(MONDAY)
    return imported


@pytest.fixture
def history(imported: Project, tmp_path: Path, at) -> Project:
    """A copy of it to change, on the evening of the import."""
    folder = make_workspace(tmp_path / "workspace")
    shutil.copytree(imported.lakehouse_at, folder / "data" / "lakehouse")
    at(MONDAY)
    return replace(imported, folder=folder, lakehouse_at=folder / "data" / "lakehouse")


def known(settings: Project, at: datetime) -> dict[str, dict[str, Any]]:
    """The oracle: of all rows with a valid event, the newest event, then the newest created."""
    rows: dict[str, dict[str, Any]] = {}
    for part in list_parts(settings.lakehouse, LOCAL_1D):
        for row in read_file(part).to_pylist():
            if at - LOCAL_1D.ttl <= row["event_timestamp"] <= at:
                before = rows.get(row["symbol"], row)
                rows[row["symbol"]] = max(
                    before, row, key=lambda r: (r["event_timestamp"], r["created_timestamp"])
                )
    return rows


def assert_ranks(selection: Selection, expected: dict[str, dict[str, Any]]) -> None:
    by = selection.by
    order = sorted(
        (row for row in expected.values() if row[by] is not None),
        key=lambda row: (-row[by], row["symbol"]),
    )
    assert [row.symbol for row in selection.rows] == [row["symbol"] for row in order]
    for row, oracle in zip(selection.rows, order, strict=True):
        assert row.features == {name: oracle[name] for name in FEATURES}
        assert row.known_at == oracle["event_timestamp"]
        assert row.bar_open == oracle["bar_timestamp"]
        assert row.bar_state is BarState.CLOSED


@pytest.mark.parametrize("by", ["Recommend.All", "RSI", "momentum_60d"])
@pytest.mark.parametrize(
    "as_of",
    [
        FRIDAY,
        datetime(2021, 3, 5, 21, tzinfo=UTC),  # New York's close, to the second
        datetime(2021, 3, 5, 20, 59, 59, 999999, tzinfo=UTC),
        datetime(2021, 3, 7, 12, tzinfo=UTC),  # a Sunday: Friday's bars, and coins of Sunday
    ],
)
def test_what_was_known_at_an_instant_is_ranked_without_any_snapshot(kept, as_of, by):
    request = SelectRequest(by=by, as_of=as_of, top=None)
    selection = select(kept, request)
    assert_ranks(selection, known(kept, as_of))
    assert (selection.group, selection.source) == ("local_1d", "offline store")
    assert selection.written_later == len(selection.rows) > 50
    assert select(kept, replace(request, group="local_1d")) == selection


def test_apple_of_that_friday_by_hand(kept: Project):
    """121.42 after 120.13: the sample's unadjusted closes of 5 and 4 March 2021."""
    request = SelectRequest(symbols=["NASDAQ:AAPL"], as_of=FRIDAY)
    (row,) = select(kept, request).rows
    closes = {}
    for day in (date(2021, 3, 4), date(2021, 3, 5)):
        parts = list_parts(kept.lakehouse, OHLCV_1D, day)
        table = read_file(next(part for part in parts if part.date == day))
        bars = {bar["symbol"]: bar["close"] for bar in table.to_pylist()}
        closes[day.day] = bars["NASDAQ:AAPL"]
    assert row.features["returns_1d"] == pytest.approx(closes[5] / closes[4] - 1, rel=1e-12)
    assert row.known_at == datetime(2021, 3, 5, 21, tzinfo=UTC)
    assert row.bar_open == datetime(2021, 3, 5, 14, 30, tzinfo=UTC)


def test_limits_hold_for_recomputed_values(kept: Project):
    request = SelectRequest(by="RSI", minimum={"ADX": 25}, maximum={"RSI": 65}, as_of=FRIDAY)
    rows = known(kept, FRIDAY).values()
    inside = [row for row in rows if row["ADX"] >= 25 and row["RSI"] <= 65]
    best = sorted(inside, key=lambda row: -row["RSI"])[:20]
    assert [row.symbol for row in select(kept, request).rows] == [r["symbol"] for r in best]


def test_the_ttl_counts_from_that_instant_to_the_microsecond(kept: Project):
    close = datetime(2021, 3, 31, 20, tzinfo=UTC)  # of the last bar that has features
    request = SelectRequest(symbols=["NASDAQ:AAPL"], max_bar_age=timedelta(days=99))
    last = close + LOCAL_1D.ttl
    assert select(kept, replace(request, as_of=last)).rows
    expired = select(kept, replace(request, as_of=last + timedelta(microseconds=1)))
    assert expired.left_out == {"expired": 1}


def test_a_restated_row_is_the_one_that_is_ranked(history: Project):
    (old,) = [r for s, r in known(history, FRIDAY).items() if s == "NASDAQ:AAPL"]
    new = old | {"RSI": 99.5, "created_timestamp": MONDAY + timedelta(seconds=1)}
    table = pa.Table.from_pylist([new], arrow_schema(LOCAL_1D))
    append_part(history.lakehouse, LOCAL_1D, table, "restated")
    (best,) = select(history, SelectRequest(by="RSI", as_of=FRIDAY, top=1)).rows
    assert (best.symbol, best.features["RSI"]) == ("NASDAQ:AAPL", 99.5)


def test_rows_and_members_that_came_after_known_at_are_not_there(history: Project, at):
    at(MONDAY + timedelta(days=1))
    (old,) = [r for s, r in known(history, FRIDAY).items() if s == "NASDAQ:AAPL"]
    restated = MONDAY + timedelta(seconds=1)
    new = old | {"RSI": 99.5, "created_timestamp": restated}
    table = pa.Table.from_pylist([new], arrow_schema(LOCAL_1D))
    append_part(history.lakehouse, LOCAL_1D, table, "restated")
    for created, last in ((MONDAY, 31), (restated, 2)):  # Apple had left, as is known later
        member = {
            "universe": "one",
            "symbol": "NASDAQ:AAPL",
            "valid_from": datetime(2021, 3, 1, tzinfo=UTC),
            "valid_until": datetime(2021, 3, last, tzinfo=UTC),
            "event_timestamp": datetime(2021, 3, 1, tzinfo=UTC),
            "created_timestamp": created,
            "source": "import",
        }
        other = member | {"symbol": "NYSE:XOM", "valid_until": datetime(2021, 3, 31, tzinfo=UTC)}
        append_rows(history.lakehouse, UNIVERSE_MEMBERS, [member, other], f"members {last}")
    asked = SelectRequest(by="RSI", as_of=FRIDAY, universe="one", top=None)
    before = restated - timedelta(microseconds=1)
    then = select(history, replace(asked, known_at=before))
    assert {row.symbol: row.features["RSI"] for row in then.rows}["NASDAQ:AAPL"] == old["RSI"]
    assert (then.known_at, len(then.rows)) == (before, 2)
    assert [row.symbol for row in select(history, replace(asked, known_at=restated)).rows] == [
        "NYSE:XOM"
    ]
    asked = replace(asked, universe=None, top=1)
    assert select(history, replace(asked, known_at=restated)).rows[0].features["RSI"] == 99.5
    assert select(history, replace(asked, known_at=before)).rows[0].features["RSI"] != 99.5


def test_known_at_before_the_first_row_names_the_first_instant(kept: Project):
    asked = SelectRequest(by="RSI", as_of=FRIDAY, known_at=FRIDAY)
    created = min(
        part_created
        for part in list_parts(kept.lakehouse, LOCAL_1D)
        for part_created in read_file(part)["created_timestamp"].to_pylist()
    )
    with pytest.raises(
        InputError, match=f"first row was created at {re.escape(created.isoformat())}"
    ) as e:
        select(kept, asked)
    assert "local_1d" in str(e.value)
    with pytest.raises(InputError, match="known-at goes with --as-of"):
        select(kept, replace(asked, as_of=None))
    with pytest.raises(InputError, match="in the future"):
        select(kept, replace(asked, known_at=MONDAY + timedelta(days=1)))
    with pytest.raises(InputError, match="did you mean selection_v1"):
        select(kept, SelectRequest(service="selectoin_v1"))


def test_a_service_is_ranked_by_its_first_group(kept: Project):
    asked = SelectRequest(as_of=FRIDAY, top=3, by="RSI")
    assert select(kept, replace(asked, service="training_v1")) == select(kept, asked)
    with pytest.raises(InputError, match="name --service or --from-group, not both"):
        select(kept, replace(asked, service="training_v1", group="local_1d"))


def test_snapshots_go_before_from_the_first_one_on(history: Project, at):
    taken = datetime(2021, 3, 8, 21, 30, tzinfo=UTC)
    rows = technicals(["NASDAQ:AAPL"], taken, RSI=[42.0])
    append_part(history.lakehouse, TV_TECHNICALS_1D, rows, "first snapshot")
    before = SelectRequest(as_of=taken - timedelta(microseconds=1))
    assert select(history, before).group == "local_1d"
    lost = replace(before, group="tv_technicals_1d")
    with pytest.raises(
        InputError, match=f"its dates are from {taken:%Y-%m-%d} to {taken:%Y-%m-%d}$"
    ):
        select(history, replace(lost, as_of=taken - timedelta(days=1)))
    selection = select(history, SelectRequest(as_of=taken, by="RSI"))
    assert (selection.group, selection.written_later) == ("tv_technicals_1d", 0)
    assert [(row.symbol, row.features["RSI"]) for row in selection.rows] == [("NASDAQ:AAPL", 42.0)]
    # Snapshots that are too old are told as such, not replaced in silence.
    late = SelectRequest(symbols=["NASDAQ:AAPL"], as_of=taken + timedelta(days=5))
    assert select(history, late).left_out == {"expired": 1}
    assert select(history, replace(late, group="local_1d")).rows


def test_a_group_without_rows_is_told_with_its_remedy(kept: Project):
    with pytest.raises(InputError, match=r"no tv_technicals_1d.*flow-data"):
        select(kept, SelectRequest(as_of=FRIDAY, group="tv_technicals_1d"))
    with pytest.raises(
        InputError, match=r"no local_1d.*dates are from 2021-02-22 to .*local-features"
    ):
        select(kept, SelectRequest(as_of=datetime(2021, 2, 1, tzinfo=UTC), group="local_1d"))


def test_what_is_served_now_is_ranked_by_the_same_group(history: Project, at):
    now = datetime(2021, 4, 1, 12, tzinfo=UTC)
    at(now)
    assert select(history, SelectRequest(as_of=now)).rows  # which registers, and loads nothing
    with pytest.raises(InputError, match="tvfeast materialize"):
        select(history, SelectRequest(group="local_1d"))
    materialize(history)
    selection = select(history, SelectRequest(by="RSI", top=None))
    assert (selection.group, selection.source) == ("local_1d", "online store")
    assert_ranks(selection, known(history, now))
    assert select(history, SelectRequest(by="RSI", top=None, group="local_1d")) == selection
    named = SelectRequest(symbols=["NASDAQ:AAPL"], group="tv_technicals_1d")
    with pytest.raises(InputError, match="has no tv_technicals_1d"):
        select(history, named)
    at(now + timedelta(days=40))
    gone = select(history, SelectRequest(symbols=["NASDAQ:AAPL", "X:NEVER"], group="local_1d"))
    assert gone.left_out == {"unknown": 1, "expired": 1}


def test_texts_say_whose_rows_they_are(kept: Project):
    selection = select(kept, SelectRequest(by="RSI", as_of=FRIDAY, top=2))
    text = selection_text(selection)
    assert "bar close age" in text.splitlines()[0]
    assert "local_1d of the offline store at 2021-03-05 22:00" in text
    assert "of them written later" in text
    document = plain(selection)
    assert document["group"] == "local_1d"
    assert document["rows"][0]["bar_state"] == "closed"
    assert "bar_close" in csv_text(selection_rows(selection)).splitlines()[0].split(",")
