"""What stands before the colon: an exchange, its feed, another code of it, or nothing known."""

from __future__ import annotations

import pytest
from bars_tools import HEADER, Import, Rows, Write, day_of

from ingestion.bars.refusals import Reason
from ingestion.bars.vendor_symbols import Naming
from ingestion.base.errors import InputError
from ingestion.cli.bars import import_text

TRANSLATED = {
    # TradingView's delayed feeds
    "NASDAQ_DLY:AAPL": "NASDAQ:AAPL",
    "NYSE_DLY:BRK-B": "NYSE:BRK.B",
    "HKEX_DLY:0700": "HKEX:700",
    "TSX_DLY:SHOP": "TSX:SHOP",
    "CME_DL:ES1!": "CME:ES1!",
    "FX_IDC:EURUSD": "FX_IDC:EURUSD",
    # ISO 10383, and what American data come with
    "XNAS:AAPL": "NASDAQ:AAPL",
    "XNGS:AAPL": "NASDAQ:AAPL",
    "NMS:AAPL": "NASDAQ:AAPL",
    "NYQ:IBM": "NYSE:IBM",
    "ARCX:SPY": "AMEX:SPY",
    "PCX:SPY": "AMEX:SPY",
    "OTCMKTS:TCEHY": "OTC:TCEHY",
    "XLON:BP": "LSE:BP.",
    "XETRA:SAP": "XETR:SAP",
    "XPAR:MC": "EURONEXT:MC",
    "XTKS:7203": "TSE:7203",
    "XHKG:00700": "HKEX:700",
    "XSHG:600519": "SSE:600519",
    "XASX:BHP": "ASX:BHP",
}


@pytest.mark.parametrize(("name", "symbol"), TRANSLATED.items())
def test_another_code_of_an_exchange_is_tradingviews(name: str, symbol: str) -> None:
    assert Naming().unify(name).symbol == symbol
    assert Naming().unify(name.lower()).symbol == symbol


FEEDS = ["BATS", "BZX", "EDGX", "IEX", "ARCA", "ISLAND", "SMART", "SIP", "US", "USA"]


@pytest.mark.parametrize("feed", FEEDS)
def test_a_feed_lists_no_share(feed: str) -> None:
    named = Naming().unify(f"{feed}:MSFT")
    assert (named.symbol, named.reason) == (None, Reason.EXCHANGE)
    assert f"{feed}:MSFT" in named.problem
    assert "write NASDAQ:MSFT, NYSE:MSFT or AMEX:MSFT, or give --exchange" in named.problem
    assert Naming("NASDAQ").unify(f"{feed}:MSFT").symbol == "NASDAQ:MSFT"
    assert Naming(None, {f"{feed}:MSFT": "NASDAQ:MSFT"}).unify(f"{feed}:MSFT").symbol == (
        "NASDAQ:MSFT"
    )
    # Of another country's exchange it is not.
    assert Naming("TSE").unify(f"{feed}:MSFT").symbol is None


def test_symbols_of_a_feed_are_refused_and_the_others_kept(
    run: Import, write: Write, stored: Rows
) -> None:
    names = ("BATS:MSFT", "NASDAQ_DLY:AAPL", "NYSE:IBM")
    path = write("v.csv", HEADER + "".join(day_of(name, "2021-03-02") for name in names))
    result = run(path)
    assert [row["symbol"] for row in stored()] == ["NASDAQ:AAPL", "NYSE:IBM"]
    assert result.refused_by_reason == {Reason.EXCHANGE: 1}
    (refusal,) = result.refusals
    assert "write NASDAQ:MSFT" in refusal.detail
    with pytest.raises(InputError, match="BATS is where prices come from, not the exchange"):
        run(write("w.csv", HEADER + day_of("BATS:MSFT", "2021-03-02")))


UNKNOWN = {
    "NASDQ:AAPL": "NASDQ 1 (NASDQ:AAPL; NASDAQ:AAPL?)",
    "NASDAQGS:AAPL": "NASDAQGS 1 (NASDAQGS:AAPL; NASDAQ:AAPL?)",
    "BINANCEUSDM:BTCUSDT": "BINANCEUSDM 1 (BINANCEUSDM:BTCUSDT; BINANCEUS:BTCUSDT?)",
    "EURONEX:MC": "EURONEX 1 (EURONEX:MC; EURONEXT:MC?)",
    "KRAKE:BTCUSD": "KRAKE 1 (KRAKE:BTCUSD; KRAKEN:BTCUSD?)",
    "UPBIT:BTCKRW": "UPBIT 1 (UPBIT:BTCKRW)",
    "CME:ES1!": "CME 1 (CME:ES1!)",
    "MOEX:SBER": "MOEX 1 (MOEX:SBER)",
    "GETTEX:SAP": "GETTEX 1 (GETTEX:SAP)",
    "WHATEVER:X": "WHATEVER 1 (WHATEVER:X)",
}


def test_exchanges_that_are_not_known_are_named_in_one_line(
    run: Import, write: Write, stored: Rows
) -> None:
    names = [*UNKNOWN, "NYSE:IBM", "TVC:DXY", "OANDA:EURUSD", "BINANCE:BTCUSDT", "INDEX:BTCUSD"]
    lines = "".join(day_of(name, "2021-03-02") for name in names)
    result = run(write("v.csv", HEADER + lines + day_of("CME:NQ1!", "2021-03-02")))
    assert len(stored()) == len(names) + 1
    (finding,) = (each for each in result.findings if each.name == "unknown_exchanges")
    told = dict(UNKNOWN) | {"CME:ES1!": "CME 2 (CME:ES1!)"}
    assert finding.count == len(UNKNOWN)
    assert finding.examples == sorted(told.values())
    (line,) = (line for line in import_text(result).splitlines() if "not known" in line)
    assert "24 h after they open" in line
