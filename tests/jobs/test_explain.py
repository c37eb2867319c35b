from __future__ import annotations

import inspect
import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from ingestion.base.errors import InputError
from ingestion.base.plain import plain
from ingestion.catalog import OHLCV_1D, SYMBOLS
from ingestion.cli.explain import explain_text
from ingestion.formulas import LOCAL, SHIPPED, compute_local_features
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.audit.lineage import Explanation, KeptBack, Story
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import LocalDisk, append_part, arrow_schema, write_run_file
from ingestion.lakehouse.ledger import read_ledger
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from ingestion.quality.gate import write_quarantine
from ingestion.replay import ReplayScanner
from tests.conftest import MONDAY, SAMPLE
from tests.declared import LOCAL_1D
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.technicals import EVENING, technicals

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
AAPL = "NASDAQ:AAPL"


@pytest.fixture
def lakehouse(tmp_path: Path, at) -> Project:
    """Friday's snapshot, restated an hour and two hours later; one of Saturday."""
    at(EVENING + 3 * DAY)
    settings = Project(tmp_path, tmp_path / "lakehouse", "https://scanner.invalid")
    for number in range(3):
        write(settings, f"run-{number}", EVENING, EVENING + number * HOUR, 50.0 + number)
    write(settings, "run-3", EVENING + DAY, EVENING + DAY, 60.0)
    receipt = b'{"run_id": "run-2", "group": "tv_technicals_1d"}'
    write_run_file(settings.lakehouse, "run-2", "feature_ingest.tv_technicals_1d.json", receipt)
    return settings


def write(settings: Project, run_id: str, event: datetime, created: datetime, rsi: float) -> None:
    rows = technicals([AAPL, "NYSE:IBM"], event, created, RSI=[rsi, 1.0])
    append_part(settings.lakehouse, GROUP, rows, run_id)


def story(settings: Project, as_of: datetime | None = None, symbol: str = AAPL) -> Story:
    request = ExplainRequest(symbol, f"{GROUP.name}:RSI", as_of, online=False)
    (told,) = explain(settings, request).stories
    return told


def test_a_value_names_its_run_file_and_hash(lakehouse: Project):
    told = story(lakehouse)
    (version,) = told.versions
    (entry,) = read_ledger(lakehouse.lakehouse, "run-3")
    assert (version.value, version.event, version.run_id) == (60.0, EVENING + DAY, "run-3")
    assert (version.part, version.sha256) == (entry.part, entry.sha256)
    assert version.written_as is None
    assert told.source == "TradingView's scanner, column RSI"
    assert not told.expired


def test_restatements_are_told_the_last_first(lakehouse: Project):
    told = story(lakehouse, EVENING + 3 * HOUR)
    assert [version.value for version in told.versions] == [52.0, 51.0, 50.0]
    assert [version.run_id for version in told.versions] == ["run-2", "run-1", "run-0"]
    assert told.versions[0].receipt == "_runs/run-2/feature_ingest.tv_technicals_1d.json"


@pytest.mark.parametrize(
    ("later", "recorded"),
    [
        (timedelta(0), 50.0),
        (HOUR - timedelta(microseconds=1), 50.0),
        (HOUR, 51.0),
        (2 * HOUR, 52.0),
    ],
)
def test_what_was_recorded_then_is_told_beside_what_is_known_now(
    lakehouse: Project, later: timedelta, recorded: float
):
    told = story(lakehouse, EVENING + later)
    assert told.versions[0].value == 52.0
    assert told.recorded is not None
    assert told.recorded.value == recorded


def test_a_row_that_was_written_later_was_not_recorded_then(lakehouse: Project):
    write(lakehouse, "late", EVENING - DAY, EVENING, 40.0)
    assert story(lakehouse, EVENING - HOUR).recorded is None


def test_the_values_before_and_after_are_told(lakehouse: Project):
    write(lakehouse, "first", EVENING - DAY, EVENING - DAY, 40.0)
    told = story(lakehouse, EVENING + HOUR)
    assert told.supersedes is not None
    assert told.superseded_by is not None
    assert (told.supersedes.value, told.superseded_by.value) == (40.0, 60.0)
    newest = story(lakehouse)
    assert newest.supersedes is not None
    assert (newest.supersedes.value, newest.superseded_by) == (52.0, None)


def test_two_snapshots_of_a_day_are_told_apart(lakehouse: Project):
    write(lakehouse, "noon", EVENING - HOUR, EVENING - HOUR, 45.0)
    told = story(lakehouse, EVENING - timedelta(microseconds=1))
    assert [version.value for version in told.versions] == [45.0]
    assert told.superseded_by is not None
    assert told.superseded_by.value == 52.0
    told = story(lakehouse, EVENING)
    assert told.supersedes is not None
    assert told.supersedes.value == 45.0


@pytest.mark.parametrize(("later", "expired"), [(timedelta(0), False), (timedelta(0, 0, 1), True)])
def test_a_value_past_its_time_to_live_is_told_as_expired(
    lakehouse: Project, at, later: timedelta, expired: bool
):
    at(EVENING + DAY + GROUP.ttl + later)
    assert story(lakehouse).expired is expired


def test_a_merged_part_tells_the_same_story(lakehouse: Project):
    before = story(lakehouse, EVENING + 3 * HOUR)
    compact(lakehouse)
    after = story(lakehouse, EVENING + 3 * HOUR)
    assert [version.written_as for version in after.versions] == [
        version.part for version in before.versions
    ]
    assert {version.part for version in after.versions} == {
        f"{GROUP.storage}/date=2026-01-16/part-3.parquet"
    }
    for then, now in zip(before.versions, after.versions, strict=True):
        assert (then.value, then.run_id, then.sha256) == (now.value, now.run_id, now.sha256)


def test_a_symbol_without_a_row_is_refused_with_what_to_do(lakehouse: Project):
    with pytest.raises(InputError, match="NASDAQ:NONE has no row in tv_technicals_1d") as refused:
        story(lakehouse, symbol="NASDAQ:NONE")
    assert "candidates" in str(refused.value)


def test_a_misspelt_symbol_is_refused_with_the_nearest_one(lakehouse: Project):
    row = {"symbol": AAPL, "active": True, "valid_from": EVENING - DAY}
    rows = pa.Table.from_pylist([row], schema=arrow_schema(SYMBOLS))
    append_part(lakehouse.lakehouse, SYMBOLS, rows, "run-9")
    with pytest.raises(InputError, match=r"NASDAQ:APPL \(did you mean NASDAQ:AAPL\?\) has no row"):
        story(lakehouse, symbol="NASDAQ:APPL")


def test_a_symbol_that_left_long_ago_is_found_and_what_is_kept_of_that_is_never_believed_alone(
    lakehouse: Project, monkeypatch: pytest.MonkeyPatch
):
    def append(days: int, symbols: list[str], rsi: float) -> None:
        event = EVENING - days * DAY
        rows = technicals(symbols, event, event, RSI=[rsi] * len(symbols))
        append_part(lakehouse.lakehouse, GROUP, rows, f"{symbols[0]}-{days}")

    opened: list[str] = []
    whole = LocalDisk.open
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr(
        LocalDisk, "open", lambda disk, key: (opened.append(key), whole(disk, key))[1]
    )
    for day in range(1, 60):
        append(day, ["NYSE:OLD", AAPL] if day > 50 else [AAPL], day)
    for _ in range(2):
        opened.clear()
        told = story(lakehouse, symbol="NYSE:OLD")
        assert told.supersedes is not None
        assert (told.versions[0].value, told.supersedes.value) == (51.0, 52.0)
    # 20 without one, two with, and the 12 days in which a snapshot of the same bar may be.
    assert len({key for key in opened if GROUP.storage in key}) < 40  # of 62
    with pytest.raises(InputError, match="NYSE:NONE has no row"):
        story(lakehouse, symbol="NYSE:NONE")
    append(40, ["NYSE:NONE", "NYSE:OLD"], 1.5)
    assert story(lakehouse, symbol="NYSE:NONE").versions[0].value == 1.5
    assert story(lakehouse, symbol="NYSE:OLD").versions[0].value == 1.5


def test_an_instant_before_the_first_row_is_refused_with_the_first_one(lakehouse: Project):
    with pytest.raises(InputError, match=r"has no row .* up to 2026-01-15") as refused:
        story(lakehouse, EVENING - DAY)
    assert f"--as-of {EVENING.isoformat()}" in str(refused.value)


def test_a_row_that_was_kept_back_since_is_told_with_what_it_broke(lakehouse: Project):
    late = EVENING + 2 * DAY
    for number, (symbol, rsi) in enumerate([(AAPL, 400.0), ("NYSE:NEW", 500.0)]):
        rows = technicals([symbol, "X:Y"], late, late, RSI=[rsi, -7.0])
        failed = pa.array([["RSI bounds"]] * 2, pa.list_(pa.string()))
        rows = rows.append_column("failed", failed)
        write_quarantine(lakehouse.lakehouse, GROUP, rows, f"run-{number + 4}")
    told = story(lakehouse)
    assert told.versions[0].value == 60.0
    assert told.kept_back == (KeptBack(400.0, late, ("RSI bounds",), "run-4"),)
    assert story(lakehouse, late - HOUR).kept_back == ()
    only = explain(lakehouse, ExplainRequest("NYSE:NEW", f"{GROUP.name}:RSI", online=False))
    assert only.stories[0].versions == ()
    assert "KEPT BACK: 500.0, known at 2026-01-18 21:30:00 UTC: RSI bounds" in explain_text(only)


def test_a_view_without_a_row_has_no_versions(lakehouse: Project):
    told = explain(lakehouse, ExplainRequest(AAPL, "RSI", online=False)).stories[1]
    assert (told.versions, told.bar, told.supersedes) == ((), None, None)


@pytest.fixture
def recomputed(lakehouse: Project) -> Project:
    """Forty of BTC's bars and what is computed from them."""
    opens = [int((EVENING.replace(hour=0, minute=0) - n * DAY).timestamp()) for n in range(40)]
    schema = arrow_schema(OHLCV_1D)
    bars = [
        {
            **{"timestamp": opened, "symbol": "BINANCE:BTCUSDT", "split_ratio": 1.0},
            **{"open": 1.0 + n, "high": 3.0 + n, "low": 0.5 + n, "close": 2.0 + n, "volume": 1.0},
            "event_timestamp": datetime.fromtimestamp(opened + 86_400, EVENING.tzinfo),
            "created_timestamp": EVENING + 2 * DAY,
            "source": "import:bars.csv",
        }
        for n, opened in enumerate(opens)
    ]
    for row in bars:
        append_part(lakehouse.lakehouse, OHLCV_1D, pa.Table.from_pylist([row], schema), "bars")
    features = compute_local_features(pa.Table.from_pylist(bars, schema))
    last = features.to_pylist()[-1]
    row = last | {
        "timestamp": opens[0] + 86_400,
        "event_timestamp": bars[0]["event_timestamp"],
        "created_timestamp": EVENING + 2 * DAY,
        "bar_timestamp": datetime.fromtimestamp(opens[0], EVENING.tzinfo),
    }
    rows = pa.Table.from_pylist([row], arrow_schema(LOCAL_1D))
    append_part(lakehouse.lakehouse, LOCAL_1D, rows, "local")
    return lakehouse


def test_a_recomputed_value_names_its_formula_and_its_bar(recomputed: Project):
    request = ExplainRequest("BINANCE:BTCUSDT", "local_1d:RSI", online=False)
    (told,) = explain(recomputed, request).stories
    assert told.versions[0].run_id == "local"
    assert told.source.startswith(
        "ingestion.formulas.oscillators.rsi: Return the relative strength"
    )
    assert told.bar is not None
    midnight = EVENING.replace(hour=0, minute=0)
    assert (told.bar.open, told.bar.close) == (midnight, midnight + DAY)
    assert (told.bar.source, told.bar.run_id) == ("import:bars.csv", "bars")
    assert "Parameters" not in told.source


def test_a_recomputed_value_is_of_a_closed_bar_and_a_snapshot_at_its_close_of_an_open_one(
    lakehouse: Project,
):
    opened, close = EVENING.replace(hour=14, minute=30), EVENING.replace(hour=21, minute=0)
    times = {"timestamp": int(close.timestamp()), "event_timestamp": close}
    for group in (GROUP, LOCAL_1D):
        row = dict.fromkeys(arrow_schema(group).names, 1.0) | times
        row |= {"symbol": AAPL, "created_timestamp": EVENING, "bar_timestamp": opened}
        row |= {"bar_update_timestamp": None}
        rows = pa.Table.from_pylist([row], arrow_schema(group))
        append_part(lakehouse.lakehouse, group, rows, "close")
    told = explain(lakehouse, ExplainRequest(AAPL, "RSI", close, online=False)).stories
    assert [each.bar.state for each in told if each.bar] == ["open", "closed"]


def test_a_plain_name_tells_of_every_view_that_has_it(recomputed: Project):
    both = explain(recomputed, ExplainRequest(AAPL, "RSI", online=False))
    assert [each.view for each in both.stories] == ["tv_technicals_1d", "local_1d"]
    one = explain(recomputed, ExplainRequest("BINANCE:BTCUSDT", "returns_1d", online=False))
    assert [each.view for each in one.stories] == ["local_1d"]


def test_every_recomputed_feature_has_a_formula_with_prose():
    assert LOCAL.keys() == {column.name for column in LOCAL_1D.features}
    for formula in SHIPPED.values():
        assert inspect.getdoc(formula.function)
        assert len(formula.description) > 60


@pytest.mark.parametrize(
    ("symbol", "feature", "as_of", "told"),
    [
        ("AAPL", "RSI", None, "EXCHANGE:TICKER"),
        (AAPL, "rsi", None, "no feature 'rsi'"),
        (AAPL, "ohlcv_1d:RSI", None, "no group 'ohlcv_1d'"),
        (AAPL, "RSI", EVENING + 9 * DAY, "in the future"),
    ],
)
def test_what_cannot_be_explained_is_refused(lakehouse, symbol, feature, as_of, told):
    with pytest.raises(InputError, match=told):
        explain(lakehouse, ExplainRequest(symbol, feature, as_of, online=False))


def test_the_story_is_told_to_people_and_to_machines(recomputed: Project):
    told = explain(recomputed, ExplainRequest(AAPL, "RSI", EVENING + HOUR, online=False))
    text = explain_text(told)
    for part in ("52.0, known at 2026-01-16 21:30:00 UTC", "superseded: 51.0", "run run-2", "SHA-"):
        assert part in text
    assert "as recorded then: 51.0" in text
    assert "after: 60.0" in text
    document = json.loads(json.dumps(plain(told)))
    assert document["stories"][0]["versions"][0]["value"] == 52.0
    assert document["stories"][1]["versions"] == []


@pytest.fixture(scope="module")
def explained(tmp_path_factory, sample_panel) -> tuple[Explanation, Explanation]:
    """A story before there is an online store, and one five days after it was loaded."""
    with pytest.MonkeyPatch.context() as patch, ReplayScanner(sample_panel) as scanner:
        patch.setenv("TVFEAST_NOW", MONDAY.isoformat())
        project = make_workspace(tmp_path_factory.mktemp("explain") / "workspace")
        patch.setenv("TVFEAST_PROJECT", str(project))
        settings = replace(Project.from_environment(), scanner_url=scanner.url)
        request = ExplainRequest(AAPL, "tv_technicals_1d:RSI")
        candidates = read_candidates(SAMPLE / "portfolio_candidates.json")
        feature_ingest(settings, FeatureIngestRequest(candidates))
        nothing = explain(settings, request)
        materialize(settings)
        patch.setenv("TVFEAST_NOW", (MONDAY + 5 * DAY).isoformat())
        return nothing, explain(settings, request)


def test_without_a_store_that_is_said(explained):
    (told,) = explained[0].stories
    assert told.online == "there is no online store yet"


def test_what_is_served_is_told_and_whether_it_has_expired(explained):
    (told,) = explained[1].stories
    assert told.online is not None
    assert told.expired
    assert not isinstance(told.online, str)
    assert told.online.value == told.versions[0].value is not None
    assert told.online.event == told.versions[0].event
    assert told.online.state == "expired"
    assert "online: " in explain_text(explained[1])


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (
            "source=Scanner(), ttl='4d', features=[Column('target'), Column('close'), "
            "Column('money', 'string'), Column('base', 'string'), "
            "Column('up', derived=Excess('target', 'close', same=('money', 'base')))]",
            "(target ÷ close − 1) in %, of the same row, where money and base are equal",
        ),
        (
            "source=Files(), ttl='4d', features=[Column('up')]",
            "a file of `tvfeast import-features`",
        ),
    ],
)
def test_a_value_that_no_formula_computes_names_where_it_comes_from(
    settings: Project, at, declared: str, said: str
):
    at(MONDAY)
    folder = settings.feast_repository / "groups"
    folder.mkdir()
    (folder / "mine.py").write_text(
        "from ingestion.catalog import Column, FeatureGroup, Files, Scanner\n"
        "from ingestion.catalog.model import Excess\n"
        f"GROUP = FeatureGroup('mine', meaning='mine', {declared})\n"
    )
    group = settings.catalog.group("mine")
    rows = pa.Table.from_pylist(
        [
            {
                "timestamp": int(MONDAY.timestamp()),
                "symbol": AAPL,
                "up": 4.5,
                "event_timestamp": MONDAY,
                "created_timestamp": MONDAY,
            }
        ],
        schema=arrow_schema(group),
    )
    append_part(settings.lakehouse, group, rows, "run-1")
    (told,) = explain(settings, ExplainRequest(AAPL, "mine:up", online=False)).stories
    assert (told.source, told.versions[0].value) == (said, 4.5)
