"""However a vendor lays a file out, the same bars come from it, or it says what is wrong."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bars_tools import Import, Rows, Write, seconds

from ingestion.base.errors import InputError

CELLS = {"Open": 10.0, "High": 12.0, "Low": 9.0, "Close": 11.0, "Adj Close": 8.5, "Volume": 1000.0}
BAR = (10.0, 12.0, 9.0, 11.0, 1000.0)
LABELS = pd.DatetimeIndex(["2021-03-02", "2021-03-03"], name="Date")
OPENED = [seconds("2021-03-02 14:30"), seconds("2021-03-03 14:30")]
PLAIN = "Date,Open,High,Low,Close,Volume\n2021-03-02,10,12,9,11,1000\n2021-03-03,10,12,9,11,1000\n"


def values(row: dict[str, Any]) -> tuple[float, ...]:
    return tuple(row[name] for name in ("open", "high", "low", "close", "volume"))


def frame(*, by_ticker: bool) -> pd.DataFrame:
    """Two instruments side by side, of which the second has no bar on the first day."""
    pairs = [(price, ticker) for price in CELLS for ticker in ("AAPL", "MSFT")]
    pairs = sorted((ticker, price) for price, ticker in pairs) if by_ticker else pairs
    names = ["Ticker", "Price"] if by_ticker else ["Price", "Ticker"]
    columns = pd.MultiIndex.from_tuples(pairs, names=names)
    cells = [CELLS[next(name for name in pair if name in CELLS)] for pair in pairs]
    table = pd.DataFrame([cells, cells], index=LABELS, columns=columns)
    table.iloc[0, [at for at, pair in enumerate(pairs) if "MSFT" in pair]] = float("nan")
    return table


def one() -> pd.DataFrame:
    return pd.DataFrame([CELLS, CELLS], index=LABELS)


def flat(table: pd.DataFrame, mark: str) -> pd.DataFrame:
    return table.set_axis([mark.join(pair) for pair in table.columns], axis=1)


def unnamed(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename_axis([None, None], axis=1).rename_axis(None)


SIDE_BY_SIDE: dict[str, Callable[[pd.DataFrame], pd.DataFrame | str]] = {
    "to_csv": lambda table: table.to_csv(),
    "reset_index": lambda table: table.reset_index().to_csv(index=False),
    "unnamed": lambda table: unnamed(table).to_csv(),
    "flat": lambda table: flat(table, "_").to_csv(),
    "dotted": lambda table: flat(table, ".").to_csv(),
    "parquet": lambda table: table,
    "flat parquet": lambda table: flat(table, " "),
}


def written(path: Path, content: pd.DataFrame | str | bytes) -> Path:
    if isinstance(content, pd.DataFrame):
        path = path.with_suffix(".parquet")
        content.to_parquet(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("by_ticker", [True, False])
@pytest.mark.parametrize("form", SIDE_BY_SIDE)
def test_instruments_side_by_side_are_bars_of_each(
    form: str, by_ticker: bool, tmp_path: Path, run: Import, stored: Rows
) -> None:
    path = written(tmp_path / "many.csv", SIDE_BY_SIDE[form](frame(by_ticker=by_ticker)))
    result = run(path, exchange="NASDAQ")
    assert [(row["symbol"], row["timestamp"]) for row in stored()] == [
        ("NASDAQ:AAPL", OPENED[0]),
        ("NASDAQ:AAPL", OPENED[1]),
        ("NASDAQ:MSFT", OPENED[1]),
    ]
    assert {values(row) for row in stored()} == {BAR}
    # A day on which only the other was traded is no row.
    assert (result.read, result.accepted, result.refused) == (3, 3, 0)


NUMBERED = "1614643200{},10,12,9,11,1000{}\n1614729600{},10,12,9,11,1000{}\n"
ALONE: dict[str, pd.DataFrame | str | bytes] = {
    "a column without a name": one().rename_axis(None).to_csv(),
    "an index that was numbered": one().reset_index().to_csv(),
    "columns that have a name": one().rename_axis("Price", axis=1).to_csv(),
    "parquet": one(),
    "parquet without a name": one().rename_axis(None),
    "utf-16": PLAIN.encode("utf-16"),
    "utf-16-le": PLAIN.encode("utf-16-le"),
    "utf-16-be": PLAIN.encode("utf-16-be"),
    "utf-8-sig": PLAIN.encode("utf-8-sig"),
    "an old code page": PLAIN.replace("Date", "Datum")
    .replace("Open", "Eröffnung")
    .encode("latin-1"),
    "carriage returns": PLAIN.replace("\n", "\r"),
    "blank lines": PLAIN.replace("\n", "\n\n"),
    "semicolons": PLAIN.replace(",", ";"),
    "bars": PLAIN.replace(",", "|"),
    "tabs and brackets": (
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
        "2021.03.02\t00:00:00\t10\t12\t9\t11\t5\t1000\t1\n"
        "2021.03.03\t00:00:00\t10\t12\t9\t11\t5\t1000\t1\n"
    ),
    "sep=": "sep=;\n" + PLAIN.replace(",", ";"),
    "lines above": "https://www.example.com\n\nAll prices, in dollars\n" + PLAIN,
    "a note below": PLAIN + '"Downloaded from somebody as of 03-04-2021"\n',
    "the header again": PLAIN.replace("2021-03-03", "Date,Open,High,Low,Close,Volume\n2021-03-03"),
    "a name twice": "date,open,high,low,close,Volume,Plot,Plot,Volume\n"
    "2021-03-02,10,12,9,11,1000,1,2,1000.0\n2021-03-03,10,12,9,11,1000,1,2,\n",
    "newest first": "\n".join([PLAIN.splitlines()[0], *PLAIN.splitlines()[:0:-1], ""]),
    "no header": PLAIN.partition("\n")[2],
    "no header, date and time": "2021.03.02,00:00,10,12,9,11,1000\n"
    "2021.03.03,00:00,10,12,9,11,1000\n",
    "no header, a symbol": "AAPL,20210302,10,12,9,11,1000\nAAPL,20210303,10,12,9,11,1000\n",
}


@pytest.mark.parametrize("form", ALONE)
def test_one_instrument_is_read_however_it_is_laid_out(
    form: str, tmp_path: Path, run: Import, stored: Rows
) -> None:
    result = run(written(tmp_path / "AAPL.csv", ALONE[form]), exchange="NASDAQ")
    assert [(row["symbol"], row["timestamp"]) for row in stored()] == [
        ("NASDAQ:AAPL", opened) for opened in OPENED
    ]
    assert {values(row) for row in stored()} == {BAR}
    assert (result.read, result.refused) == (2, 0)


@pytest.mark.parametrize(
    "lines",
    [
        NUMBERED.format("", "", "", ""),
        NUMBERED.format("", ",17", "", ",17"),
        NUMBERED.format("000", ",1614729599999,5,5,5,5,0", "000", ",1614815999999,5,5,5,5,0"),
        NUMBERED.format(
            "000000", ",1614729599999999,5,5,5,5,0", "000000", ",1614815999999999,5,5,5,5,0"
        ),
        "https://a.dump\nunix,date,symbol,open,high,low,close,Volume BTC,Volume USD\n"
        "1614643200000,2021-03-02 00:00:00,BTC/USD,10,12,9,11,1000,9999\n"
        "1614729600,2021-03-03 00:00:00,BTC/USD,10,12,9,11,1000,9999\n",
    ],
    ids=["volume", "and trades", "and closing time", "in microseconds", "two volumes"],
)
def test_dumps_of_coin_venues_are_read(lines: str, run: Import, write: Write, stored: Rows) -> None:
    run(write("BTCUSD_1440.csv", lines), exchange="BITSTAMP")
    assert [(row["symbol"], row["timestamp"]) for row in stored()] == [
        ("BITSTAMP:BTCUSD", 1_614_643_200),
        ("BITSTAMP:BTCUSD", 1_614_729_600),
    ]
    assert {values(row) for row in stored()} == {BAR}


@pytest.mark.parametrize(
    "line",
    [
        "2021-03-02,10,12,9,11,10.5,1000",  # an adjusted close, or the volume's average
        "1614643200,10,12,9,11,10.7,1000,17",  # an average price before the volume
        "2021-03-02,9,12,10,11,1000",  # low, high, open, close
        "2021-03-02,10,11,12,9,1000",  # open, close, high, low
        "7,10,12,9,11,1000",
    ],
)
def test_a_dump_whose_columns_are_not_certain_asks_for_a_header(
    line: str, run: Import, write: Write
) -> None:
    with pytest.raises(InputError, match=r"has no header.*put a line such as date,open"):
        run(write("AAPL.csv", line + "\n"), exchange="NASDAQ")


@pytest.mark.parametrize(
    ("name", "content", "look"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "\n \n", "is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("a.csv", "date,open,high,low,close,volume", "has no rows"),
        ("a.csv", "<!DOCTYPE html><html>404</html>", "a web page"),
        ("a.csv", "  {}", "JSON"),
        ("a.csv", b"PK\x03\x04", r"\.xlsx"),
        ("a.csv", b"PAR1", r"name it \.parquet"),
        ("a.csv", b"\x1f\x8b\x08\x00", r"name it \.csv\.gz"),
        ("a.csv", "hello world\nhow are you\n", "it has hello world"),
    ],
)
def test_what_is_no_file_of_bars_is_told_by_its_look(
    name: str, content: str | bytes, look: str, tmp_path: Path, run: Import
) -> None:
    with pytest.raises(InputError, match=look):
        run(written(tmp_path / name, content), exchange="NASDAQ")


def test_numbers_below_names_that_are_not_known_are_no_dump(run: Import, write: Write) -> None:
    text = "Date,Adj Open,Adj High,Adj Low,Adj Close,Volume\n2021-03-02,10,12,9,11,1000\n"
    with pytest.raises(InputError, match="no column for open, high, low, close") as error:
        run(write("AAPL.csv", text), exchange="NASDAQ")
    assert str(error.value).count("close may be called") == 1


def test_columns_of_one_name_that_differ_are_named(run: Import, write: Write) -> None:
    lines = "2021-03-02,10,12,9,11,11.0\n2021-03-03,10,12,9,11,11.5\n"
    with pytest.raises(
        InputError, match=r"two columns 'Close' that differ, first in row 2 \(11, 11"
    ):
        run(write("A.csv", "Date,Open,High,Low,Close,Close\n" + lines), exchange="NASDAQ")


def test_a_bad_file_does_not_stop_the_others(
    tmp_path: Path, run: Import, write: Write, stored: Rows
) -> None:
    good = [write(f"A{n}.csv", PLAIN) for n in range(3)]
    bad = [write("empty.csv", ""), tmp_path / "missing.csv", write("prices.csv", PLAIN)]
    result = run(*good, *bad, exchange="NASDAQ")
    assert {row["symbol"] for row in stored()} == {"NASDAQ:A0", "NASDAQ:A1", "NASDAQ:A2"}
    assert list(result.refused_files) == [str(path) for path in bad]
    assert "is empty" in result.refused_files[str(bad[0])]
    assert [counts.problem is None for counts in result.files] == [True] * 3 + [False] * 3
    assert result.refusal == "3 of 6 files were refused; the others are written"


def test_few_refused_files_and_rows_are_no_failure(run: Import, write: Write) -> None:
    good = [write(f"A{n}.csv", PLAIN) for n in range(20)]
    assert run(*good, write("empty.csv", ""), exchange="NASDAQ").refusal is None
    bad_row = write("B.csv", PLAIN + "2021-03-04,0,0,0,0,0\n")
    assert run(bad_row, exchange="NASDAQ").refusal == (
        "1 of 3 rows were refused; the others are written"
    )


def test_names_without_an_exchange_cost_their_rows(run: Import, write: Write, stored: Rows) -> None:
    text = "date,symbol,open,high,low,close\n2021-03-02,NYSE:IBM,1,1,1,1\n2021-03-02,AAPL,1,1,1,1\n"
    result = run(write("mixed.csv", text))
    assert [row["symbol"] for row in stored()] == ["NYSE:IBM"]
    assert [(refusal.row, refusal.reason, refusal.detail) for refusal in result.refusals] == [
        (2, "no exchange for the ticker", "AAPL")
    ]
