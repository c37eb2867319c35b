"""A file that takes its symbol from its name is of one instrument, or it is refused."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from bars_tools import Import, Rows, Write

from ingestion.base.errors import InputError

DAYS = [
    day
    for n in range(40)
    if (day := date(2021, 3, 1) + timedelta(n)).weekday() < 5 and day != date(2021, 4, 2)
]


def bars_of(
    names: list[str], column: str, *, overlap: bool = True, newest_first: bool = False
) -> str:
    """Bars of some instruments, one after the other, whose names are in a column."""
    share = len(DAYS) // len(names)
    lines = []
    for n, name in enumerate(names):
        days = DAYS if overlap else DAYS[n * share : (n + 1) * share]
        price = 10 + n
        for at, day in enumerate(days):
            lines.append(f"{day},{price},{price + 2},{price - 1},{price + 1},{1000 + at},{name}")
    lines = lines[::-1] if newest_first else lines
    return "\n".join([f"Date,Open,High,Low,Close,Volume,{column}", *lines, ""])


@pytest.mark.parametrize(
    "names",
    [
        ["AAPL", "MSFT"],
        ["aapl", "msft", "ibm"],
        ["Apple Inc.", "Microsoft Corp"],
        ["1301", "7203"],
        ["005930", "000660"],
        ["10107", "14593", "93436"],
    ],
    ids=",".join,
)
@pytest.mark.parametrize("column", ["Foo", "Company Name", "gvkey", ""])
@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("newest_first", [True, False])
def test_an_unknown_column_that_varies_as_symbols_do_is_named(
    names: list[str], column: str, overlap: bool, newest_first: bool, run: Import, write: Write
) -> None:
    text = bars_of(names, column, overlap=overlap, newest_first=newest_first)
    with pytest.raises(InputError, match="varies as the symbols") as error:
        run(write("AAPL.csv", text), exchange="NASDAQ")
    assert repr(column or 7) in str(error.value)


@pytest.mark.parametrize("day", ["2021-03-02", "2021-03-03"])
def test_two_rows_of_two_companies_are_enough(day: str, run: Import, write: Write) -> None:
    text = f"Co,Date,Open,High,Low,Close\nAAPL,2021-03-02,1,1,1,1\nMSFT,{day},2,2,2,2\n"
    with pytest.raises(InputError, match=r"'Co' \(AAPL, MSFT, …\)"):
        run(write("X.csv", text), exchange="NASDAQ")


def column_of(kind: str, n: int, day: date) -> str:
    """A cell of what files of one instrument have beside its prices."""
    return {
        "trades": str(37 * n % 101 + 900),
        "year": str(2020 if n < 10 else 2021),
        "shares_outstanding": "16788096000" if n < 12 else "16687631000",
        "weekday": day.strftime("%A"),
        "up": "True" if n % 3 else "False",
        "Signal": "BUY" if n % 4 else "SELL",
        "advice": "hold" if n % 4 else "sell",
        "Change %": f"{n / 7:.2f}%",
        "change": f"({n / 7:.2f})",
        "series": "EQ" if n < 9 else "BE",
        "headline": f"Apple did thing number {n}",
        "when": day.strftime("%d %b %Y"),
        "at": "16:00:00" if n % 2 else "13:00:00",
        "row": str(n),
        "id": str(1000 + n),
        "Currency": "USD",
        "factor": "4" if n < 12 else "1",
    }[kind]


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize(
    "kind",
    [
        *("trades", "year", "shares_outstanding", "weekday", "up", "Signal", "advice", "Change %"),
        *("change", "series", "headline", "when", "at", "row", "id", "Currency", "factor"),
    ],
)
def test_what_one_instrument_has_beside_its_prices_is_no_symbol(
    kind: str, newest_first: bool, run: Import, write: Write
) -> None:
    lines = [f"{day},10,12,9,11,{column_of(kind, n, day)}" for n, day in enumerate(DAYS)]
    lines = lines[::-1] if newest_first else lines
    text = "\n".join([f"Day,Open,High,Low,Close,{kind}", *lines, ""]).replace("Day", "date")
    assert run(write("AAPL.csv", text), exchange="NASDAQ").accepted == len(DAYS)


@pytest.mark.parametrize(
    "column",
    [
        *("Code", "SecuritiesCode", "ts_code", "act_symbol", "Stock", "instrument", "TckrSymb"),
        *("permno", "PERMNO", "Ticker", "stock_id", "SC_CODE", "代码", "종목코드"),
    ],
)
def test_columns_that_certainly_name_instruments_do(
    column: str, run: Import, write: Write, stored: Rows
) -> None:
    run(write("bulk.csv", bars_of(["1301", "7203"], column)), exchange="TSE")
    assert {row["symbol"] for row in stored()} == {"TSE:1301", "TSE:7203"}


def test_codes_that_were_floats_on_the_way_are_whole(
    run: Import, write: Write, stored: Rows
) -> None:
    run(write("bulk.csv", bars_of(["1301.0", "7203.0"], "SecuritiesCode")), exchange="TSE")
    assert {row["symbol"] for row in stored()} == {"TSE:1301", "TSE:7203"}


def test_bare_codes_need_an_exchange(run: Import, write: Write) -> None:
    with pytest.raises(InputError, match="no exchange for 10107, 14593: give --exchange"):
        run(write("bulk.csv", bars_of(["10107", "14593"], "permno")))
