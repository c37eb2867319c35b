from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.base import clock, spill
from ingestion.base.errors import InputError
from ingestion.catalog import OHLCV_1D, Dataset
from ingestion.formulas import compute, compute_local_features
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.compute import all_bars, publication
from ingestion.jobs.compute import transpose as turn
from ingestion.jobs.compute.local_features import backfill, local_features
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    append_part,
    append_parts,
    arrow_schema,
    list_parts,
    read_current,
    read_file,
)
from ingestion.markets.hours import bar_closes
from ingestion.project import Project
from ingestion.runs.run import new_run_id
from tests.conftest import SAMPLE
from tests.declared import LOCAL_1D

pytestmark = pytest.mark.usefixtures("no_power_cuts")

SYMBOLS = ["BINANCE:BTCUSDT", "NASDAQ:AAPL", "NASDAQ:TSLA", "NYSE:JPM"]
FIRST = datetime(2020, 8, 20, tzinfo=UTC)
WRITTEN = datetime(2021, 5, 1, tzinfo=UTC)
EVER = (date(1990, 1, 1), date(2100, 1, 1))


@pytest.fixture(scope="module")
def bars() -> pa.Table:
    """Eight months of three symbols, across a split of two of them, and three months of a coin."""
    table = pq.read_table(SAMPLE / "bars.parquet")
    wanted = pc.and_(
        pc.is_in(table["symbol"], pa.array(SYMBOLS)),
        pc.greater_equal(table["timestamp"], int(FIRST.timestamp())),
    )
    old = pc.field("timestamp") < int(datetime(2021, 1, 20, tzinfo=UTC).timestamp())
    table = table.filter(wanted).filter(~(old & (pc.field("symbol") == "BINANCE:BTCUSDT")))
    names = np.asarray(table["symbol"].to_pylist())
    closes = np.zeros(len(names), dtype=np.int64)
    for symbol in SYMBOLS:
        own = names == symbol
        closes[own] = bar_closes(symbol, table["timestamp"].to_numpy()[own])
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    columns["event_timestamp"] = pa.array(closes * 1_000_000)
    columns["created_timestamp"] = pa.array([WRITTEN] * len(names), pa.timestamp("us", "UTC"))
    columns["source"] = pa.array(["sample"] * len(names))
    schema = arrow_schema(OHLCV_1D)
    arrays = [columns[field.name].cast(field.type) for field in schema]
    return pa.table(arrays, schema=schema).sort_by([("event_timestamp", "ascending")])


def load(
    settings: Project,
    bars: pa.Table,
    after: date = date.min,
    until: date = date.max,
    run_id: str | None = None,
) -> None:
    run_id = run_id or new_run_id()
    days = np.asarray([stamp.date() for stamp in bars["event_timestamp"].to_pylist()])
    wanted = [day for day in sorted(set(days)) if after < day <= until]
    several = [bars.filter(pa.array(days == day)) for day in wanted]
    if several:
        append_parts(settings.lakehouse, OHLCV_1D, several, run_id)


def stored(settings: Project) -> pa.Table:
    rows = read_current(list_parts(settings.lakehouse, LOCAL_1D), LOCAL_1D)
    return rows.drop_columns(["created_timestamp"])


def every_version(settings: Project) -> int:
    return sum(read_file(part).num_rows for part in list_parts(settings.lakehouse, LOCAL_1D))


@pytest.fixture(scope="module")
def kept(bars: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lakehouses that tests copy: ``loaded`` has all bars, ``computed`` their features too."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        patch.setenv("TVFEAST_NOW", WRITTEN.isoformat())
        project = Project.from_environment()
        load(replace(project, lakehouse_at=folder / "loaded"), bars)
        shutil.copytree(folder / "loaded", folder / "computed")
        backfill(replace(project, lakehouse_at=folder / "computed"), *EVER)
    return folder


@pytest.fixture(scope="module")
def expected(kept: Path) -> pa.Table:
    """What a backfill of all bars stores."""
    return stored(replace(Project.from_environment(), lakehouse_at=kept / "computed"))


@pytest.fixture
def lakehouse(tmp_path: Path, at) -> Project:
    at(WRITTEN)
    return replace(Project.from_environment(), lakehouse_at=tmp_path / "lakehouse")


@pytest.fixture
def loaded(lakehouse: Project, kept: Path) -> Project:
    shutil.copytree(kept / "loaded", lakehouse.lakehouse_at)
    return lakehouse


@pytest.fixture
def computed(lakehouse: Project, kept: Path) -> Project:
    shutil.copytree(kept / "computed", lakehouse.lakehouse_at)
    return lakehouse


@pytest.fixture
def another(lakehouse: Project, tmp_path: Path) -> Project:
    return replace(lakehouse, lakehouse_at=tmp_path / "another")


def test_a_backfill_stores_what_the_formulas_give(loaded: Project, bars: pa.Table):
    result = backfill(loaded, *EVER)
    seconds = pc.divide(bars["event_timestamp"].cast(pa.int64()), 1_000_000)
    expected = compute_local_features(bars.append_column("close_timestamp", seconds))
    rows = stored(loaded).sort_by([("symbol", "ascending"), ("bar_timestamp", "ascending")])
    for column in LOCAL_1D.features:
        assert rows[column.name].to_pylist() == expected[column.name].to_pylist()
    opens = pc.divide(rows["bar_timestamp"].cast(pa.int64()), 1_000_000)
    assert opens.to_pylist() == expected["timestamp"].to_pylist()
    assert result.rows_written == result.bars == bars.num_rows
    for part in result.parts:
        for row in read_file(part).to_pylist():
            assert row["timestamp"] == row["event_timestamp"].timestamp()
            assert f"date={row['event_timestamp'].date()}" == part.path.parent.name


def test_days_computed_live_equal_the_same_days_of_a_backfill_bit_for_bit(
    lakehouse: Project, expected: pa.Table, bars: pa.Table, at
):
    start = date(2021, 4, 11)
    load(lakehouse, bars, until=start)
    local_features(lakehouse)
    for offset in range(1, 11):
        day = start + timedelta(days=offset)
        at(datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=60))
        load(lakehouse, restamped(bars, day), after=day - timedelta(days=1), until=day)
        local_features(lakehouse)
    assert stored(lakehouse).equals(expected)
    assert every_version(lakehouse) == bars.num_rows, "nothing was written twice"


def restamped(bars: pa.Table, day: date) -> pa.Table:
    """The same bars as if they had been written on that day."""
    created = datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=60)
    column = pa.array([created] * bars.num_rows, pa.timestamp("us", "UTC"))
    place = bars.column_names.index("created_timestamp")
    return bars.set_column(place, "created_timestamp", column)


def test_a_second_backfill_over_unchanged_bars_writes_nothing(computed: Project, bars):
    parts = list_parts(computed.lakehouse, LOCAL_1D)
    result = backfill(computed, *EVER)
    assert (result.rows_written, result.rows_unchanged) == (0, bars.num_rows)
    assert list_parts(computed.lakehouse, LOCAL_1D) == parts


def test_a_restated_bar_restates_only_the_rows_that_differ(
    computed: Project, expected: pa.Table, bars, at
):
    at(WRITTEN + timedelta(days=1))
    aapl = pc.equal(bars["symbol"], "NASDAQ:AAPL")
    last = bars.filter(aapl).slice(bars.filter(aapl).num_rows - 3, 1)
    place = last.column_names.index("volume")
    restated = last.set_column(place, "volume", pc.multiply(last["volume"], 0.5))
    place = last.column_names.index("created_timestamp")
    column = pa.array([WRITTEN + timedelta(days=1)], pa.timestamp("us", "UTC"))
    append_part(
        computed.lakehouse,
        OHLCV_1D,
        restated.set_column(place, "created_timestamp", column),
        "restatement",
    )
    result = local_features(computed)
    after = stored(computed).to_pylist()
    changed = [a["symbol"] for a, b in zip(after, expected.to_pylist(), strict=True) if a != b]
    assert result.rows_written == len(changed) <= 3, "only volume's users can differ"
    assert set(changed) <= {"NASDAQ:AAPL"}
    assert every_version(computed) == bars.num_rows + len(changed)


def test_a_restated_row_is_created_later_even_if_the_clock_is_not(
    computed: Project, another: Project, bars: pa.Table, at
):
    since = date(2021, 3, 1)
    restated = bars.filter(pc.field("event_timestamp") >= datetime(2021, 3, 2, tzinfo=UTC))
    for name, more in (("close", 0.01), ("created_timestamp", timedelta(microseconds=1))):
        place = bars.column_names.index(name)
        restated = restated.set_column(place, name, pc.add(restated[name], more))
    load(another, bars, until=since)
    load(another, restated)
    local_features(another)
    load(computed, restated)
    at(WRITTEN - timedelta(days=1))
    assert local_features(computed).rows_written
    assert stored(computed).equals(stored(another))
    assert local_features(computed).rows_written == 0
    assert check_lakehouse(computed).faults == []


def test_a_row_says_when_it_was_written_and_not_when_its_run_began(
    lakehouse: Project, bars: pa.Table, at, monkeypatch: pytest.MonkeyPatch
):
    """As recorded, it would be given to decisions of which it could not be seen."""

    def taking_a_minute(function):
        def call(*arguments, **options):
            at(clock.now() + timedelta(minutes=1))
            return function(*arguments, **options)

        return call

    def append(
        place: Lakehouse, dataset: Dataset, several: list[pa.Table], run_id: str
    ) -> list[Part]:
        for rows in several:
            assert set(rows["created_timestamp"].to_pylist()) == {clock.now()}
        parts = append_parts(place, dataset, several, run_id)
        at(clock.now() + timedelta(minutes=1))
        return parts

    at(bars["event_timestamp"][-1].as_py())  # young enough for the checks of what is served
    monkeypatch.setattr(publication, "append_parts", append)
    for module, name in ((all_bars, "spill_by_symbol"), (publication, "check_at_door")):
        monkeypatch.setattr(module, name, taking_a_minute(getattr(module, name)))
    load(lakehouse, bars, after=date(2021, 4, 1))
    assert len(local_features(lakehouse).parts) > 2


def test_how_the_rows_are_spilled_does_not_show(loaded, expected, monkeypatch):
    monkeypatch.setattr(turn, "ROWS_AT_ONCE", 100)
    monkeypatch.setattr(spill, "BYTES_IN_MEMORY", 50_000)
    backfill(loaded, *EVER)
    assert stored(loaded).equals(expected)


def test_only_the_wanted_dates_are_written(loaded: Project, expected: pa.Table):
    backfill(loaded, date(2021, 2, 1), date(2021, 2, 28))
    dates = [part.date for part in list_parts(loaded.lakehouse, LOCAL_1D)]
    assert dates[0] == date(2021, 2, 1)
    assert dates[-1] == date(2021, 2, 28)
    inside = pc.is_in(expected["timestamp"], stored(loaded)["timestamp"].combine_chunks())
    assert expected.filter(inside).equals(stored(loaded))


KILLED = """
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Never
from ingestion.jobs.compute.local_features import backfill
from ingestion.project import Project
print("started", flush=True)
settings = replace(Project.from_environment(), lakehouse_at=Path(sys.argv[1]))
backfill(settings, date(1990, 1, 1), date(2100, 1, 1))
"""


def test_a_killed_backfill_is_completed_by_the_next(loaded: Project, expected, bars):
    for pause in (0.1, 0.5, 0.9):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(loaded.lakehouse_at)],
            env={"TVFEAST_NOW": WRITTEN.isoformat()},
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(pause)
            process.kill()
    backfill(loaded, *EVER)
    assert stored(loaded).equals(expected)
    assert every_version(loaded) == bars.num_rows
    assert not list((loaded.lakehouse_at / "_tmp").iterdir())


def test_without_bars_it_says_what_to_do(lakehouse: Project):
    with pytest.raises(InputError, match="import-bars"):
        backfill(lakehouse, *EVER)
    with pytest.raises(InputError, match="import-bars"):
        local_features(lakehouse)


def test_dates_the_wrong_way_round_are_refused(lakehouse: Project):
    with pytest.raises(InputError, match="after"):
        backfill(lakehouse, date(2021, 1, 2), date(2021, 1, 1))


def test_a_backfill_of_dates_before_the_first_bar_says_from_when_there_are_bars(loaded: Project):
    with pytest.raises(InputError, match=r"closed by 2010-02-01: its bars are from 2020-08-20 to "):
        backfill(loaded, date(2010, 1, 1), date(2010, 2, 1))


def test_nothing_new_looks_at_nothing(lakehouse: Project, bars: pa.Table, at):
    load(lakehouse, bars, run_id="20200101T000000Z-earlier")
    at(WRITTEN + timedelta(hours=1))
    local_features(lakehouse)
    assert local_features(lakehouse).dates == 0


def test_a_run_that_died_between_two_dates_is_completed_by_the_next(
    loaded: Project, expected: pa.Table, at, monkeypatch: pytest.MonkeyPatch
):
    """On a clock that moves on, the rows of the dead run are newer than all bars."""
    at(WRITTEN + timedelta(hours=1))

    def dying(place: Lakehouse, dataset: Dataset, several: list[pa.Table], run_id: str) -> Never:
        append_parts(place, dataset, several[:5], run_id)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(publication, "append_parts", dying)
        with pytest.raises(KeyboardInterrupt):
            local_features(loaded)
    at(WRITTEN + timedelta(hours=2))
    local_features(loaded)
    assert stored(loaded).equals(expected)


def test_a_backfill_of_a_span_hides_no_news(loaded: Project, bars: pa.Table, at):
    at(WRITTEN + timedelta(hours=1))
    backfill(loaded, date(2021, 2, 1), date(2021, 2, 28))
    at(WRITTEN + timedelta(hours=2))
    local_features(loaded)
    assert every_version(loaded) == bars.num_rows


def test_a_formula_of_the_project_is_computed_beside_the_shipped_ones(
    settings: Project, bars: pa.Table, tmp_path: Path
):
    project = replace(settings, folder=tmp_path / "project")
    folder = project.feast_repository / "formulas"
    folder.mkdir(parents=True)
    (folder / "gaps.py").write_text(
        "from ingestion.formulas import formula, ratio, shift\n"
        "@formula('overnight_gap', 'open ÷ previous close − 1', look_back=1, low=-1)\n"
        "def overnight_gap(bars):\n"
        "    return ratio(bars.open, shift(bars.close, 1)) - 1\n"
    )
    declared = """
from ingestion.catalog import Column, FeatureGroup, FromBars

GROUP = FeatureGroup(
    name="mine",
    meaning="gaps",
    source=FromBars(),
    ttl="12d",
    features=["{}", "RSI", Column("no_longer", meaning="was computed once", retired=True)],
)
"""
    (project.feast_repository / "groups").mkdir()
    file = project.feast_repository / "groups" / "mine.py"
    file.write_text(declared.format("overnight_gap"))
    mine = project.catalog.group("mine")
    load(project, bars)
    result = backfill(project, *EVER)
    rows = read_current(list_parts(project.lakehouse, mine), mine)
    local = stored(project)
    assert result.rows_written == rows.num_rows + local.num_rows == 2 * bars.num_rows
    keys = [("symbol", "ascending"), ("timestamp", "ascending")]
    rows, local = rows.sort_by(keys), local.sort_by(keys)
    assert rows["RSI"].equals(local["RSI"])
    assert rows["no_longer"].null_count == rows.num_rows
    expected = compute(bars, [project.formulas["overnight_gap"]])
    assert rows["overnight_gap"].to_pylist() == expected["overnight_gap"].to_pylist()
    assert not backfill(project, *EVER).rows_written

    file.write_text(declared.format("nowhere"))
    with pytest.raises(InputError, match=r"mine\.py, line 4: mine names the formula 'nowhere'"):
        backfill(replace(project), *EVER)
