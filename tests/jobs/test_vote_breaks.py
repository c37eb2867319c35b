"""A vote whose rule changes on a date is named by `parity`; bad bars and open ones are not."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.base.errors import GateRefused
from ingestion.cli.commands import cli
from ingestion.formulas import SHIPPED, compute, ratings
from ingestion.formulas.ratings import Vote
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.compute.causes import Cause, StoredBars, cause_at
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.compute.parity import ParityRequest, ParityResult, parity
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.lakehouse import append_part, list_parts, read_current
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from tests.conftest import SAMPLE
from tests.declared import TV_TECHNICALS_1D

SINCE = datetime(2020, 2, 3, tzinfo=UTC)
EVENINGS = [
    day
    for number in range(28)
    if (day := datetime(2021, 3, 22, 21, 30, tzinfo=UTC) + timedelta(days=number)).weekday() < 5
    and day.date() != date(2021, 4, 2)  # Good Friday
]
CHANGED = date(2021, 4, 6)
WRITTEN = datetime(2021, 5, 1, tzinfo=UTC)
RATINGS = ("Recommend.All", "Recommend.MA", "Recommend.Other")


@pytest.fixture(scope="module")
def bars() -> pa.Table:
    table = pq.read_table(SAMPLE / "bars.parquet")
    is_stock = pc.match_substring_regex(table["symbol"], "^(NASDAQ|NYSE):")
    return table.filter(
        pc.and_(is_stock, pc.greater_equal(table["timestamp"], int(SINCE.timestamp())))
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, bars: pa.Table) -> Iterator[Path]:
    """A lakehouse with the snapshots of four weeks, taken through HTTP, and the bars."""
    root = tmp_path_factory.mktemp("votes")
    with (SAMPLE / "symbols.csv").open(encoding="utf-8") as file:
        about = {row["symbol"]: row for row in csv.DictReader(file)}
    pq.write_table(bars, root / "bars.parquet")
    symbols = tuple(bars["symbol"].unique().to_pylist())
    with (
        pytest.MonkeyPatch.context() as patch,
        ReplayScanner(Panel.from_bars(bars, about)) as replay,
    ):
        patch.setattr("os.fsync", lambda _: None)
        settings = replace(
            Project.from_environment(), lakehouse_at=root / "lakehouse", scanner_url=replay.url
        )
        for instant in EVENINGS:
            patch.setenv("TVFEAST_NOW", instant.isoformat())
            feature_ingest(settings, FeatureIngestRequest(Candidates("test", symbols, (), 0)))
        patch.setenv("TVFEAST_NOW", WRITTEN.isoformat())
        import_bars(settings, ImportRequest((root / "bars.parquet",)))
        local_features(settings)
    return root / "lakehouse"


@pytest.fixture
def project(built: Path, tmp_path: Path, at) -> Project:
    at(WRITTEN)
    shutil.copytree(built, tmp_path / "lakehouse")
    return replace(Project.from_environment(), lakehouse_at=tmp_path / "lakehouse")


def serve_otherwise(
    project: Project,
    bars: pa.Table,
    rule: str,
    altered: Callable[..., Vote],
    since: date = CHANGED,
) -> None:
    """Store the snapshots since a date again, with ratings by another rule of one vote."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ratings, rule, altered)
        values = compute(bars, [SHIPPED[name] for name in RATINGS]).to_pylist()
    by_bar = {(row["symbol"], row["timestamp"]): row for row in values}
    for part in list_parts(project.lakehouse, TV_TECHNICALS_1D):
        if part.date < since:
            continue
        rows = read_current([part], TV_TECHNICALS_1D)
        restated = [
            row | {name: of_bar[name] for name in RATINGS} | {"created_timestamp": WRITTEN}
            for row in rows.to_pylist()
            for of_bar in (by_bar[row["symbol"], int(row["bar_timestamp"].timestamp())],)
        ]
        table = pa.Table.from_pylist(restated, schema=rows.schema)
        append_part(project.lakehouse, TV_TECHNICALS_1D, table, "restatement")


def reversed_(rule: str) -> Callable[..., Vote]:
    original: Callable[..., Vote] = getattr(ratings, rule)

    def vote(*reads: np.ndarray) -> Vote:
        cast = original(*reads)
        return cast._replace(value=-cast.value)

    return vote


def told(result: ParityResult) -> list[tuple[str, tuple[str, ...], date]]:
    return [(each.feature, each.votes, each.since) for each in result.report.broken]


def test_a_clean_replay_names_no_vote(project: Project) -> None:
    result = parity(project)
    assert result.report.compared > 1_000
    assert (result.report.broken, result.refusal) == ((), None)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("momentum_vote", "Mom"),
        ("adx_vote", "ADX"),
        ("cci_vote", "CCI20"),
    ],
)
def test_a_changed_rule_is_named_with_its_date(
    project: Project, bars: pa.Table, rule: str, name: str
) -> None:
    serve_otherwise(project, bars, rule, reversed_(rule))
    result = parity(project)
    assert told(result) == [("Recommend.Other", (name,), CHANGED)]
    (broken,) = result.report.broken
    assert broken.is_told
    assert broken.explained == broken.differing
    assert (broken.share_before, broken.share_after) == (0, 1)
    assert result.refusal is not None
    assert name in result.refusal


def test_the_command_rings(
    project: Project, bars: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_otherwise(project, bars, "momentum_vote", reversed_("momentum_vote"))
    monkeypatch.setenv("TVFEAST_LAKEHOUSE", str(project.lakehouse_at))
    ringing = CliRunner().invoke(cli, ["parity"])
    assert isinstance(ringing.exception, GateRefused)
    assert "the vote Mom follows another rule since 2021-04-06" in ringing.output
    assert CliRunner().invoke(cli, ["parity", "--max-vote-share", "1"]).exception is None


def test_a_vote_that_is_seldom_cast_is_not_told(project: Project, bars: pa.Table) -> None:
    last = date(2021, 4, 15)
    serve_otherwise(project, bars, "stochastic_vote", reversed_("stochastic_vote"), last)
    result = parity(project)
    (broken,) = result.report.broken
    assert not broken.is_told
    assert "not enough to tell" in str(broken)
    assert f"{broken.cast_after} times since" in str(broken)
    assert result.refusal is None


def test_missing_and_wrong_bars_name_no_vote(
    project: Project, bars: pa.Table, tmp_path: Path, at
) -> None:
    """A session that is missing, and another close: of some symbols, from the date on."""
    at(WRITTEN + timedelta(days=1))
    opened = np.array(bars["timestamp"])
    close, high = np.array(bars["close"].to_pylist()), np.array(bars["high"].to_pylist())
    names = np.array(bars["symbol"].to_pylist())
    is_wrong = np.isin(names, ["NASDAQ:AAPL", "NYSE:JPM", "NYSE:KO", "NASDAQ:MSFT"])
    is_wrong &= opened // 86_400 == (CHANGED - date(1970, 1, 1)).days
    assert is_wrong.sum() == 4
    high[is_wrong] *= 1.2
    close[is_wrong] = high[is_wrong]
    table = bars.set_column(bars.column_names.index("close"), "close", pa.array(close))
    table = table.set_column(table.column_names.index("high"), "high", pa.array(high))
    pq.write_table(table.filter(pa.array(is_wrong)), tmp_path / "wrong.parquet")
    import_bars(project, ImportRequest((tmp_path / "wrong.parquet",)))
    local_features(project)
    result = parity(project)
    assert result.report.beyond > 20
    assert (result.report.broken, result.refusal) == ((), None)


def test_a_range_before_the_change_shows_none(project: Project, bars: pa.Table) -> None:
    serve_otherwise(project, bars, "momentum_vote", reversed_("momentum_vote"))
    before = parity(project, ParityRequest(last=CHANGED - timedelta(days=1)))
    assert before.report.broken == ()


def test_each_difference_has_its_cause(project: Project, bars: pa.Table) -> None:
    """Of 290 bars, RSI has forgotten the first one, and the ratings' slowest average has not."""
    serve_otherwise(project, bars, "momentum_vote", reversed_("momentum_vote"))
    (part, *_) = list_parts(project.lakehouse, TV_TECHNICALS_1D)
    rows = read_current([part], TV_TECHNICALS_1D)
    (row,) = (row for row in rows.to_pylist() if row["symbol"] == "NYSE:KO")
    row |= {"RSI": 1.0, "Recommend.MA": -row["Recommend.MA"], "created_timestamp": WRITTEN}
    table = pa.Table.from_pylist([row], schema=rows.schema)
    append_part(project.lakehouse, TV_TECHNICALS_1D, table, "wrong")
    columns = {each.feature: each for each in parity(project).report.columns}
    other = columns["Recommend.Other"]
    assert other.causes == {Cause.RULE: other.beyond}
    assert {each.cause for each in other.worst} == {Cause.RULE}
    assert columns["RSI"].causes == {Cause.SOURCE: 1}
    assert columns["Recommend.MA"].causes == {Cause.HISTORY: 1}


def test_a_bar_without_trades_in_the_window_is_a_cause(
    project: Project, bars: pa.Table, tmp_path: Path, at
) -> None:
    at(WRITTEN + timedelta(days=1))
    opened, volume = (np.array(bars[name].to_pylist()) for name in ("timestamp", "volume"))
    names = np.array(bars["symbol"].to_pylist())
    is_quiet = (names == "NYSE:KO") & (opened // 86_400 == (CHANGED - date(1970, 1, 1)).days)
    close = np.array(bars["close"].to_pylist())
    flat = bars.filter(pa.array(is_quiet))
    prices = {name: pa.array(close[is_quiet] * 1.1) for name in ("open", "high", "low", "close")}
    for name, values in {**prices, "volume": pa.array(0 * volume[is_quiet])}.items():
        flat = flat.set_column(flat.column_names.index(name), name, values)
    pq.write_table(flat, tmp_path / "flat.parquet")
    import_bars(project, ImportRequest((tmp_path / "flat.parquet",)))
    local_features(project)
    columns = {each.feature: each for each in parity(project).report.columns}
    assert columns["RSI"].beyond > 0
    assert set(columns["RSI"].causes) == {Cause.NO_TRADES}


def test_the_newest_bars_tell_the_cause_that_all_bars_tell(
    project: Project, bars: pa.Table
) -> None:
    stored, found = StoredBars(project.lakehouse), set()
    for symbol in ("NASDAQ:AAPL", "NYSE:GE", "NYSE:NONE"):
        opens = bars.filter(pc.equal(bars["symbol"], symbol))["timestamp"].to_pylist()
        stored.read([symbol])
        for opened in [*opens[10:40:10], *opens[-1:], int(WRITTEN.timestamp())]:
            close = datetime.fromtimestamp(opened, UTC) + timedelta(hours=8)
            for name in ("RSI", "ADX", "Volatility.D", "Recommend.All"):
                formula = SHIPPED[name]
                told = cause_at(project.lakehouse, symbol, close, formula)
                assert told == stored.cause(symbol, int(close.timestamp()), formula)
                found.add(told)
    assert found == {Cause.HISTORY, Cause.SOURCE}


def test_explain_says_why_one_value_differs(project: Project, bars: pa.Table) -> None:
    serve_otherwise(project, bars, "momentum_vote", reversed_("momentum_vote"))

    def told_of(feature: str, as_of: datetime) -> str | None:
        request = ExplainRequest("NYSE:KO", f"{TV_TECHNICALS_1D.name}:{feature}", as_of, False)
        (story,) = explain(project, request).stories
        return story.difference

    late, early = datetime(2021, 4, 12, 22, tzinfo=UTC), datetime(2021, 3, 30, 22, tzinfo=UTC)
    said = told_of("Recommend.Other", late)
    assert said is not None
    assert said.startswith("differs from local_1d: ")
    assert said.endswith(f"cause: {Cause.RULE}")
    assert told_of("RSI", late) is None
    assert told_of("Recommend.Other", early) is None
