"""Every vendor's form of a file leads to the same bar."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bars_tools import Import, Rows, Write, seconds, utc

from ingestion.base.errors import InputError

OPENED, CLOSED = "2021-03-03 14:30", "2021-03-03 21:00"
OHLCV = {"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 1000.0}

FORMS = {
    "plain": "date,symbol,open,high,low,close,volume\n2021-03-03,NASDAQ:X,10,12,9,11,1000\n",
    "yahoo": (
        "Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits,Ticker\n"
        "2021-03-03 00:00:00-05:00,10,12,9,11,8.5,1000,0.25,0.0,NASDAQ:X\n"
    ),
    "alpha_vantage": (
        "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient,symbol\n"
        "2021-03-03,10,12,9,11,8.5,1000,0.0,1.0,NASDAQ:X\n"
    ),
    "kaggle": "date,open,high,low,close,volume,Name\n2021-03-03,10,12,9,11,1000,NASDAQ:X\n",
    "open_time_ms": (
        "open_time,OPEN,HIGH,LOW,CLOSE,VOLUME,TICKER\n1614781800000,10,12,9,11,1000,NASDAQ:X\n"
    ),
    "unix_seconds": "time,open,high,low,close,Volume,symbol\n1614781800,10,12,9,11,1000,NASDAQ:X\n",
    "iso_instant": (
        "datetime,open,high,low,close,volume,symbol\n"
        "2021-03-03T14:30:00Z,10,12,9,11,1000,NASDAQ:X\n"
    ),
    "number_date": "date;symbol;open;high;low;close;volume\n20210303;NASDAQ:X;10;12;9;11;1000\n",
    "split_factor": (
        "\ufeffsymbol\tdate\topen\thigh\tlow\tclose\tvolume\tsplit factor\r\n"
        "NASDAQ:X\t2021-03-03\t10\t12\t9\t11\t1000\t1\r\n"
    ),
    "blanks_and_company": (
        "Date , Symbol , Name , Open , High , Low , Close , Volume\n"
        "2021-03-03 , nasdaq:x , The X Company , 10 , 12 , 9 , 11 , 1000\n"
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_vendors_csv_becomes_the_bar_of_its_session(
    form: str, run: Import, write: Write, stored: Rows
) -> None:
    result = run(write("vendor.csv", FORMS[form]))
    assert (result.read, result.accepted, result.written, result.refused) == (1, 1, 1, 0)
    (row,) = stored()
    assert row | OHLCV == row
    assert row["symbol"] == "NASDAQ:X"
    assert row["timestamp"] == seconds(OPENED)
    assert row["event_timestamp"] == utc(CLOSED)
    assert row["split_ratio"] == 1.0
    assert row["source"] == "import:vendor.csv"
    assert result.parts[0].path.parent.name == "date=2021-03-03"


@pytest.mark.parametrize(
    "times",
    [
        pa.array([seconds(OPENED)], pa.int64()),
        pa.array([float(seconds(OPENED))], pa.float64()),
        pa.array([seconds(OPENED) * 10**9], pa.timestamp("ns")),
        pa.array([seconds(OPENED) * 1000], pa.timestamp("ms", "America/New_York")),
        pa.array([seconds("2021-03-03")], pa.timestamp("s")),
        pa.array([seconds("2021-03-03") // 86_400], pa.int32()).cast(pa.date32()),
        pa.array(["2021-03-03"], pa.large_string()).dictionary_encode(),
    ],
    ids=str,
)
def test_parquet_times_of_any_type_are_read(
    times: Any, tmp_path: Path, run: Import, stored: Rows
) -> None:
    path = tmp_path / "long.parquet"
    numbers = {name: pa.array([int(value)], pa.int32()) for name, value in OHLCV.items()}
    names = pa.array(["NASDAQ:X"]).dictionary_encode()
    pq.write_table(pa.table({"symbol": names, "timestamp": times, **numbers}), path)
    run(path)
    (row,) = stored()
    assert row | OHLCV == row
    assert (row["timestamp"], row["event_timestamp"]) == (seconds(OPENED), utc(CLOSED))


def test_two_names_of_one_symbol_are_one_series(run: Import, stored: Rows, write: Write) -> None:
    lines = [
        *("2021-03-03,BRK-B,10,12,9,11,1000", "2021-03-04,BRK.B,11,13,10,12,1000"),
        *("2021-03-05,NYSE:BRK.B,12,14,11,13,1000", "2021-03-05 14:30,BRK.B.US,12,14,11,13,1000"),
    ]
    path = write("v.csv", "date,symbol,open,high,low,close,volume\n" + "\n".join(lines) + "\n")
    result = run(path, exchange="NYSE")
    assert (result.written, result.refused) == (3, 0)
    assert {row["symbol"] for row in stored()} == {"NYSE:BRK.B"}


@pytest.mark.parametrize("volume", [1000, None], ids=["volume", "no volume"])
@pytest.mark.parametrize("column", ["timestamp", "symbol"])
def test_instants_of_an_unknown_zone_are_an_input_error(
    column: str, volume: int | None, tmp_path: Path, run: Import
) -> None:
    path = tmp_path / "long.parquet"
    nowhere = pa.array([seconds(OPENED)] * 2, pa.timestamp("s", "Nowhere/Atlantis"))
    columns = {
        "symbol": pa.array(["NASDAQ:X", "NASDAQ:Y"]),
        "timestamp": pa.array([seconds(OPENED)] * 2),
        **{name: pa.array([value] * 2) for name, value in OHLCV.items()},
        # Of one symbol of the file there is a volume, so that it is looked at symbol by symbol.
        "volume": pa.array([1000, volume], pa.int64()),
    }
    pq.write_table(pa.table(columns | {column: nowhere}), path)
    what = "time" if column == "timestamp" else column
    with pytest.raises(InputError, match=f"long.parquet: a {what} cannot be read: .*Atlantis"):
        run(path)


def test_one_file_a_symbol_with_unix_seconds(tmp_path: Path, run: Import, stored: Rows) -> None:
    path = tmp_path / "NASDAQ_AAPL_1d.parquet"
    columns = {name: [value] for name, value in OHLCV.items()}
    pq.write_table(pa.table({"timestamp": [seconds(OPENED)], **columns}), path)
    run(path)
    assert [row["symbol"] for row in stored()] == ["NASDAQ:AAPL"]


def test_a_compressed_csv_is_read(tmp_path: Path, run: Import) -> None:
    path = tmp_path / "vendor.csv.gz"
    path.write_bytes(gzip.compress(FORMS["plain"].encode()))
    assert run(path).written == 1


def test_bare_tickers_take_the_given_exchange(run: Import, write: Write, stored: Rows) -> None:
    text = "date,open,high,low,close,volume\n2021-03-03,10,12,9,11,1000\n"
    run(write("aapl.csv", text), write("MSFT.csv", text), exchange="NASDAQ")
    assert [row["symbol"] for row in stored()] == ["NASDAQ:AAPL", "NASDAQ:MSFT"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("map.json", '{"X": "NYSE:X", "BRK-B": "NYSE:BRK.B"}'),
        ("map.csv", "vendor,symbol\nX,NYSE:X\nBRK-B,NYSE:BRK.B\n"),
        ("map.csv", "X,NYSE:X\nBRK-B,NYSE:BRK.B\n"),
    ],
)
def test_a_symbol_map_names_what_vendors_call_otherwise(
    name: str, text: str, run: Import, write: Write, stored: Rows
) -> None:
    lines = ("X", "BRK-B", "AAPL")
    bars = "".join(f"2021-03-03,{ticker},10,12,9,11,1000\n" for ticker in lines)
    path = write("bars.csv", f"date,symbol,open,high,low,close,volume\n{bars}")
    run(path, symbol_map=write(name, text), exchange="NASDAQ")
    assert [row["symbol"] for row in stored()] == ["NASDAQ:AAPL", "NYSE:BRK.B", "NYSE:X"]


@pytest.mark.parametrize("option", ["none", "map"])
def test_bare_tickers_of_no_exchange_are_an_error_that_names_them(
    option: str, run: Import, write: Write
) -> None:
    bars = "".join(f"2021-03-03,{ticker},10,12,9,11,1000\n" for ticker in ("MSFT", "AAPL"))
    path = write("bars.csv", f"date,symbol,open,high,low,close,volume\n{bars}")
    chosen = write("map.json", '{"X": "NYSE:X"}') if option == "map" else None
    with pytest.raises(InputError, match=r"no exchange for AAPL, MSFT: give --exchange") as error:
        run(path, symbol_map=chosen)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "date,open,high,low\n1,2,3,4\n", "no column for close"),
        ("a.csv", "date,open,Open,high,low,close\n2021-03-03,1,2,2,1,1\n", "two columns 'open'"),
        ("a.csv", "date,open,high,low,close\n", "no rows"),
        ("a.parquet", "PAR1", "cannot be read"),
        ("a.xlsx", "", "neither .csv nor .parquet"),
        ("a.json", "{}", "neither .csv nor .parquet"),
    ],
)
def test_a_file_that_holds_no_bars_says_so(
    name: str, text: str, message: str, run: Import, write: Write
) -> None:
    with pytest.raises(InputError, match=message):
        run(write(name, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [("m.json", "[1]"), ("m.json", "{"), ("m.json", '{"A": 1}'), ("m.csv", "A,NYSE:A\nB\n")],
)
def test_a_broken_symbol_map_is_an_error(name: str, text: str, run: Import, write: Write) -> None:
    with pytest.raises(InputError, match="m\\."):
        run(write("vendor.csv", FORMS["plain"]), symbol_map=write(name, text))


def test_a_missing_file_and_a_bad_exchange_are_errors(
    tmp_path: Path, run: Import, write: Write
) -> None:
    with pytest.raises(
        InputError, match=r"missing\.csv cannot be read: No such file or directory$"
    ):
        run(tmp_path / "missing.csv")
    with pytest.raises(InputError, match=r"is a folder: name its files, such as .*/\*\.csv"):
        run(tmp_path)
    with pytest.raises(InputError, match=r"NASDQ is not known \(did you mean NASDAQ\?\)"):
        run(write("vendor.csv", FORMS["plain"]), exchange="NASDQ")
    with pytest.raises(InputError, match="--exchange N Y"):
        run(write("vendor.csv", FORMS["plain"]), exchange="N Y")
    with pytest.raises(InputError, match="name files"):
        run()
