"""Answers that fail, of every vendor: asked for again where that may help, and said in words."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from ingestion.bars import fetching
from ingestion.bars.fetching import Answer
from ingestion.base.loading import declared_in, load_file
from ingestion.catalog import BarRequest, BarSource
from ingestion.replay.exchanges import (
    Pair,
    ReplayBinance,
    ReplayCoinbase,
    ReplayKraken,
    ReplayOkx,
)
from ingestion.replay.tiingo import ReplayTiingo
from ingestion.replay.vendor import Fault, Vendor
from ingestion.replay.yahoo import ReplayYahoo, Series
from ingestion.sources import exchanges, http

SOURCES = Path(__file__).parents[2] / "feature_repo" / "sources"
NOON = datetime(2021, 4, 14, 12, tzinfo=UTC)
BARS = [(date(2021, 4, day), 10.0, 12.0, 9.0, 11.0, 100.0) for day in (8, 9, 12, 13)]
DAYS = [(date(2021, 4, 1) + timedelta(days=n), *BARS[0][1:]) for n in range(14)]
KEY = "7f3a9c41d5e86b20aa1479fe3bd26c58e0914b7d"

VENDORS: dict[str, tuple[str, Callable[[], Vendor]]] = {
    "yahoo": ("NASDAQ:AAPL", lambda: ReplayYahoo({"AAPL": Series(BARS)})),
    "tiingo": ("NASDAQ:AAPL", lambda: ReplayTiingo({"AAPL": Series(BARS)}, KEY)),
    "binance": ("BINANCE:BTCUSDT", lambda: ReplayBinance([Pair("BTC", "USDT", DAYS)])),
    "coinbase": ("COINBASE:BTCUSDT", lambda: ReplayCoinbase([Pair("BTC", "USDT", DAYS)])),
    "kraken": ("KRAKEN:BTCUSDT", lambda: ReplayKraken([Pair("BTC", "USDT", DAYS)])),
    "okx": ("OKX:BTCUSDT", lambda: ReplayOkx([Pair("BTC", "USDT", DAYS)])),
}
"""By bar source, a symbol that its vendor knows, and the vendor."""


@dataclass
class Asked:
    """A bar source beside its vendor."""

    source: BarSource
    symbol: str
    vendor: Vendor
    waits: list[float] = field(default_factory=list)
    """Seconds that were waited for."""

    def ask(self) -> Answer:
        want = BarRequest((self.symbol,), date(2021, 4, 8), date(2021, 4, 13))
        return fetching.ask(self.source, f"{self.source.name}.py, line 1", want)


@pytest.fixture(params=list(VENDORS))
def one(
    request: pytest.FixtureRequest,
    at: Callable[[datetime], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Asked]:
    at(NOON)
    monkeypatch.setattr(exchanges, "_OPEN", {})
    monkeypatch.setenv("TVFEAST_TIINGO_KEY", KEY)
    name = str(request.param)
    symbol, vendor = VENDORS[name]
    (source,) = (each for _, each in declared_in(load_file(SOURCES / f"{name}.py"), BarSource))
    with ExitStack() as stack:
        found = Asked(source, symbol, stack.enter_context(vendor()))
        monkeypatch.setattr("time.sleep", found.waits.append)
        monkeypatch.setenv(f"TVFEAST_{name.upper()}_URL", found.vendor.url)
        yield found


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("status", 429, "1"), Fault("status", 418, "2")],
        [Fault("status", 500), Fault("status", 502), Fault("status", 503)],
        [Fault("html"), Fault("empty")],
        [Fault("cut"), Fault("reset"), Fault("status", 408)],
    ],
    ids=lambda faults: "-".join(f"{each.kind}{each.status}" for each in faults),
)
def test_an_answer_that_fails_is_asked_for_again(one: Asked, faults: list[Fault]):
    right, asked = one.ask(), len(one.vendor.asked)
    assert right.problem is None
    assert right.tables
    exchanges._OPEN.clear()  # the markets are listed again
    one.vendor.faults.extend(faults)
    again = one.ask()
    assert again.problem is None
    assert [each.value for each in again.tables] == [each.value for each in right.tables]
    assert len(one.vendor.asked) == 2 * asked + len(faults)
    assert {float(each.retry_after) for each in faults if each.retry_after} <= set(one.waits)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("status", 503), "says to come again later: HTTP 503"),
        (Fault("html"), "an answer that is no JSON"),
        (Fault("cut"), ": it was cut off"),
        (Fault("reset"), ": Connection reset by peer"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_a_server_that_stays_down_is_left_after_four_questions_and_said_in_words(
    one: Asked, fault: Fault, says: str
):
    one.vendor.faults.extend([fault] * 4)
    answer = one.ask()
    assert (answer.is_down, answer.tables, len(one.vendor.asked)) == (True, (), 4)
    said = answer.problem or ""
    assert says in said
    assert not answer.is_unreached
    assert one.vendor.url.removeprefix("http://") in said
    assert ".py" not in said, "no fault of the source's file"
    assert one.ask().problem is None


def test_a_long_ban_is_not_waited_for(one: Asked):
    one.vendor.faults.append(Fault("status", 429, "86400"))
    answer = one.ask()
    assert (answer.is_down, answer.wait, len(one.vendor.asked)) == (True, 86_400, 1)
    assert "HTTP 429" in (answer.problem or "")
    assert max(one.waits, default=0) < 2


def test_a_server_that_is_not_there_is_said_with_its_address(
    one: Asked, monkeypatch: pytest.MonkeyPatch
):
    with socket.socket() as nobody:  # it has the port, and does not listen
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv(f"TVFEAST_{one.source.name.upper()}_URL", f"http://{address}")
        answer = one.ask()
    assert answer.problem == f"no answer from {address}: Connection refused"
    assert answer.is_unreached


@pytest.mark.parametrize("one", ["yahoo"], indirect=True)
def test_a_connection_that_is_not_made_in_time_is_said_as_such(
    one: Asked, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(http, "TIMEOUT", (0.1, 5.0))
    with socket.socket() as full, socket.socket() as waits:  # whose backlog has one place
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waits.connect(full.getsockname())
        address = f"127.0.0.1:{full.getsockname()[1]}"
        monkeypatch.setenv("TVFEAST_YAHOO_URL", f"http://{address}")
        answer = one.ask()
    assert answer.problem == f"no answer from {address}: it is not reached in time"
    assert answer.is_unreached


@pytest.mark.parametrize("one", ["yahoo"], indirect=True)
def test_an_answer_that_does_not_come_is_asked_for_again(
    one: Asked, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(http, "TIMEOUT", (5.0, 0.3))
    one.vendor.faults.append(Fault("slow", seconds=5.0))
    assert one.ask().problem is None
    one.vendor.faults.extend([Fault("slow", seconds=5.0)] * 4)
    assert str(one.ask().problem).endswith(": nothing came in time")
