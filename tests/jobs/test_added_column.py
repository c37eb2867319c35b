"""A column is added to the group that is computed from bars, and `backfill` fills its history."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.catalog import OHLCV_1D
from ingestion.catalog.declarations import SHIPPED
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.compute.local_features import LocalFeaturesResult, backfill, plan_backfill
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import (
    append_part,
    arrow_schema,
    by_date,
    list_parts,
    read_current,
    read_file,
)
from ingestion.markets.hours import bar_closes
from ingestion.project import Project
from tests.conftest import SAMPLE
from tests.declared import LOCAL_1D

pytestmark = pytest.mark.usefixtures("no_power_cuts")

ADDED = "returns_1d"
FORMER = replace(LOCAL_1D, features=tuple(c for c in LOCAL_1D.features if c.name != ADDED))
SYMBOLS = ("BINANCE:BTCUSDT", "NASDAQ:AAPL")
FIRST = datetime(2021, 3, 15, tzinfo=UTC)
WRITTEN = datetime(2021, 5, 1, tzinfo=UTC)
EVER = (date(1990, 1, 1), date(2100, 1, 1))
KEYS = ("symbol", "timestamp")


@pytest.fixture(scope="module")
def bars() -> pa.Table:
    table = pq.read_table(SAMPLE / "bars.parquet")
    wanted = pc.and_(
        pc.is_in(table["symbol"], pa.array(SYMBOLS)),
        pc.greater_equal(table["timestamp"], int(FIRST.timestamp())),
    )
    rows = table.filter(wanted).to_pylist()
    for row in rows:
        (close,) = bar_closes(row["symbol"], np.array([row["timestamp"]]))
        row["event_timestamp"] = datetime.fromtimestamp(int(close), UTC)
        row |= {"created_timestamp": WRITTEN, "source": "sample"}
    return pa.Table.from_pylist(rows, arrow_schema(OHLCV_1D))


def load(project: Project, bars: pa.Table, run_id: str = "bars") -> None:
    days = np.asarray([event.date() for event in bars["event_timestamp"].to_pylist()])
    for day in sorted(set(days)):
        append_part(project.lakehouse, OHLCV_1D, bars.filter(pa.array(days == day)), run_id)


def stored(project: Project) -> pa.Table:
    rows = read_current(list_parts(project.lakehouse, LOCAL_1D), LOCAL_1D)
    return rows.drop_columns(["created_timestamp"])


@pytest.fixture(scope="module")
def computed(bars: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """What a lakehouse that always had the column contains."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        patch.setenv("TVFEAST_NOW", WRITTEN.isoformat())
        project = new_project(patch, tmp_path_factory.mktemp("always"))
        load(project, bars)
        backfill(project, *EVER)
        return read_current(list_parts(project.lakehouse, LOCAL_1D), LOCAL_1D)


def new_project(patch: pytest.MonkeyPatch, folder: Path) -> Project:
    patch.setenv("TVFEAST_PROJECT", str(make_workspace(folder / "workspace")))
    return Project.from_environment()


@pytest.fixture
def project(
    bars: pa.Table,
    computed: pa.Table,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at: Callable[[datetime], None],
) -> Project:
    """A lakehouse in which the column was never written, a part per date."""
    at(WRITTEN)
    project = new_project(monkeypatch, tmp_path)
    load(project, bars)
    days = np.asarray([event.date() for event in computed["event_timestamp"].to_pylist()])
    former = computed.select(arrow_schema(FORMER).names)
    for day in sorted(set(days)):
        append_part(project.lakehouse, FORMER, former.filter(pa.array(days == day)), "former")
    at(WRITTEN + timedelta(hours=1))
    return project


def values(rows: pa.Table) -> int:
    return rows.num_rows - rows[ADDED].null_count


def reasons(result: LocalFeaturesResult) -> dict[str, str]:
    assert result.receipt is not None
    return json.loads(result.receipt.path.read_text()).get("reasons", {})


def test_backfill_fills_the_column_for_all_of_history(project: Project, computed: pa.Table):
    before = stored(project)
    assert values(before) == 0
    result = backfill(project, *EVER)
    assert stored(project).equals(computed.drop_columns(["created_timestamp"]))
    assert stored(project).drop_columns([ADDED]).equals(before.drop_columns([ADDED]))
    # The first bar of a symbol has no return: null before, and null now.
    assert result.rows_written == result.rows_defined == values(computed)
    assert result.rows_unchanged == len(SYMBOLS)
    names = {part.path.relative_to(project.lakehouse_at).as_posix() for part in result.parts}
    assert reasons(result) == dict.fromkeys(names, "definition")
    assert check_lakehouse(project).faults == []


def test_it_says_first_how_much_it_will_write(project: Project):
    said = []
    result = backfill(project, *EVER, announce=said.append)
    (planned,) = said
    assert planned == result.planned
    assert planned.columns == (f"local_1d:{ADDED}",)
    assert planned.rows == {"local_1d": result.rows_written + len(SYMBOLS)}
    written = sum(part.path.stat().st_size for part in result.parts)
    assert written * 0.7 < planned.bytes < written * 1.4
    again = plan_backfill(project, *EVER)
    assert again.rows["local_1d"] <= len(SYMBOLS)


def test_it_is_filled_once(project: Project):
    backfill(project, *EVER)
    before = stored(project)
    result = backfill(project, *EVER)
    assert (result.rows_written, result.rows_defined, reasons(result)) == (0, 0, {})
    assert stored(project).equals(before)


def test_what_is_restated_too_is_in_a_part_of_its_own(
    project: Project, bars: pa.Table, at: Callable[[datetime], None]
):
    last = bars.filter(pc.equal(bars["symbol"], "NASDAQ:AAPL")).slice(0)
    row = max(last.to_pylist(), key=lambda each: each["timestamp"])
    row |= {"close": row["high"], "created_timestamp": WRITTEN + timedelta(minutes=5)}
    load(project, pa.Table.from_pylist([row], bars.schema), "restated")
    result = backfill(project, *EVER)
    day = row["event_timestamp"].date()
    of_day = {
        part.path.relative_to(project.lakehouse_at).as_posix(): read_file(part)[
            "symbol"
        ].to_pylist()
        for part in result.parts
        if f"date={day}" in part.path.parts
    }
    told = {tuple(symbols): reasons(result).get(part) for part, symbols in of_day.items()}
    assert told == {("NASDAQ:AAPL",): None, ("BINANCE:BTCUSDT",): "definition"}
    assert result.rows_defined == result.rows_written - 1


def test_after_a_compaction_older_rows_are_still_known(
    project: Project, computed: pa.Table, at: Callable[[datetime], None]
):
    """A merged part has the column, and null for the rows that are older than it."""
    days = by_date(list_parts(project.lakehouse, LOCAL_1D))
    rows = [row for row in computed.to_pylist() if row["symbol"] == "BINANCE:BTCUSDT"]
    now = WRITTEN + timedelta(minutes=30)
    for day in list(days)[3:6]:
        (row,) = (row for row in rows if row["event_timestamp"].date() == day)
        again = pa.Table.from_pylist([row | {"created_timestamp": now}], computed.schema)
        append_part(project.lakehouse, LOCAL_1D, again, "again")
    assert compact(project).merged
    planned = plan_backfill(project, *EVER)
    result = backfill(project, *EVER)
    assert result.rows_written == result.rows_defined == values(computed) - 3
    assert planned.rows == {"local_1d": computed.num_rows - 3}
    assert stored(project).equals(computed.drop_columns(["created_timestamp"]))


def test_explain_says_why_a_row_was_written_again(project: Project):
    backfill(project, *EVER)
    request = ExplainRequest("NASDAQ:AAPL", f"local_1d:{ADDED}", online=False)
    (story,) = explain(project, request).stories
    now, before = story.versions
    assert (now.reason, now.is_older) == ("definition", False)
    assert (before.reason, before.is_older, before.value) == (None, True, None)
    other = ExplainRequest("NASDAQ:AAPL", "local_1d:RSI", online=False)
    (story,) = explain(project, other).stories
    assert [version.is_older for version in story.versions] == [False, False]
    assert len({version.value for version in story.versions}) == 1


def test_a_retired_column_keeps_what_is_stored_where_an_added_one_is_filled(
    project: Project, computed: pa.Table
):
    """A row that is written again carries the retired value along; no later row has one."""
    folder = project.feast_repository / "groups"
    folder.mkdir()
    shipped = (SHIPPED / "groups" / "local_1d.py").read_text()
    retired = 'Column("momentum_60d", meaning="what it was", retired=True)'
    (folder / "local_1d.py").write_text(
        shipped.replace('"momentum_60d"', retired).replace(
            "import FeatureGroup", "import Column, FeatureGroup"
        )
    )
    (folder / "services.py").write_text("")
    before = read_current(list_parts(project.lakehouse, FORMER), FORMER)
    assert before["RSI"].null_count < before.num_rows
    append_part(
        project.lakehouse,
        FORMER,
        with_values(before, "momentum_60d", 0.25)
        .filter(pc.equal(before["symbol"], "NASDAQ:AAPL"))
        .slice(5, 1),
        "by hand",
    )
    changed = replace(project)
    assert backfill(changed, *EVER).rows_defined > 0
    group = changed.catalog.group("local_1d")
    rows = read_current(list_parts(project.lakehouse, group), group)
    aapl = rows.filter(pc.equal(rows["symbol"], "NASDAQ:AAPL"))
    assert aapl["momentum_60d"].to_pylist()[5] == 0.25
    assert values(rows) == values(computed)
    request = ExplainRequest("NASDAQ:AAPL", "momentum_60d", online=False)
    (story,) = explain(changed, request).stories
    assert story.source.startswith("retired: only what was stored before is kept; ")


def with_values(rows: pa.Table, name: str, value: float) -> pa.Table:
    place = rows.schema.get_field_index(name)
    rows = rows.set_column(place, rows.schema.field(place), pa.repeat(value, rows.num_rows))
    later = pa.repeat(
        pa.scalar(WRITTEN + timedelta(minutes=1), pa.timestamp("us", "UTC")), len(rows)
    )
    place = rows.schema.get_field_index("created_timestamp")
    return rows.set_column(place, rows.schema.field(place), later)
