"""Wrong bars can be taken back: nothing is deleted, and they are there no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from bars_tools import HEADER, NOW, Import, Rows, Write, day_of, seconds, utc
from click.testing import CliRunner

from ingestion.bars.refusals import Reason
from ingestion.base.errors import InputError
from ingestion.catalog import OHLCV_1D
from ingestion.cli.entry import cli
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.ingest.withdraw import WithdrawRequest, withdraw_bars
from ingestion.lakehouse import append_part, arrow_schema, list_parts, read_file
from ingestion.project import Project

Store = Callable[..., None]
Key = tuple[str, str, float]


def keys(rows: list[dict[str, Any]]) -> list[Key]:
    """Symbol, close and closing price."""
    return [
        (row["symbol"], f"{row['event_timestamp']:%Y-%m-%d %H:%M}", row["close"]) for row in rows
    ]


def listed(lakehouse: Project) -> list[str]:
    return [
        fault.reason
        for fault in check_lakehouse(lakehouse).faults
        if "stored twice or in no session" in fault.reason
    ]


@pytest.fixture
def store(lakehouse: Project) -> Store:
    """Append a bar as an earlier version did: symbol, open, close, and its price."""

    def append(
        symbol: str,
        opened: str,
        closed: str,
        close: float,
        ratio: float = 1.0,
        created: str = "2021-04-01",
    ) -> None:
        row = {
            "timestamp": seconds(opened),
            "symbol": symbol,
            **{"open": close, "high": close + 1, "low": close - 1, "close": close},
            "volume": 100.0,
            "split_ratio": ratio,
            "event_timestamp": utc(closed),
            "created_timestamp": utc(created),
            "source": "import:old.csv",
        }
        table = pa.Table.from_pylist([row], schema=arrow_schema(OHLCV_1D))
        append_part(lakehouse.lakehouse, OHLCV_1D, table, "20210401T000000Z-0000000000")

    return append


@pytest.fixture
def spoiled(run: Import, write: Write, store: Store) -> list[Key]:
    """Good bars, and beside them bars of no session and of sessions that are stored already."""
    good = [
        *("NASDAQ:X", "2021-03-02", "2021-03-02 21:00"),
        *("NASDAQ:X", "2021-03-03", "2021-03-03 21:00"),
        *("OANDA:EURUSD", "2021-03-03", "2021-03-03 22:00"),
        *("NOWHERE:A", "2021-03-03", "2021-03-04 00:00"),
    ]
    triples = list(zip(good[::3], good[1::3], good[2::3], strict=True))
    run(write("good.csv", HEADER + "".join(day_of(name, day) for name, day, _ in triples)))
    store("NASDAQ:X", "2021-03-02", "2021-03-03 00:00", 11.0)  # beside the right one
    store("NASDAQ:X", "2021-03-05", "2021-03-06 00:00", 11.0)  # a session that has no right one
    store("NASDAQ:X", "2021-03-06", "2021-03-07 00:00", 11.0)  # a Saturday
    store("NASDAQ:X", "2021-03-03 21:00", "2021-03-04 21:00", 11.0)  # the close as a start
    return [(name, closed, 10.0) for name, _, closed in triples]


def test_what_verify_lists_can_be_withdrawn_and_nothing_is_left_to_list(
    lakehouse: Project, spoiled: list[Key], stored: Rows
) -> None:
    assert listed(lakehouse)
    before = {
        part.path: part.path.read_bytes() for part in list_parts(lakehouse.lakehouse, OHLCV_1D)
    }
    result = withdraw_bars(lakehouse, WithdrawRequest("closed a day late", listed=True))
    assert (result.bars, result.symbols, result.splits) == (4, 1, ())
    assert sorted(keys(stored())) == sorted(spoiled)
    assert check_lakehouse(lakehouse).faults == []
    assert all(path.read_bytes() == content for path, content in before.items())


def test_the_command_that_verify_prints_repairs(
    lakehouse: Project,
    spoiled: list[Key],
    stored: Rows,
    run: Import,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Take back, import the vendor's file again: each bar is in its session."""
    for name, value in (("PROJECT", lakehouse.folder), ("LAKEHOUSE", lakehouse.lakehouse_at)):
        monkeypatch.setenv(f"TVFEAST_{name}", str(value))
    command = listed(lakehouse)[0].partition("`tvfeast ")[2].partition("`")[0].split()
    words = ["a day late" if word == "TEXT" else word for word in command]
    told = CliRunner().invoke(cli, [*words, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["bars"] == 4
    result = run(write("old.csv", HEADER + day_of("NASDAQ:X", "2021-03-05T00:00:00Z", 11.0)))
    assert result.refused == 0
    assert sorted(keys(stored())) == sorted([*spoiled, ("NASDAQ:X", "2021-03-05 21:00", 11.0)])
    assert check_lakehouse(lakehouse).faults == []


@pytest.mark.parametrize(
    ("symbol", "opened", "closed"),
    [
        ("OANDA:EURUSD", "2021-03-03", "2021-03-04"),  # a dealer's day, cut at 00:00 UTC
        ("NOWHERE:A", "2021-03-03 14:30", "2021-03-04 14:30"),
        ("BINANCE:BTCUSDT", "2021-03-03 08:00", "2021-03-04 00:00"),  # another open
    ],
)
@pytest.mark.parametrize("created", ["2021-04-01", "2021-06-02"])
def test_of_two_bars_of_a_session_the_one_that_came_later_is_withdrawn(
    lakehouse: Project, run: Import, write: Write, store: Store, stored: Rows, created: str,
    symbol: str, opened: str, closed: str,
) -> None:  # fmt: skip
    run(write("label.csv", HEADER + day_of(symbol, "2021-03-03")))  # in June
    (imported,) = keys(stored())
    store(symbol, opened, closed, 10.5, created=created)
    assert len(stored()) == 2
    withdraw_bars(lakehouse, WithdrawRequest("twice", listed=True))
    earlier = (symbol, f"{utc(closed):%Y-%m-%d %H:%M}", 10.5) if "04" in created else imported
    assert keys(stored()) == [earlier]
    assert listed(lakehouse) == []


def test_a_bar_is_chosen_by_symbol_and_session(
    lakehouse: Project, run: Import, write: Write, stored: Rows
) -> None:
    days = ["2021-03-01", "2021-03-02", "2021-03-03", "2021-03-04"]
    lines = [day_of(symbol, day) for symbol in ("TSE:7203", "NYSE:X") for day in days]
    run(write("v.csv", HEADER + "".join(lines)))
    request = WithdrawRequest("bad print", symbol="TSE:7203", first=date(2021, 3, 2))
    withdraw_bars(lakehouse, request)
    assert len(stored()) == 7
    span = WithdrawRequest(
        "bad prints", symbol="NYSE:X", first=date(2021, 3, 1), last=date(2021, 3, 3)
    )
    result = withdraw_bars(lakehouse, span)
    assert result.bars == 3
    assert [day for name, day, _ in keys(stored()) if name == "NYSE:X"] == ["2021-03-04 21:00"]
    with pytest.raises(InputError, match="no bar of NYSE:X, session 2021-03-01 to 2021-03-03"):
        withdraw_bars(lakehouse, span)


def test_a_session_with_two_bars_asks_which(
    lakehouse: Project, spoiled: list[Key], stored: Rows
) -> None:
    request = WithdrawRequest("wrong", symbol="NASDAQ:X", first=date(2021, 3, 2))
    with pytest.raises(InputError, match=r"2 bars .* --close, one of 2021-03-02T21:00:00\+00:00, "):
        withdraw_bars(lakehouse, request)
    wrong = WithdrawRequest(
        "wrong", symbol="NASDAQ:X", first=date(2021, 3, 2), close=utc("2021-03-03")
    )
    withdraw_bars(lakehouse, wrong)
    assert ("NASDAQ:X", "2021-03-02 21:00", 10.0) in keys(stored())


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (WithdrawRequest(" ", listed=True), "--reason"),
        (WithdrawRequest("x"), "name SYMBOL and SESSION, or give --listed"),
        (WithdrawRequest("x", listed=True, symbol="NYSE:X"), "name SYMBOL and SESSION, or give"),
        (WithdrawRequest("x", listed=True, last=date(2021, 1, 1)), "--to and --close go with"),
        (WithdrawRequest("x", symbol="IBM", first=date(2021, 1, 1)), "IBM"),
        (WithdrawRequest("x", symbol="NYSE:X"), "name the SESSION"),
        (
            WithdrawRequest("x", symbol="NYSE:X", first=date(2021, 1, 2), last=date(2021, 1, 1)),
            "is after the last",
        ),
        (WithdrawRequest("x", listed=True), "lists no bar"),
        (WithdrawRequest("x", symbol="NYSE:X", first=date(2021, 1, 2)), "no bar of NYSE:X"),
    ],
)
def test_what_cannot_be_withdrawn_is_said(
    lakehouse: Project, request_: WithdrawRequest, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        withdraw_bars(lakehouse, request_)


def test_the_same_bar_is_refused_when_it_comes_again_and_another_one_is_taken(
    lakehouse: Project, run: Import, write: Write, stored: Rows
) -> None:
    wrong = write(
        "v.csv", HEADER + day_of("NYSE:X", "2021-03-02", 99.0) + day_of("NYSE:X", "2021-03-03")
    )
    run(write("first.csv", HEADER + day_of("NYSE:X", "2021-03-01")), wrong, max_return=100.0)
    withdraw_bars(
        lakehouse, WithdrawRequest("bad print;\n says Ann", symbol="NYSE:X", first=date(2021, 3, 2))
    )
    again = run(wrong, max_return=100.0)
    assert again.refused_by_reason == {Reason.WITHDRAWN: 1}
    (refusal,) = again.refusals
    assert "was withdrawn on 2021-06-01: bad print; says Ann" in refusal.detail
    assert [close for _, _, close in keys(stored())] == [10.0, 10.0]
    # The clock stands, so its version must still come after the withdrawal.
    right = run(write("right.csv", HEADER + day_of("NYSE:X", "2021-03-02", 10.5)))
    assert (right.written, right.refused) == (1, 0)
    assert [close for _, _, close in keys(stored())] == [10.0, 10.5, 10.0]
    assert check_lakehouse(lakehouse).faults == []


def test_compaction_keeps_a_withdrawal(
    lakehouse: Project, spoiled: list[Key], stored: Rows, at: Callable[[datetime], None]
) -> None:
    withdraw_bars(lakehouse, WithdrawRequest("late", listed=True))
    before = stored()
    assert compact(lakehouse).merged
    assert stored() == before
    assert check_lakehouse(lakehouse).faults == []


def versions(lakehouse: Project) -> list[dict[str, Any]]:
    parts = list_parts(lakehouse.lakehouse, OHLCV_1D)
    return [row for part in parts for row in read_file(part).to_pylist()]


def test_as_of_an_instant_before_the_withdrawal_the_bar_is_still_there(
    lakehouse: Project, run: Import, write: Write, at: Callable[[datetime], None]
) -> None:
    run(write("v.csv", HEADER + day_of("NYSE:X", "2021-03-02")))
    at(datetime(2021, 6, 2, tzinfo=UTC))
    withdraw_bars(lakehouse, WithdrawRequest("no", symbol="NYSE:X", first=date(2021, 3, 2)))
    first, second = sorted(versions(lakehouse), key=lambda row: row["created_timestamp"])
    assert (first["created_timestamp"], first["source"]) == (NOW, "import:v.csv")
    assert second["created_timestamp"] == datetime(2021, 6, 2, tzinfo=UTC)
    assert second["source"] == "withdrawn;no"
    same = set(first) - {"created_timestamp", "source"}
    assert {name: first[name] for name in same} == {name: second[name] for name in same}


def ratios(rows: list[dict[str, Any]]) -> list[float]:
    return [row["split_ratio"] for row in rows]


def test_a_split_that_only_a_withdrawn_bar_tells_takes_effect_at_the_next_one(
    lakehouse: Project, run: Import, write: Write, stored: Rows, at: Callable[[datetime], None]
) -> None:
    header = HEADER.strip() + ",split\n"
    lines = [("2021-03-01", 40.0, 1), ("2021-03-02", 10.0, 4), ("2021-03-03", 10.0, 1)]
    text = "".join(day_of("NYSE:X", day, close).strip() + f",{r}\n" for day, close, r in lines)
    run(write("v.csv", header + text))
    assert ratios(stored()) == [1, 4, 1]
    result = withdraw_bars(
        lakehouse, WithdrawRequest("halted", symbol="NYSE:X", first=date(2021, 3, 2))
    )
    assert ratios(stored()) == [1, 4]
    assert [split.ratio for split in result.splits] == [4]
    # The right bar of that session comes: the ratio is its own again.
    run(write("right.csv", HEADER + day_of("NYSE:X", "2021-03-02", 10.2)))
    assert ratios(stored()) == [1, 4, 1]
    assert check_lakehouse(lakehouse).faults == []


@pytest.mark.parametrize(("own", "after"), [(1.0, 1.1), (1.1, 1.1)])
def test_a_split_of_a_double_bar_is_that_of_the_session(
    run: Import, write: Write, store: Store, stored: Rows, lakehouse: Project, own: float,
    after: float,
) -> None:  # fmt: skip
    header = HEADER.strip() + ",split\n"
    lines = [("2021-03-01", 11.0, 1), ("2021-03-02", 10.0, own), ("2021-03-03", 10.0, 1)]
    for day, close, ratio in lines:
        bar = day_of("NYSE:X", day, close).strip()
        run(write(f"{day}.csv", f"{header}{bar},{ratio}\n"))
    store("NYSE:X", "2021-03-02", "2021-03-03 00:00", 10.0, 1.1)
    withdraw_bars(lakehouse, WithdrawRequest("double", listed=True))
    assert ratios(stored()) == [1, after, 1]
    assert [close for *_, close in keys(stored())] == [11, 10, 10]
