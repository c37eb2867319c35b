"""What vendors call columns and instruments, and what stands for a price or a volume."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from bars_tools import HEADER, Import, Rows, Write, day_of, seconds, utc

from ingestion.bars.refusals import Reason
from ingestion.bars.vendor_symbols import looks_foreign, unified
from ingestion.base.errors import InputError
from ingestion.catalog import SYMBOLS
from ingestion.cli.bars import import_text
from ingestion.lakehouse import append_part, arrow_schema
from ingestion.project import Project
from ingestion.runs.run import new_run_id

BAR = (10.0, 12.0, 9.0, 11.0, 1000.0)
DAY = "2021-03-02"

FORMS = {
    "alpha vantage": ("date,1. open,2. high,3. low,4. close,5. volume", f"{DAY},10,12,9,11,1000"),
    "alpha vantage coins": (
        "timestamp,1a. open (USD),2a. high (USD),3a. low (USD),4a. close (USD),5. volume",
        f"{DAY},10,12,9,11,1000",
    ),
    "barchart": ("Time,Open,High,Low,Last,Change,Volume", f"{DAY},10,12,9,11,1,1000"),
    "barchart now": (
        "Time,Open,High,Low,Latest,Change,%Change,Volume",
        f"{DAY},10,12,9,11,1,1%,1000",
    ),
    "bhavcopy": (
        "SYMBOL,SERIES,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,TOTTRDQTY,TOTTRDVAL,TIMESTAMP,TOTALTRADES",
        "X,EQ,10,12,9,11,11.5,8,1000,5,02-MAR-2021,7",
    ),
    "bhavcopy in full": (
        "SYMBOL, SERIES, DATE1, PREV_CLOSE, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, LAST_PRICE, "
        "CLOSE_PRICE, AVG_PRICE, TTL_TRD_QNTY",
        "X, EQ, 02-Mar-2021, 8, 10, 12, 9, 11.5, 11, 10.5, 1000",
    ),
    "udiff": (
        "TradDt,BizDt,TckrSymb,SctySrs,OpnPric,HghPric,LwPric,ClsPric,LastPric,PrvsClsgPric,TtlTradgVol",
        f"{DAY},{DAY},X,EQ,10,12,9,11,11.5,8,1000",
    ),
    "bloomberg": ("Dates,PX_OPEN,PX_HIGH,PX_LOW,PX_LAST,PX_VOLUME", f"{DAY},10,12,9,11,1000"),
    "crsp": ("PERMNO,date,TICKER,BIDLO,ASKHI,PRC,VOL,OPENPRC", "10107,02MAR2021,X,9,12,11,1000,10"),
    "eodhd": (
        "Date,Open,High,Low,Close,Adjusted_close,Volume",
        f"{DAY},10,12,9,11,8.5,1000",
    ),
    "investing": ("Date,Price,Open,High,Low,Vol.,Change %", '"Mar 02, 2021",11,10,12,9,1K,0.5%'),
    "investing in Portuguese": (
        "Data,Último,Abertura,Máxima,Mínima,Vol.,Var%",
        '15.03.2021,"11,0","10,0","12,0","9,0",1K,"0,5%"',
    ),
    "lseg": ("Date,Price Open,Price High,Price Low,Price Close,Volume", f"{DAY},10,12,9,11,1000"),
    "nasdaq": ("Date,Close/Last,Volume,Open,High,Low", '03/15/2021,$11,"1,000",$10,$12,$9'),
    "norgate": ("Date,Open,High,Low,Close,Volume,Turnover", f"{DAY},10,12,9,11,1000,5"),
    "polygon": (
        "ticker,volume,open,close,high,low,window_start,transactions",
        "X,1000,10,11,12,9,1614695400000000000,7",
    ),
    "polygon by rest": ("T,v,vw,o,c,h,l,t,n", "X,1000,10.5,10,11,12,9,1614695400000,7"),
    "price suffix": (
        "Start Date,Open Price,High Price,Low Price,Close Price,Volume",
        f"{DAY},10,12,9,11,1000",
    ),
    "quantmod": (
        "Date,X.Open,X.High,X.Low,X.Close,X.Volume,X.Adjusted",
        f"{DAY},10,12,9,11,1000,8",
    ),
    "sharadar": (
        "ticker,date,open,high,low,close,volume,closeadj,closeunadj,lastupdated",
        f"X,{DAY},2.5,3,2.25,2.75,4000,2.5,11,2021-05-01",
    ),
    "stooq": (
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        "X.US,D,20210302,000000,10,12,9,11,1000,0",
    ),
    "tiingo": (
        "date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,splitFactor",
        f"{DAY},11,12,9,10,1000,8,9,7,8,1000,0.0,1.0",
    ),
    "tradingview": ("time,open,high,low,close,Volume,Volume MA", "1614695400,10,12,9,11,1000,900"),
    "tushare": (
        "trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount",
        "20210302,10,12,9,11,8,1,1,1000,5",
    ),
    "akshare": ("日期,开盘,收盘,最高,最低,成交量,成交额", f"{DAY},10,11,12,9,1000,5"),
    "Chinese with units": (
        "日期,开盘价(元),最高价(元),最低价(元),收盘价(元),成交量(股)",
        f"{DAY},10,12,9,11,1000",
    ),
    "Japanese": ("日付,始値,高値,安値,終値,出来高", "2021年3月2日,10,12,9,11,1000"),
    "Korean": ("날짜,시가,고가,저가,종가,거래량", f"{DAY},10,12,9,11,1000"),
    "German": ("Datum;Eröffnung;Hoch;Tief;Schluss;Volumen", "15.03.2021;10,0;12,0;9,0;11,0;1.000"),
    "wiki": (
        "ticker,date,open,high,low,close,volume,ex-dividend,split_ratio,adj_open,adj_close",
        f"X,{DAY},10,12,9,11,1000,0.0,1.0,5,5.5",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_vendors_names_are_known(form: str, run: Import, write: Write, stored: Rows) -> None:
    run(write("X.csv", "\n".join([*FORMS[form], ""])), exchange="NASDAQ")
    (row,) = stored()
    assert row["symbol"] == "NASDAQ:X"
    assert tuple(row[name] for name in ("open", "high", "low", "close", "volume")) == BAR
    later = any(text in FORMS[form][1] for text in ("15.03.2021", "03/15/2021"))
    assert row["event_timestamp"] == utc("2021-03-15 20:00" if later else "2021-03-02 21:00")


@pytest.mark.parametrize(
    "header",
    [
        "date,open,high,low,adj_close,volume",
        "date,open,high,low,vwap,volume",
        "date,open,high,low,prev_close,volume",
        "date,open,high,low,average,volume",
        "date,bid_open,bid_high,bid_low,bid_close,volume",
        "date,adj_open,adj_high,adj_low,adj_close,volume",
    ],
)
def test_what_is_no_price_as_traded_is_not_taken_for_one(
    header: str, run: Import, write: Write
) -> None:
    with pytest.raises(InputError, match="has no column for"):
        run(write("X.csv", f"{header}\n{DAY},10,12,9,11,1000\n"), exchange="NASDAQ")


def test_an_unadjusted_close_turns_its_row_back(run: Import, write: Write, stored: Rows) -> None:
    lines = f"{DAY},10,12,9,11,1000,44\n2021-03-03,10,12,9,11,1000,\n"
    path = write("X.csv", "date,open,high,low,close,volume,closeunadj\n" + lines)
    result = run(path, exchange="NYSE")
    (row,) = stored()
    assert tuple(row[n] for n in ("open", "high", "low", "close", "volume")) == (
        40,
        48,
        36,
        44,
        250,
    )
    assert result.refused_by_reason == {Reason.NUMBER: 1}
    with pytest.raises(InputError, match="import it without --adjusted"):
        run(path, exchange="NYSE", adjusted=True)


@pytest.mark.parametrize("column", [None, "", "-", "null", "NaN"])
def test_an_instrument_without_volume_has_none(
    column: str | None, run: Import, write: Write, stored: Rows
) -> None:
    header = "date,open,high,low,close" + ("" if column is None else ",volume")
    cell = "" if column is None else f",{column}"
    lines = "".join(f"2021-03-0{day},10,12,9,11{cell}\n" for day in (2, 3))
    result = run(write("SPX.csv", f"{header}\n{lines}"), exchange="NYSE")
    assert [row["volume"] for row in stored()] == [0.0, 0.0]
    (finding,) = [each for each in result.findings if each.name == "without_volume"]
    assert finding.count == 2


def test_an_empty_volume_beside_full_ones_is_refused(run: Import, write: Write) -> None:
    lines = f"{DAY},10,12,9,11,\n2021-03-03,10,12,9,11,5\n"
    result = run(write("X.csv", "date,open,high,low,close,volume\n" + lines), exchange="NYSE")
    assert result.refused_by_reason == {Reason.VOLUME: 1}
    assert not [each for each in result.findings if each.name == "without_volume"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_symbol_without_volume_beside_others_has_none(
    kind: str, run: Import, write: Write, stored: Rows, tmp_path: Path
) -> None:
    cells = {"NYSE:A": ("5", "6"), "TVC:US10Y": ("", ""), "NYSE:B": ("7", "")}
    lines = [
        f"2021-03-0{day},{symbol},10,12,9,11,{volumes[day - 2]}"
        for day in (2, 3)
        for symbol, volumes in cells.items()
    ]
    path = write("long.csv", "\n".join(["date,symbol,open,high,low,close,volume", *lines]))
    if kind == "parquet":
        table = pacsv.read_csv(path)
        path = tmp_path / "long.parquet"
        pq.write_table(table, path)
    result = run(path)
    volumes = [(row["symbol"], row["volume"]) for row in stored()]
    assert sorted(volumes) == [
        ("NYSE:A", 5.0),
        ("NYSE:A", 6.0),
        ("NYSE:B", 7.0),
        ("TVC:US10Y", 0.0),
        ("TVC:US10Y", 0.0),
    ]
    assert result.refused_by_reason == {Reason.VOLUME: 1}
    (finding,) = [each for each in result.findings if each.name == "without_volume"]
    assert finding.count == 2


def test_the_first_refused_row_of_each_reason_is_shown(run: Import, write: Write) -> None:
    lines = "2021-03-05,1,1,1,1\n2021-03-06,1,1,1,1\n2021-03-08,-0.2,0.1,-0.3,-0.1\n"
    path = write("US10Y.csv", "date,open,high,low,close\n" + lines)
    told = import_text(run(path, exchange="NYSE")).splitlines()
    at = told.index("  refused 1: no session on that date")
    assert told[at + 1] == (
        f"    the first: {path}, row 2: NYSE:US10Y, 2021-03-06: NYSE has no session on Saturday "
        "2021-03-06; if it traded, write it to sessions.csv"
    )
    (price,) = [line for line in told if line.startswith("  refused 1: price")]
    assert "yields and spreads at or below 0 are not stored" in price


def test_bars_that_were_released_are_told_with_their_parts(run: Import, write: Write) -> None:
    days = [f"2021-03-{day:02}" for day in (1, 2, 3, 4, 5, 8, 9)]
    lines = "".join(day_of("NYSE:A", day, 100 if day < "2021-03-05" else 25) for day in days)
    held = run(write("a.csv", HEADER + lines))
    assert held.held == 3
    assert import_text(held).splitlines()[0] == (
        "7 rows read: 4 written in 4 parts, 0 there already, 0 refused, 3 held back; 1 symbol"
    )
    released = run(splits=write("s.csv", "symbol,date,ratio\nNYSE:A,2021-03-05,4\n"))
    text = import_text(released)
    assert "3 bars that were held back are stored now in 3 parts" in text
    assert "0 written in" not in text


def test_auction_prices_widen_the_range_where_asked(
    run: Import, write: Write, stored: Rows
) -> None:
    lines = f"{DAY},10,12,9,12.5,5\n2021-03-03,8.5,12,9,11,5\n2021-03-04,10,12,9,11,5\n"
    path = write("VOD.csv", "date,open,high,low,close,volume\n" + lines + "2021-03-05,10,,9,11,5\n")
    refused = run(path, exchange="LSE").refused_by_reason
    assert refused == {Reason.OHLC: 2, Reason.NUMBER: 1}
    result = run(path, exchange="LSE", widen_range=True)
    assert [(row["high"], row["low"]) for row in stored()] == [(12.5, 9), (12, 8.5), (12, 9)]
    (finding,) = [each for each in result.findings if each.name == "widened"]
    assert finding.count == 2
    assert result.refused_by_reason == {Reason.NUMBER: 1}


@pytest.mark.parametrize(
    ("header", "cells", "ratio"),
    [
        ("symbol,date,ratio", "4-for-1", 4),
        ("symbol,date,ratio", "4 for 1", 4),
        ("symbol,date,ratio", "4 FOR 1", 4),
        ("symbol,date,split", "4:1", 4),
        ("symbol,date,split", "4 / 1", 4),
        ("symbol,date,split", "4.000000/1.000000", 4),
        ("symbol,ex_date,split", "1-for-10", 0.1),
        ("symbol,ex_date,split", "3:2", 1.5),
        ("execution_date,symbol,split_from,split_to", "1,4", 4),
        ("symbol,date,numerator,denominator", "4,1", 4),
        ("symbol,date,before,after", "10,1", 0.1),
        ("symbol,date,old_shares,new_shares", "2,3", 1.5),
    ],
)
def test_splits_are_read_as_they_are_written(
    header: str, cells: str, ratio: float, run: Import, write: Write, stored: Rows
) -> None:
    bars = write("NYSE_X_1d.csv", f"date,open,high,low,close,volume\n{DAY},10,12,9,11,1000\n")
    first = f"{DAY},NYSE:X" if header.startswith("execution") else f"NYSE:X,{DAY}"
    run(bars, splits=write("splits.csv", f"{header}\n{first},{cells}\n"))
    assert [row["split_ratio"] for row in stored()] == [pytest.approx(ratio, rel=1e-15)]


@pytest.mark.parametrize("cell", ["four for one", "4-1", "4:0", "0 for 1", "for", ""])
def test_what_is_no_ratio_is_refused(cell: str, run: Import, write: Write) -> None:
    with pytest.raises(InputError, match=Reason.SPLIT):
        run(splits=write("splits.csv", f"symbol,date,ratio\nNYSE:X,{DAY},{cell}\n"))


@pytest.mark.parametrize(
    ("name", "exchange", "symbol"),
    [
        ("NASDAQ:AAPL", None, "NASDAQ:AAPL"),
        ("AAPL", "NASDAQ", "NASDAQ:AAPL"),
        ("AAPL", None, "AAPL"),
        # Pairs of coins and currencies.
        ("BTC/USDT", "BINANCE", "BINANCE:BTCUSDT"),
        ("BTC-USDT", "BINANCE", "BINANCE:BTCUSDT"),
        ("BTC_USDT", "BINANCE", "BINANCE:BTCUSDT"),
        ("BTC/USDT:USDT", "BINANCE", "BINANCE:BTCUSDT.P"),
        ("BINANCE:BTC/USDT", None, "BINANCE:BTCUSDT"),
        ("EUR/USD", "OANDA", "OANDA:EURUSD"),
        ("EURUSD=X", "FX_IDC", "FX_IDC:EURUSD"),
        # American shares.
        ("AAPL.US", "NASDAQ", "NASDAQ:AAPL"),
        ("AAPL:US", "NASDAQ", "NASDAQ:AAPL"),
        ("BRK-B.US", "NYSE", "NYSE:BRK.B"),
        ("BRK-B", "NYSE", "NYSE:BRK.B"),
        ("BRK/B", "NYSE", "NYSE:BRK.B"),
        ("BRK.B", "NYSE", "NYSE:BRK.B"),
        ("BRK/B US EQUITY", "NYSE", "NYSE:BRK.B"),
        ("BAC-PB", "NYSE", "NYSE:BAC/PB"),
        ("AAPL.OQ", None, "NASDAQ:AAPL"),
        ("WIKI/AAPL", "NASDAQ", "NASDAQ:AAPL"),
        # A suffix, a prefix or a country that says the exchange.
        ("0700.HK", None, "HKEX:700"),
        ("0700.HK", "NASDAQ", "HKEX:700"),
        ("00700", "HKEX", "HKEX:700"),
        ("700 HK EQUITY", None, "HKEX:700"),
        ("7203.T", None, "TSE:7203"),
        ("7203.T", "NASDAQ", "TSE:7203"),
        ("7203.0", "TSE", "TSE:7203"),
        ("72030", "TSE", "TSE:7203"),
        ("TYO:7203", None, "TSE:7203"),
        ("600519.SH", None, "SSE:600519"),
        ("600519.SS", None, "SSE:600519"),
        ("SH600519", None, "SSE:600519"),
        ("SH.600519", None, "SSE:600519"),
        ("000001.SZ", None, "SZSE:000001"),
        ("000001.XSHE", None, "SZSE:000001"),
        ("1", "SZSE", "SZSE:000001"),
        ("5930", "KRX", "KRX:005930"),
        ("005930.KS", None, "KRX:005930"),
        ("RELIANCE.NS", None, "NSE:RELIANCE"),
        ("RELIANCE-EQ", "NSE", "NSE:RELIANCE"),
        ("BAJAJ-AUTO.NS", None, "NSE:BAJAJ_AUTO"),
        ("500325.BO", None, "BSE:500325"),
        ("VOD.L", None, "LSE:VOD"),
        ("VOD.UK", None, "LSE:VOD"),
        ("7203.JP", None, "TSE:7203"),
        ("BP.L", None, "LSE:BP."),
        ("BT-A.L", None, "LSE:BT.A"),
        ("SAP.DE", None, "XETR:SAP"),
        ("NOVO-B.CO", None, "OMXCOP:NOVO_B"),
        ("BBD-B.TO", None, "TSX:BBD.B"),
        # Not certain, so it is left as it is: a class of shares, or London.
        ("VOD.L", "NYSE", "NYSE:VOD.L"),
        ("^GSPC", "NYSE", "NYSE:^GSPC"),
        ("X.QQ", "NYSE", "NYSE:X.QQ"),
    ],
)
def test_a_vendors_symbol_is_translated_where_it_is_certain(
    name: str, exchange: str | None, symbol: str
) -> None:
    assert unified(name, exchange) == symbol
    bare = ":" not in symbol
    assert bare or unified(symbol, exchange) == symbol


@pytest.mark.parametrize(
    "symbol",
    [
        *(
            "NASDAQ:AAPL",
            "NYSE:BRK.B",
            "NYSE:BAC/PB",
            "HKEX:700",
            "TSE:7203",
            "TSE:130A",
            "NSE:M&M",
        ),
        *(
            "NSE:BAJAJ_AUTO",
            "LSE:BP.",
            "LSE:BT.A",
            "BINANCE:BTCUSDT.P",
            "FX:EURUSD",
            "OMXSTO:VOLV_B",
        ),
        *("CME:ES1!", "SP:SPX", "KRX:005930", "TSX:REI.UN"),
    ],
)
def test_tradingviews_own_symbols_do_not_look_foreign(symbol: str) -> None:
    assert not looks_foreign(symbol)


def test_foreign_symbols_are_kept_and_told(run: Import, write: Write, stored: Rows) -> None:
    names = ("AAPL", "^GSPC", "BRK.B", "EURUSD=X", "NASDAQ")
    lines = "".join(f"{name},{DAY},10,12,9,11,1000\n" for name in names)
    path = write("bars.csv", "symbol,date,open,high,low,close,volume\n" + lines)
    result = run(path, exchange="NYSE")
    assert len(stored()) == len(names)
    (finding,) = [each for each in result.findings if each.name == "foreign_symbols"]
    assert finding.examples == ["NYSE:EURUSD=X", "NYSE:NASDAQ", "NYSE:^GSPC"]


def test_a_missing_column_is_said_once_with_what_there_is(run: Import, write: Write) -> None:
    with pytest.raises(InputError, match=r"no column for time, close; it has open, high, low") as e:
        run(write("X.csv", "open,high,low\n1,2,1\n"), exchange="NYSE")
    assert str(e.value).count("it has") == 1


def test_the_open_of_an_instant_is_kept(run: Import, write: Write, stored: Rows) -> None:
    run(write("X.csv", "\n".join([*FORMS["tradingview"], ""])), exchange="NASDAQ")
    assert stored()[0]["timestamp"] == seconds("2021-03-02 14:30")


def test_a_symbol_that_the_scanner_named_is_not_told(
    lakehouse: Project, run: Import, write: Write
) -> None:
    known = dict.fromkeys(arrow_schema(SYMBOLS).names) | {
        "symbol": "NYSE:^GSPC",
        "active": True,
        "valid_from": utc("2021-01-01"),
    }
    rows = pa.Table.from_pylist([known]).cast(arrow_schema(SYMBOLS))
    append_part(lakehouse.lakehouse, SYMBOLS, rows, new_run_id())
    lines = "".join(f"{name},{DAY},10,12,9,11\n" for name in ("^GSPC", "^DJI"))
    result = run(write("x.csv", "symbol,date,open,high,low,close\n" + lines), exchange="NYSE")
    (finding,) = [each for each in result.findings if each.name == "foreign_symbols"]
    assert finding.examples == ["NYSE:^DJI"]
