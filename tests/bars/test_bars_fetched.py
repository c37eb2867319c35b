"""Bars of a project's own sources: one file, whatever its author does in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestion.catalog import HELD_BARS
from ingestion.jobs.ingest.unfinished_imports import half_imports
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project
from tests.bars.source_files import COIN, GOOD, NOW, OTHER, A, B, World


def test_one_file_brings_bars(world: World) -> None:
    world.write(GOOD)
    result = world.fetch(COIN)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["symbols"], document["read"], document["written"]) == (1, 9, 9)
    # The bar of June 2 had not closed at ten o'clock.
    assert world.days(COIN) == [*(f"05-{day}" for day in range(24, 32)), "06-01"]
    row = world.rows()[0]
    assert row["source"] == "fetch:mine"
    assert (row["open"], row["high"], row["low"], row["close"]) == (10, 11, 9, 10)
    assert (row["volume"], row["split_ratio"]) == (5, 1)
    assert row["event_timestamp"] == datetime(2021, 5, 25, tzinfo=UTC)
    (run,) = document["imports"]
    assert run["findings"]["unfinished"]["count"] == 1


def test_text_says_what_came(world: World) -> None:
    world.write(GOOD, ", exchanges=['BINANCE']")
    candidates = world.folder / "candidates.json"
    candidates.write_text(json.dumps([COIN, A]))
    result = world.run("fetch-bars", "--source", "mine", "--candidates", str(candidates))
    assert result.exit_code == 0
    assert "mine was asked for 1 symbol" in result.output
    assert f"of exchanges that it does not know: {A}" in result.output
    assert "9 rows read: 9 written" in result.output


def test_a_repeated_fetch_goes_on_where_the_last_one_ended(
    world: World, at: Callable[[datetime], None]
) -> None:
    asked = world.folder / "asked.txt"
    world.write(f"""
        def tables(want):
            with open({str(asked)!r}, "a") as file:
                print(want.symbol, want.first, want.last, file=file)
            yield bars(want)
    """)
    assert world.fetch(COIN).exit_code == 0
    at(NOW + timedelta(days=1))
    assert world.fetch(COIN, OTHER).exit_code == 0
    at(NOW + timedelta(days=2))
    assert world.fetch(COIN, words=("--from", "2021-05-30", "--to", "2021-05-31")).exit_code == 0
    assert asked.read_text().splitlines() == [
        f"{COIN} 1970-01-01 2021-06-02",
        f"{COIN} 2021-05-26 2021-06-03",
        f"{OTHER} 1970-01-01 2021-06-03",
        f"{COIN} 2021-05-30 2021-05-31",
    ]
    assert len(world.days(COIN)) == 10
    assert len(world.rows()) == 20


def test_only_the_dates_that_were_asked_for_are_stored(world: World) -> None:
    world.write("""
        def tables(want):
            yield bars(BarRequest(want.symbols, date(2021, 1, 1), date(2021, 6, 2)))
    """)
    result = world.fetch(COIN, words=("--from", "2021-05-26", "--to", "2021-05-28"))
    assert world.days(COIN) == ["05-26", "05-27", "05-28"]
    (run,) = json.loads(result.stdout)["imports"]
    assert run["findings"]["not_in_the_span"]["count"] == 6


def test_a_source_that_raises_keeps_what_it_gave_and_is_asked_for_all_again(world: World) -> None:
    path = world.write("""
        def tables(want):
            if want.symbol.endswith("ETHUSDT"):
                table = bars(want)
                yield BarTable({name: each[-2:] for name, each in table.columns.items()})
                raise KeyError("page 2")
            yield bars(want)
    """)
    result = world.fetch(COIN, OTHER)
    assert result.exit_code == 3
    document = json.loads(result.stdout.splitlines()[0])
    line = path.read_text().splitlines().index('        raise KeyError("page 2")') + 1
    assert document["failed"] == {f"mine {OTHER}": f"{path}, line {line}: KeyError: 'page 2'"}
    assert len(world.days(COIN)) == 9
    assert world.days(OTHER) == ["06-01"]
    # The pages that are missing are older than what came: nothing may go on from there.
    world.write(GOOD)
    assert world.fetch(COIN, OTHER).exit_code == 0
    assert world.days(OTHER) == world.days(COIN)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("def tables(want):\n    1 / 0\n    yield", 4, "line 21: ZeroDivisionError: division by"),
        ("def tables(want):\n    raise SystemExit('no')", 4, "line 21: SystemExit: no"),
        ("def tables(want):\n    return []", 4, "mine gave nothing: it has no bars of these"),
        ("def tables(want):\n    return None", 4, "'NoneType' object is not iterable"),
        ("def tables():\n    return []", 4, "takes 0 positional arguments but 1 was given"),
        ("def tables(want):\n    yield {}", 2, "line 21: mine, asked for BINANCE:BTCUSDT, yielded"),
        ("def tables(want):\n    yield BarTable({})", 2, "no column for time, open, high, low, cl"),
        (
            "def tables(want):\n    yield BarTable([1, 2])",
            2,
            "a table of type list: give a mapping",
        ),
        ("def tables(want):\n    yield BarTable({'date': 'x'})", 2, "column 'date' is no sequence"),
        (
            "def tables(want):\n    c = bars(want).columns\n    c.pop('close')\n"
            "    yield BarTable(c)",
            2,
            "line 23: mine, asked for BINANCE:BTCUSDT, yielded a table with no column for close; "
            "it has time, open, high, low, volume",
        ),
        (
            "def tables(want):\n    yield bars(want, low=lambda days: [1.0])",
            2,
            "whose columns are not of one length: time 10, open 10, high 10, low 1",
        ),
        ("def tables(want):\n    yield bars(want, symbol=7)", 2, "whose symbol is 7, not a text"),
        ("def tables(want):\n    yield bars(want, symbol='X:Y')", 2, "not asked for (X:Y)"),
        ("def tables(want):\n    yield bars(want, close=lambda d: [[1]] * len(d))", 2, "list<item"),
        ("def tables(want):\n    raise BaseException('odd')", 4, "line 21: BaseException: odd"),
        (
            "def tables(want):\n    yield bars(want, close=lambda days: [None] * len(days))",
            2,
            "not a number",
        ),
    ],
)
def test_nothing_but_faults_ends_in_one_message(
    world: World, body: str, code: int, said: str
) -> None:
    world.write(body)
    result = world.fetch(COIN)
    assert (result.exit_code, said in str(result.exception)) == (code, True), result.exception
    assert not world.rows()


@pytest.mark.parametrize(
    "bad",
    [
        "yield {}",
        "yield BarTable({})",
        "yield bars(want, symbol='X:Y')",
        "yield bars(want, symbol=7)",
        "yield bars(want, price=-1.0, time=lambda days: [date(2020, 1, n + 1) for n in range(10)])",
        "raise ValueError('at the end')",
        "yield bars(want, close=lambda days: [[1.0]] * len(days))",
        "yield SplitTable({'ex': ['soon']})",
        "yield SplitTable({'date': ['soon'], 'ratio': ['many']})",
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_good_rows_are_kept_whatever_else_comes(world: World, bad: str, is_first: bool) -> None:
    if bad.startswith("raise") and is_first:
        pytest.skip("nothing comes after it")
    lines = [bad, "yield bars(want)"] if is_first else ["yield bars(want)", bad]
    world.write("def tables(want):\n    " + "\n    ".join(lines))
    result = world.fetch(COIN)
    assert result.exit_code == 3
    assert len(world.days(COIN)) == 9


def test_rows_of_a_table_that_disagree_with_others_of_their_session_are_refused(
    world: World,
) -> None:
    world.write("""
        def tables(want):
            yield bars(want)
            yield bars(want)  # the same page once more
            yield BarTable({name: each[:1] for name, each in bars(want, 20.0).columns.items()})
    """)
    result = world.fetch(COIN)
    assert result.exit_code == 3
    document = json.loads(result.stdout.splitlines()[0])
    assert (document["refused"], document["written"]) == (3, 8)
    assert world.days(COIN)[0] == "05-25"


def test_a_file_may_name_its_columns_as_vendors_do_and_be_a_data_frame(world: World) -> None:
    world.write(
        """
        def tables(want):
            import pandas as pd
            frame = pd.DataFrame(
                {"Date": ["2021-05-24", "2021-05-25"], "Open": ["1.5", "2"], "High": [2.5, 3],
                 "Low": [1, 1], "Close": [2, 2.5], "Volume": [None, None], "Adj Close": [7, 7]}
            )
            yield BarTable(frame.set_index(pd.to_datetime(frame.pop("Date"))))
        """
    )
    assert world.fetch(A).exit_code == 0
    first, second = world.rows()
    assert (first["open"], first["high"], first["low"], first["close"]) == (1.5, 2.5, 1, 2)
    assert (first["volume"], second["close"]) == (0, 2.5)
    assert first["event_timestamp"] == datetime(2021, 5, 24, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("mean", "symbol", "times", "opens", "closes"),
    [
        # 09:30 and 16:00 in New York are 13:30 and 20:00 UTC in May.
        ("as written", A, "date(2021, 5, 24)", "2021-05-24 13:30", "2021-05-24 20:00"),
        ("as written", A, "1621863000", "2021-05-24 13:30", "2021-05-24 20:00"),
        ("as written", A, "'2021-05-24T00:00:00.000Z'", "2021-05-24 13:30", "2021-05-24 20:00"),
        ("as written", COIN, "1621814400000", "2021-05-24 00:00", "2021-05-25 00:00"),
        ("dates", A, "'2021-05-24T23:59:00+00:00'", "2021-05-24 13:30", "2021-05-24 20:00"),
        ("dates", COIN, "'2021-05-24T12:00:00Z'", "2021-05-24 00:00", "2021-05-25 00:00"),
        ("opens", COIN, "date(2021, 5, 24)", "2021-05-24 00:00", "2021-05-25 00:00"),
        ("opens", A, "1621863000", "2021-05-24 13:30", "2021-05-24 20:00"),
        ("closes", A, "1621886400", "2021-05-24 13:30", "2021-05-24 20:00"),
        ("closes", COIN, "1621900799999", "2021-05-24 00:00", "2021-05-25 00:00"),
        ("closes", COIN, "1621900800000000", "2021-05-24 00:00", "2021-05-25 00:00"),
        ("closes", COIN, "date(2021, 5, 24)", "2021-05-24 00:00", "2021-05-25 00:00"),
        ("closes", "FX:EURUSD", "1621890000", "2021-05-23 21:00", "2021-05-24 21:00"),
    ],
)
def test_times_are_taken_as_the_source_means_them(
    world: World, mean: str, symbol: str, times: str, opens: str, closes: str
) -> None:
    world.write(
        f"""
        def tables(want):
            yield BarTable(
                {{"time": [{times}], "open": [1], "high": [1], "low": [1], "close": [1],
                 "volume": [1]}}
            )
        """,
        f", times={mean!r}",
    )
    result = world.fetch(symbol)
    assert result.exit_code == 0, result.output
    (row,) = world.rows()
    if mean != "as written" or symbol != A:
        assert f"{datetime.fromtimestamp(row['timestamp'], UTC):%Y-%m-%d %H:%M}" == opens
    assert f"{row['event_timestamp']:%Y-%m-%d %H:%M}" == closes


def test_a_bar_counts_as_closed_by_the_instant_before_the_request_and_the_sources_delay(
    world: World, at: Callable[[datetime], None]
) -> None:
    body = """
        def tables(want):
            yield bars(want)
    """
    at(datetime(2021, 6, 2, 0, 5, tzinfo=UTC))
    world.write(body, ", delay=600")
    assert world.fetch(COIN).exit_code == 0
    assert world.days(COIN)[-1] == "05-31"
    at(datetime(2021, 6, 2, 0, 10, tzinfo=UTC))
    assert world.fetch(COIN).exit_code == 0
    assert world.days(COIN)[-1] == "06-01"


def test_adjusted_prices_are_turned_back_by_the_splits_that_the_source_gives(
    world: World,
) -> None:
    """A split of 4:1 on May 27: before it shares cost four times as much, and fewer were traded."""
    world.write(
        """
        def tables(want):
            days = [date(2021, 5, d) for d in (24, 25, 26, 27, 28)]
            yield BarTable(
                {"date": days, "open": [10.0] * 5, "high": [11.0] * 5, "low": [9.0] * 5,
                 "close": [10.0] * 5, "volume": [400.0] * 5}
            )
            ratios = {"date": [days[3]], "ratio": ["4:1"]}
            yield SplitTable(ratios if want.symbol == "NASDAQ:AAPL" else {"date": [], "ratio": []})
        """,
        ", adjusted=True",
    )
    assert world.fetch(A, B).exit_code == 0
    of_a, of_b = ([row for row in world.rows() if row["symbol"] == each] for each in (A, B))
    assert [row["close"] for row in of_a] == [40, 40, 40, 10, 10]
    assert [row["volume"] for row in of_a] == [100, 100, 100, 400, 400]
    assert [row["split_ratio"] for row in of_a] == [1, 1, 1, 4, 1]
    assert [row["close"] for row in of_b] == [10] * 5
    assert {row["source"] for row in of_a} == {"fetch:mine"}
    assert {row["source"] for row in of_b} <= {"fetch:mine", "fetch:mine;adjusted"}


def test_a_leap_that_may_be_a_split_is_held_back_and_released_by_a_file_of_splits(
    world: World,
) -> None:
    world.write("""
        def tables(want):
            days = [date(2021, 5, d) for d in (24, 25, 26, 27, 28)]
            price = [40.0, 40.0, 10.0, 10.0, 10.0]
            yield BarTable(
                {"date": days, "open": price, "high": price, "low": price, "close": price,
                 "volume": [400.0] * 5}
            )
    """)
    result = world.fetch(A)
    assert result.exit_code == 3
    assert len(world.rows()) == 2
    lakehouse = Project.from_environment().lakehouse
    held = read_current(list_parts(lakehouse, HELD_BARS), HELD_BARS)
    assert set(held["source"].to_pylist()) == {"fetch:mine"}
    splits = world.folder / "splits.csv"
    splits.write_text(f"symbol,date,ratio\n{A},2021-05-26,4\n")
    assert world.run("import-bars", "--splits", str(splits)).exit_code == 0
    assert [row["split_ratio"] for row in world.rows()] == [1, 1, 4, 1, 1]
    assert {row["source"] for row in world.rows()} == {"fetch:mine"}


def test_a_stored_bar_of_a_file_stays_and_the_difference_is_counted(world: World) -> None:
    csv = world.folder / "prices.csv"
    # Not by one factor: a past that is scaled is refused as a whole.
    rows = [f"2021-05-{n},{COIN}{f',{12 + n % 3}' * 4},7\n" for n in range(24, 32)]
    csv.write_text("date,symbol,open,high,low,close,volume\n" + "".join(rows))
    assert world.run("import-bars", str(csv)).exit_code == 0
    world.write(GOOD)
    result = world.fetch(COIN)
    (run,) = json.loads(result.stdout.splitlines()[0])["imports"]
    assert run["findings"]["overruled"] == {"count": 8, "examples": [f"{COIN} 8"]}
    assert run["doubts"]["restatements"] == []
    of_day = {row["timestamp"]: row for row in world.rows()}
    row = of_day[int(datetime(2021, 5, 25, tzinfo=UTC).timestamp())]
    assert (row["close"], row["source"]) == (13, "import:prices.csv")
    # With a higher priority the source's bars replace those of files.
    world.write(GOOD, ", priority=101")
    assert world.fetch(COIN, words=("--from", "2021-05-01")).exit_code == 0
    assert {row["source"] for row in world.rows()} == {"fetch:mine"}


def test_a_secret_in_an_error_is_hidden(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVFEAST_VENDOR_KEY", "abcdef123456")
    world.write("""
        import os

        def tables(want):
            raise ValueError("401 for ?token=" + os.environ["TVFEAST_VENDOR_KEY"])
    """)
    result = world.fetch(COIN)
    assert result.exit_code == 4
    receipts = [path.read_text() for path in world.folder.rglob("*.json")]
    assert "abcdef123456" not in "".join([str(result.exception), result.output, *receipts])


def test_bars_that_a_fetch_brought_can_be_withdrawn_and_do_not_come_back(world: World) -> None:
    world.write(GOOD)
    assert world.fetch(COIN).exit_code == 0
    words = ("withdraw-bars", COIN, "2021-05-26", "--reason", "bad print")
    assert world.run(*words).exit_code == 0
    result = world.fetch(COIN)
    assert result.exit_code == 3
    assert json.loads(result.stdout.splitlines()[0])["refused"] == 1
    assert "05-26" not in world.days(COIN)


def test_a_fetch_that_was_killed_while_it_wrote_is_completed_by_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch, at: Callable[[datetime], None]
) -> None:
    """A restated past is half written: values leap between the dates until the rest is there."""
    import ingestion.bars.writing as writing

    world.write(GOOD)
    assert world.fetch(COIN, words=("--from", "2021-05-24")).exit_code == 0
    world.write("def tables(want):\n    yield bars(want, price=30.0)")
    monkeypatch.setattr(writing, "PARTS_AT_ONCE", 2)
    append, calls = writing.append_parts, iter(range(9))

    def killed(*arguments: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return append(*arguments)

    monkeypatch.setattr(writing, "append_parts", killed)
    words = ("--from", "2021-05-24", "--restate")
    assert world.fetch(COIN, words=words).exit_code == 1
    monkeypatch.setattr(writing, "append_parts", append)
    closes = [row["close"] for row in world.rows()]
    assert (closes.count(30), closes.count(10)) == (4, 5)
    (half,) = half_imports(Project.from_environment().lakehouse)
    assert str(half).startswith("fetch-bars, run")
    assert f"repeat it with the same --source and symbols: mine {COIN}" in str(half)
    at(NOW + timedelta(days=1))
    assert world.fetch(COIN, words=("--restate",)).exit_code == 0
    assert {row["close"] for row in world.rows()} == {30}
    assert not half_imports(Project.from_environment().lakehouse)


def test_everything_that_follows_works_on_fetched_bars(world: World) -> None:
    world.write(GOOD)
    assert world.fetch(COIN).exit_code == 0
    assert world.run("backfill", "--from", "2021-01-01", "--to", "2021-12-31").exit_code == 0
    assert world.run("verify").exit_code == 0
    assert world.run("verify", "--lookahead").exit_code == 0
    stories = json.loads(world.run("explain", COIN, "returns_1d", "--json").stdout)["stories"]
    assert stories[0]["versions"][0]["value"] == 0
    assert json.loads(world.run("status", "--json").stdout)["bars"]["markets"]
    assert world.run("compact", "--before", "2021-06-02").exit_code == 0
    assert {row["source"] for row in world.rows()} == {"fetch:mine"}


def test_what_a_source_prints_does_not_disturb_the_json(world: World) -> None:
    world.write("def tables(want):\n    print('page 1')\n    yield bars(want)")
    result = world.fetch(COIN)
    assert json.loads(result.stdout)["written"] == 9
    assert "page 1" in result.stderr


@pytest.mark.parametrize(
    ("frame", "days"),
    [
        # As data frames of several instruments come: two levels of names, a local midnight.
        (
            "pd.DataFrame({(n, 'AAPL'): [1.0, 1.1] for n in ('Open', 'High', 'Low', 'Close')}, "
            "index=pd.DatetimeIndex(['2021-05-24', '2021-05-25'], tz='America/New_York'))",
            ["05-24", "05-25"],
        ),
        (
            "pd.DataFrame({'t': [1621866600, None, 'soon'], 'o': 1.0, 'h': 1.0, 'l': 1.0, "
            "'c': 1.0})",
            ["05-24"],
        ),
        (
            "pd.DataFrame({'date': ['2021-05-24', '2021-05-25', '2021-05-26'], 'open': 1, "
            "'high': [1, float('inf'), 1], 'low': 1, 'close': [1, 1, 'n/a']})",
            ["05-24"],
        ),
    ],
)
def test_of_a_data_frame_the_good_rows_are_taken(world: World, frame: str, days: list[str]) -> None:
    world.write(
        "def tables(want):\n    import pandas as pd\n"
        f"    yield BarTable({frame}, symbol=want.symbol)"
    )
    result = world.fetch(A)
    assert result.exit_code in (0, 3), result.exception
    assert world.days(A) == days
    assert json.loads(result.stdout.splitlines()[0])["written"] == len(days)
