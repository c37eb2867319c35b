"""The symbol in a file's name."""

from __future__ import annotations

from pathlib import Path

import pytest
from bars_tools import Import, Rows, Write

from ingestion.bars.file_names import name_in
from ingestion.base.errors import InputError

BARS = "date,open,high,low,close,volume\n2021-03-03,10,12,9,11,1000\n"


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("NASDAQ_AAPL_1d.parquet", "NASDAQ:AAPL"),
        ("NYSE_BRK.B_1D.parquet", "NYSE:BRK.B"),
        ("FX_IDC_EURUSD_1d.parquet", "FX_IDC:EURUSD"),
        ("FX_EURUSD_1d.parquet", "FX:EURUSD"),
        ("NOWHERE_A_B_1d.parquet", "NOWHERE:A_B"),
        ("BINANCE_BTCUSDT_1d.csv.gz", "BINANCE:BTCUSDT"),
        # TradingView's exports.
        ("NASDAQ_AAPL, 1D.csv", "NASDAQ:AAPL"),
        ("BINANCE_BTCUSDT, 1D_8a2f1.csv", "BINANCE:BTCUSDT"),
        ("FX_IDC_EURUSD, 1D (2).csv", "FX_IDC:EURUSD"),
        ("NYSE_BRK.B, 1D.csv", "NYSE:BRK.B"),
        ("BATS_TSLA, 1D.csv", "TSLA"),  # of a feed: the exchange has to be given
        ("NASDAQ_DLY_AAPL, 1D.csv", "NASDAQ:AAPL"),
        ("HKEX_DLY_700, 1D_8a2f1.csv", "HKEX:700"),
        ("aapl_us_d.csv", "aapl.us"),
        ("brk-b_us_d.csv", "brk-b.us"),
        ("7203_jp_d.csv", "7203.jp"),
        # Dumps of a pair by month or day.
        ("BTCUSDT-1d-2021-03.csv", "BTCUSDT"),
        ("BTCUSDT-1d-2021-03-02.csv", "BTCUSDT"),
        ("XBTUSD_1440.csv", "XBTUSD"),
        ("Binance_BTCUSDT_d.csv", "BINANCE:BTCUSDT"),
        ("BTC_USDT-1d.csv", "BTC_USDT"),
        ("BTC_USDT_1d.csv", "BTC_USDT"),
        # A ticker among words, and tickers that are words.
        ("AAPL.csv", "AAPL"),
        ("BRK.B.csv", "BRK.B"),
        ("BRK-B.csv", "BRK-B"),
        ("BTC-USD.csv", "BTC-USD"),
        ("^GSPC.csv", "^GSPC"),
        ("EURUSD=X.csv", "EURUSD=X"),
        ("aapl.us.txt", "aapl.us"),
        ("000001.SZ.csv", "000001.SZ"),
        ("7203.csv", "7203"),
        ("AAPL_daily.csv", "AAPL"),
        ("daily_AAPL.csv", "AAPL"),
        ("AAPL_data.csv", "AAPL"),
        ("AAPL Historical Data.csv", "AAPL"),
        ("AAPL (1).csv", "AAPL"),
        ("AAPL - Copy.csv", "AAPL"),
        ("AAPL_2015-01-01_2021-03-01.csv", "AAPL"),
        ("AAPL_20150101-20210301.csv", "AAPL"),
        ("AAPL-5y.csv", "AAPL"),
        ("stock_prices_AAPL_2021.csv", "AAPL"),
        ("Quote-Equity-RELIANCE-EQ-01-03-2021-to-31-03-2021.csv", "RELIANCE-EQ"),
        ("ALL.csv", "ALL"),
        ("D.csv", "D"),
        ("DAY.csv", "DAY"),
    ],
)
def test_a_file_name_names_its_symbol(name: str, symbol: str) -> None:
    assert name_in(Path(name)) == symbol


@pytest.mark.parametrize(
    "name",
    [
        *("bulk.csv", "BULK.csv", "prices.csv", "data.csv", "2021-03.csv", "export (1).csv"),
        *("2021.csv", "20210302.csv", "all_stocks.csv", "daily.csv", "ohlcv-1d.csv", "all.csv"),
        *("HistoricalData_1614695400123.csv", "stock_prices.csv", "02-03-2021.csv", "_.csv"),
        *("prices_2021.txt", "history-5y.csv", "Download Data.csv"),
    ],
)
def test_a_name_that_describes_no_symbol_says_what_to_do(
    name: str, run: Import, write: Write
) -> None:
    with pytest.raises(InputError, match=r"its name names none: name it after its symbol"):
        run(write(name, BARS), exchange="NASDAQ")


@pytest.mark.parametrize(
    ("name", "interval"),
    [
        ("NASDAQ_AAPL, 1W.csv", "1W"),
        ("NASDAQ_AAPL, 60.csv", "60"),
        ("BINANCE_BTCUSDT, 240_8a2f1.csv", "240"),
        ("BTCUSDT-1h-2021-03.csv", "1h"),
        ("AAPL_weekly.csv", "weekly"),
        ("XBTUSD_60.csv", "60"),
        ("EURUSD_M5.csv", "M5"),
        ("AAPL_1min.csv", "1min"),
    ],
)
def test_a_name_of_other_than_daily_bars_is_refused(name: str, interval: str) -> None:
    with pytest.raises(InputError, match=f"bars of {interval}, and only daily bars"):
        name_in(Path(name))


def test_months_of_one_pair_are_one_symbol(run: Import, write: Write, stored: Rows) -> None:
    line = "{},10,12,9,11,1000,{},1,1,1,1,0\n"
    files = [
        write(f"BTCUSDT-1d-2021-0{month}.csv", line.format(start, start + 86_399_999))
        for month, start in ((3, 1_614_643_200_000), (4, 1_617_321_600_000))
    ]
    result = run(*files, exchange="BINANCE")
    assert [row["symbol"] for row in stored()] == ["BINANCE:BTCUSDT"] * 2
    assert [counts.named for counts in result.files] == ["BINANCE:BTCUSDT"] * 2


def test_symbols_from_names_are_told_and_those_of_columns_are_not(
    run: Import, write: Write
) -> None:
    named = "date,symbol,open,high,low,close\n2021-03-03,NYSE:IBM,10,12,9,11\n"
    result = run(write("aapl.us.txt", BARS), write("bulk.csv", named), exchange="NASDAQ")
    assert [counts.named for counts in result.files] == ["NASDAQ:AAPL", None]
    (finding,) = [each for each in result.findings if each.name == "named_by_files"]
    assert finding.examples == ["NASDAQ:AAPL (aapl.us.txt)"]


def test_the_symbol_map_may_name_a_file(run: Import, write: Write, stored: Rows) -> None:
    mapping = write("map.csv", "prices,NYSE:IBM\n")
    run(write("prices.csv", BARS), symbol_map=mapping)
    assert [row["symbol"] for row in stored()] == ["NYSE:IBM"]
