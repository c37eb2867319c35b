"""`tvfeast history`: from a candidates file to years of ratings and a page about them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ingestion.bars import fetching
from ingestion.base.errors import TvfeastError
from ingestion.cli.commands import cli
from ingestion.jobs.history import rating_history
from ingestion.jobs.history.asking import fetch_missing, sources_of
from ingestion.jobs.history.ratings import CLASSES, class_of, followed, lasted, spells
from ingestion.jobs.history.stored_ratings import read_ratings
from ingestion.jobs.ingest.fetched_spans import OVERLAP, Span, missing_of
from ingestion.jobs.new_project import make_project
from ingestion.project import Project
from ingestion.replay.vendor import Fault
from ingestion.replay.yahoo import ReplayYahoo
from ingestion.sources.yahoo import ticker
from tests.history.series import drawn_series

EVENING = datetime(2021, 4, 16, 22, tzinfo=UTC)
LISTED = date(2020, 10, 1)
"""When the youngest symbol began."""
SYMBOLS = ["NASDAQ:AAPL", "XETR:SAP", "NYSE:YOUNG"]
UNKNOWN, ELSEWHERE, MISSPELT = "NASDAQ:NOBODY", "BITSTAMP:BTCUSD", "NASDQ:AAPL"

Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def yahoo(at: Callable[[datetime], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayYahoo]:
    at(EVENING)
    monkeypatch.setattr(fetching, "_BACKOFF", 0.01)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("os.fsync", lambda _: None)
    split = (date(2020, 8, 31), 4.0, 1.0)
    series = {
        ticker(symbol): drawn_series(
            symbol,
            LISTED if symbol == "NYSE:YOUNG" else date(2015, 1, 2),
            EVENING.date() + timedelta(days=3),
            (split,) if symbol == "NASDAQ:AAPL" else (),
        )
        for symbol in SYMBOLS
    }
    with ReplayYahoo(series) as server:
        monkeypatch.setenv("TVFEAST_YAHOO_URL", server.url)
        yield server


@pytest.fixture
def history(tmp_path: Path, yahoo: ReplayYahoo, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in a project that is new; its exit code, and its JSON or the error."""
    folder = make_project(tmp_path / "mine").folder
    monkeypatch.setenv("TVFEAST_PROJECT", str(folder))
    monkeypatch.chdir(folder)

    def run(
        *symbols: str, years: int = 1, words: tuple[str, ...] = ()
    ) -> tuple[int, dict[str, Any]]:
        Path("c.json").write_text(json.dumps(symbols))
        asked = ["history", "--candidates", "c.json", "--years", str(years), "--json", *words]
        result = CliRunner().invoke(cli, asked)
        told = json.loads(result.stdout) if result.stdout else {}
        if isinstance(result.exception, TvfeastError):
            return result.exception.exit_code, {**told, "error": str(result.exception)}
        return result.exit_code, told

    return run


def test_one_command_makes_ratings_of_every_day_and_a_page(history: Run, yahoo: ReplayYahoo):
    code, told = history(*SYMBOLS, UNKNOWN, ELSEWHERE, MISSPELT)
    assert code == 3
    assert "3 of 6 symbols lack bars" in told["error"]
    covered = {each["symbol"]: each for each in told["coverage"]}
    assert list(covered) == [*SYMBOLS, UNKNOWN, ELSEWHERE, MISSPELT]
    assert covered[MISSPELT]["missing"].endswith(" knows NASDQ (did you mean NASDAQ?)")
    assert covered[UNKNOWN]["missing"] == "yahoo has no bars of it"
    assert covered[ELSEWHERE]["missing"].endswith(" knows BITSTAMP")
    for symbol in SYMBOLS[:2]:  # each session of the year has a rating: they were warmed up
        own = covered[symbol]
        assert own["sessions"] == own["rows"] == own["rated"] > 240, symbol
        assert (own["source"], own["last"]) == ("yahoo", "2021-04-16")
        assert date.fromisoformat(own["first"]) - date(2020, 4, 16) < timedelta(days=5)
        assert own["missing"] is None
    young = covered["NYSE:YOUNG"]
    assert young["first"] == "2020-10-01"
    assert young["missing"].startswith("its bars begin on 2020-10-01; ")
    assert "before the averages had enough bars" in young["missing"]
    # What is printed is of what is stored, and no spell is lost or counted twice.
    rows = read_ratings(Project.from_environment(), SYMBOLS, date(2020, 4, 16), EVENING.date())
    assert sum(each["rows"] for each in told["lasted"]) == int((rows.code >= 0).sum())
    newest = {name: rows.rating[rows.of(name)][-1] for name in SYMBOLS}
    assert {name: covered[name]["rating"] for name in SYMBOLS} == pytest.approx(newest, nan_ok=True)
    page = Path("rating_history.html").read_text()
    assert all(symbol in page for symbol in covered)
    assert "What is there?" in page
    assert not re.search(r"""(src|href)=["']https?://""", page)
    # Again: of what is there nothing is asked for, and nothing is written.
    asked = len(yahoo.asked)
    code, again = history(*SYMBOLS)
    assert (code, again["bars_written"], again["rows_written"], again["asked"]) == (0, 0, 0, {})
    assert len(yahoo.asked) == asked
    assert again["lasted"] == told["lasted"]
    assert again["followed"] == told["followed"]


def test_a_run_that_lost_its_source_goes_on_where_it_was(
    history: Run,
    yahoo: ReplayYahoo,
    at: Callable[[datetime], None],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(rating_history, "WARM_UP", 0)
    for series in yahoo.series.values():
        series.bars[:] = [row for row in series.bars if row[0] >= date(2021, 2, 1)]
    yahoo.faults.extend([Fault("status")] * 4)
    code, told = history(*SYMBOLS)
    assert code == 3
    (lacking,) = [each for each in told["coverage"] if each["source"] is None]
    assert lacking["symbol"] == "NASDAQ:AAPL"
    assert "503" in lacking["missing"]
    yahoo.asked.clear()
    code, told = history(*SYMBOLS)
    assert (code, told["asked"]) == (0, {"yahoo": 1})
    assert {path.rpartition("/")[2] for path, _ in yahoo.asked} == {"AAPL"}
    # After the next session each is asked for its last days alone.
    at(EVENING + timedelta(days=3))
    yahoo.asked.clear()
    code, told = history(*SYMBOLS)
    assert (code, told["asked"], told["bars_written"]) == (0, {"yahoo": 3}, 3)
    since = [int(parameters["period1"]) for _, parameters in yahoo.asked]
    assert min(since) > (EVENING - OVERLAP - timedelta(days=2)).timestamp()


DEALER = """
from datetime import date, timedelta

from ingestion.catalog import BarSource, BarTable

HOLIDAYS = date(2020, 12, 25), date(2021, 1, 1)


def tables(want):
    days = [want.first + timedelta(n) for n in range((want.last - want.first).days + 1)]
    days = [day for day in days if day.weekday() < 5 and day not in HOLIDAYS]
    prices = {name: [1.2] * len(days) for name in ("open", "high", "low", "close")}
    yield BarTable({"date": days, **prices, "volume": [0.0] * len(days)})


SOURCE = BarSource("dealer", "a dealer's days", tables, times="dates", exchanges=["OANDA"])
"""


def test_a_holiday_of_dealers_is_no_session_that_is_asked_for(
    tmp_path: Path, at: Callable[[datetime], None], monkeypatch: pytest.MonkeyPatch
):
    folder = make_project(tmp_path / "mine").folder
    (folder / "feature_repo" / "sources").mkdir(exist_ok=True)
    (folder / "feature_repo" / "sources" / "dealer.py").write_text(DEALER)
    monkeypatch.setenv("TVFEAST_PROJECT", str(folder))
    monkeypatch.setattr("os.fsync", lambda _: None)

    def asked(instant: datetime) -> tuple[dict[str, int], int]:
        at(instant)
        project = Project.from_environment()
        sources = sources_of(project, ["dealer"])
        found = fetch_missing(project, sources, ["OANDA:EURUSD"], date(2020, 12, 1))
        assert found.missing == {}
        return found.asked, found.written

    assert asked(datetime(2020, 12, 31, 23, tzinfo=UTC)) == ({"dealer": 1}, 22)
    assert asked(datetime(2021, 1, 2, 12, tzinfo=UTC)) == ({}, 0)  # a Saturday; Friday was one
    assert asked(datetime(2021, 1, 5, 12, tzinfo=UTC)) == ({"dealer": 1}, 1)


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("--source", "tiingo"), 4, "Tiingo wants a key: set TVFEAST_TIINGO_KEY to yours"),
        (("--source", "nobody"), 2, "there is no bar source 'nobody'"),
        (("--out", "feature_repo"), 2, ""),
        (("--out", "/proc/page.html"), 2, "/proc/page.html cannot be written: No such file"),
        (("--universe", "mine"), 2, "name either --candidates FILE or --universe NAME"),
        ((), 4, f"no bar of these symbols came: {UNKNOWN}: yahoo gave nothing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_one_line(
    history: Run, words: tuple[str, ...], code: int, error: str
):
    found, told = history(UNKNOWN, words=words)
    assert found == code
    assert error in told.get("error", "")
    assert "\n" not in told.get("error", "")


_DAYS = st.dates(date(2020, 1, 1), date(2020, 3, 1))
_SPANS = st.builds(lambda one, other: Span(min(one, other), max(one, other)), _DAYS, _DAYS)


@given(wanted=_SPANS, done=st.lists(_SPANS, max_size=5))
def test_what_is_left_to_fetch_covers_what_is_wanted_and_begins_where_it_must(wanted, done):
    def days(span: Span) -> set[date]:
        return {span.first + timedelta(days=n) for n in range((span.last - span.first).days + 1)}

    there = set().union(*map(days, done))
    left = missing_of(wanted, done)
    missing = days(wanted) - there
    if left is None:
        assert not missing
        return
    assert missing <= days(left) <= days(wanted)
    assert left.last == max(missing)
    assert left.first <= min(missing) <= left.first + OVERLAP + timedelta(days=1)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([-0.9, -0.3, 0.0, 0.3, 0.9, float("nan")])),
        max_size=40,
    )
)
def test_spells_are_those_that_a_walk_over_the_rows_finds(rows):
    rows.sort(key=lambda row: row[0])
    symbol = np.array([number for number, _ in rows], np.int64)
    code = class_of([rating for _, rating in rows])
    found = spells(symbol, code)
    expected, row = [], 0
    while row < len(rows):
        end = row
        while end < len(rows) and (symbol[end], code[end]) == (symbol[row], code[row]):
            end += 1
        if code[row] >= 0:
            began = row > 0 and symbol[row - 1] == symbol[row] and code[row - 1] >= 0
            after = end < len(rows) and symbol[end] == symbol[row] and code[end] >= 0
            expected.append(
                (symbol[row], code[row], row, end - row, began, code[end] if after else -1)
            )
        row = end
    columns = (found.symbol, found.code, found.first, found.rows, found.began, found.after)
    assert list(zip(*(each.tolist() for each in columns), strict=True)) == expected
    for each, rating in zip(lasted(found), CLASSES, strict=True):
        whole = [n for _, c, _, n, b, a in expected if CLASSES[c] == rating and b and a >= 0]
        assert (each.spells, each.longest) == (len(whole), max(whole, default=None))


def test_what_followed_is_the_mean_by_hand_and_nothing_of_the_ratings_own_day():
    code = class_of([0.3, -0.3, 0.3, -0.3, 0.3])
    day = np.array([1, 1, 2, 2, 3])
    returns = np.array([0.04, 0.02, 0.01, 0.03, np.nan])
    of = {each.rating: each for each in followed(code, day, returns, 5)}
    assert (of["buy"].rows, of["buy"].dates, of["buy"].mean) == (2, 2, pytest.approx(0.025))
    assert of["buy"].excess == pytest.approx((0.01 - 0.01) / 2, abs=1e-12)
    assert of["sell"].rose == 1.0
    assert (of["neutral"].rows, of["neutral"].mean, of["neutral"].t) == (0, None, None)
