"""Why a served value differs from the recomputed one: `parity` and `explain` say the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.cli.checks import parity_text
from ingestion.formulas import SHIPPED
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.compute.bars_of_symbol import BarsOfSymbol
from ingestion.jobs.compute.causes import Cause, Causes, cause_at
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.compute.parity import parity
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import append_part, list_parts, read_current
from ingestion.project import Project
from ingestion.quality.parity import ColumnParity, ParityReport
from ingestion.replay import ChangedVote
from tests.conftest import SAMPLE
from tests.declared import TV_TECHNICALS_1D
from tests.jobs.made_market import WRITTEN, MadeMarket, build, snapshots

SHIPPED_REPOSITORY = SAMPLE.parent.parent / "feature_repo"
MARKET = MadeMarket.of({"NASDAQ": 6}, sessions=300, evenings=8)
SYMBOL = "NASDAQ:S000"
CHANGED = MARKET.day(4)
DAY = 5
"""The evening whose snapshot is spoilt."""
NAMES = [column.name for column in TV_TECHNICALS_1D.features]
BY_CLOCK = {"Perf.W", "Perf.1M"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Snapshots of seven evenings; momentum votes by another rule since the fifth."""
    project = build(tmp_path_factory.mktemp("causes"), MARKET, MARKET.table, range(4))
    change = ChangedVote.parse(f"Mom=reversed@{CHANGED}")
    snapshots(project, MARKET, MARKET.panel(MARKET.table, change), range(4, 7))
    return project.lakehouse_at


@pytest.fixture
def project(built: Path, tmp_path: Path, at, monkeypatch: pytest.MonkeyPatch) -> Project:
    at(WRITTEN)
    monkeypatch.setattr("os.fsync", lambda _: None)
    shutil.copytree(built, tmp_path / "lakehouse")
    return replace(Project.from_environment(), lakehouse_at=tmp_path / "lakehouse")


def row_of(project: Project, day: int = DAY) -> dict:
    """Return the symbol's snapshot of an evening."""
    parts = list_parts(project.lakehouse, TV_TECHNICALS_1D)
    of_day = [part for part in parts if part.date == MARKET.day(day)]
    rows = read_current(of_day, TV_TECHNICALS_1D)
    return rows.filter(pc.equal(rows["symbol"], SYMBOL)).to_pylist()[0]


def restate(project: Project, **values: object) -> None:
    """Write a later version of the spoilt snapshot."""
    row = row_of(project) | {"created_timestamp": WRITTEN} | values
    schema = read_current(list_parts(project.lakehouse, TV_TECHNICALS_1D)[:1], TV_TECHNICALS_1D)
    table = pa.Table.from_pylist([row], schema=schema.schema)
    append_part(project.lakehouse, TV_TECHNICALS_1D, table, "restated")


def columns_of(report: ParityReport) -> dict[str, ColumnParity]:
    return {each.feature: each for each in report.columns}


def explained(project: Project, feature: str, day: int = DAY) -> str | None:
    """Return how the symbol's value of an evening differs, and why."""
    as_of = MARKET.evening(day) + timedelta(hours=1)
    request = ExplainRequest(SYMBOL, f"{TV_TECHNICALS_1D.name}:{feature}", as_of, online=False)
    (story,) = explain(project, request).stories
    return story.difference


def demand(project: Project, cause: Cause, *features: str) -> ParityReport:
    """Demand that both say the cause of the spoilt values; return the comparison."""
    report = parity(project).report
    columns = columns_of(report)
    for feature in features:
        said = explained(project, feature)
        assert said is not None
        assert said.startswith("differs from local_1d: ")
        assert said.endswith(f"cause: {cause}")
        (worst,) = (
            each
            for each in columns[feature].worst
            if each.symbol == SYMBOL and each.bar_close.date() == MARKET.day(DAY)
        )
        assert worst.cause == cause
        assert columns[feature].causes[cause] >= 1
    return report


def test_a_changed_rule_is_the_cause_of_its_rating_and_of_the_one_above(project: Project) -> None:
    report = demand(project, Cause.RULE, "Recommend.Other", "Recommend.All")
    columns, text = columns_of(report), parity_text(report)
    for name in ("Recommend.Other", "Recommend.All"):
        assert columns[name].beyond > 10
        assert columns[name].causes == {Cause.RULE: columns[name].beyond}
        assert f"{name} of {columns[name].beyond - 3} more; all by cause: another rule" in text
    assert sum(each.beyond for each in columns.values()) == 2 * columns["Recommend.All"].beyond
    assert explained(project, "RSI") is None
    assert explained(project, "Recommend.MA") is None
    assert explained(project, "Recommend.Other", day=2) is None


def test_a_value_that_nothing_explains_is_of_another_source(project: Project) -> None:
    restate(project, RSI=1.0)
    demand(project, Cause.SOURCE, "RSI")


def test_an_average_that_still_remembers_its_first_bar_has_too_short_a_history(
    project: Project,
) -> None:
    """Of 300 bars, RSI has forgotten the first one, and the average of 200 has not."""
    restate(project, **{"Recommend.MA": -row_of(project)["Recommend.MA"]})
    demand(project, Cause.HISTORY, "Recommend.MA")


@pytest.mark.parametrize("column", ["bars_count", "first_bar_time"])
def test_a_symbol_of_which_the_scanner_has_few_bars_has_too_short_a_history(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    """A project that asks how many bars TradingView has, which has the last 60 of them."""
    workspace = make_workspace(tmp_path / "workspace")
    file = workspace / "feature_repo" / "groups" / "tv_technicals_1d.py"
    text = (SHIPPED_REPOSITORY / "groups" / "tv_technicals_1d.py").read_text()
    asked = f"features=[\n        Column({column!r}, Dtype.INT64, meaning='told', optional=True),"
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        text.replace("features=[", asked, 1).replace("    Column,", "    Column,\n    Dtype,")
    )
    monkeypatch.setenv("TVFEAST_PROJECT", str(workspace))
    own = replace(Project.from_environment(), lakehouse_at=project.lakehouse_at)
    young = MARKET.table.filter(pc.greater(MARKET.table["timestamp"], int(MARKET.closes[-61])))
    snapshots(own, MARKET, MARKET.panel(young), [7])
    assert row_of(own, 7)["bar_timestamp"] is not None
    report = parity(own).report
    assert set(columns_of(report)["ADX"].causes) == {Cause.HISTORY}
    assert str(explained(own, "ADX", 7)).endswith(f"cause: {Cause.HISTORY}")


@pytest.mark.parametrize("step", [-1, 1])
def test_values_of_the_bar_before_or_after_are_of_another_bar(project: Project, step: int) -> None:
    restate(project, **{name: row_of(project, DAY + step)[name] for name in NAMES})
    demand(project, Cause.ANOTHER, "RSI", "Volatility.D", "MACD.macd")


def test_a_bar_that_a_later_snapshot_shows_otherwise_was_open(project: Project) -> None:
    """The evening's snapshot is spoilt; that of the next morning has the values of its bar."""
    morning = MARKET.evening(DAY) + timedelta(hours=12)
    snapshots(project, MARKET, MARKET.panel(MARKET.table), [], also=[morning])
    restate(project, RSI=row_of(project)["RSI"] + 5, ADX=row_of(project)["ADX"] + 3)
    demand(project, Cause.OPEN, "RSI", "ADX")


def test_a_snapshot_before_the_close_is_of_an_open_bar(project: Project) -> None:
    early = MARKET.evening(7) - timedelta(minutes=80)
    snapshots(project, MARKET, MARKET.panel(MARKET.table), [], also=[early])
    request = ExplainRequest(SYMBOL, f"{TV_TECHNICALS_1D.name}:RSI", early, online=False)
    (story,) = explain(project, request).stories
    assert story.difference == "not comparable with local_1d: the bar was open by then"
    assert parity(project).report.open == len(MARKET.symbols)


def test_a_bar_without_trades_in_the_window_is_a_cause(
    project: Project, tmp_path: Path, at: Callable[[datetime], None]
) -> None:
    at(WRITTEN + timedelta(days=1))
    opened = int(MARKET.closes[-5]) - 23_400
    is_it = pc.and_(
        pc.equal(MARKET.table["symbol"], SYMBOL), pc.equal(MARKET.table["timestamp"], opened)
    )
    (bar,) = MARKET.table.filter(is_it).to_pylist()
    flat = dict.fromkeys(("open", "high", "low", "close"), bar["close"] * 1.1) | {"volume": 0.0}
    pq.write_table(pa.Table.from_pylist([bar | flat]), tmp_path / "flat.parquet")
    import_bars(project, ImportRequest((tmp_path / "flat.parquet",)))
    local_features(project)
    report = demand(project, Cause.NO_TRADES, "RSI")
    assert set(columns_of(report)["RSI"].causes) == {Cause.NO_TRADES}


def test_the_newest_bars_tell_the_cause_that_all_bars_tell(project: Project) -> None:
    closes = [*map(int, MARKET.closes[[20, 100]]), int(WRITTEN.timestamp())]
    formulas, found = [SHIPPED[name] for name in ("RSI", "Recommend.All")], set()
    causes = Causes(project.lakehouse, [SYMBOL], formulas, (closes[0], closes[-1]))
    for close in closes:
        pair = pa.table(
            {
                "symbol": [SYMBOL],
                "bar_close": [close],
                "known_at": [close],
                "agrees": [False],
                "seen": pa.array([0], pa.int8()),
                "bars": [1 << 30],
            }
        )
        alone = Causes(project.lakehouse, [SYMBOL], formulas, (close, close))
        for formula in formulas:
            (told,) = causes.of(formula)(pair)
            at_close = datetime.fromtimestamp(close, UTC)
            bars = BarsOfSymbol(project.lakehouse, SYMBOL, at_close.date())
            assert cause_at(bars, at_close, formula, 1 << 30) == told
            assert alone.of(formula)(pair) == [told]
            found.add(told)
    assert found == {Cause.HISTORY, Cause.SOURCE}
