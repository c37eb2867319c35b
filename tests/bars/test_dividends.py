"""Files of dividends: which rows are recorded, as what, and which are refused."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.bars.dividends import read_paid
from ingestion.bars.refusals import Reason
from ingestion.base.errors import InputError
from ingestion.catalog import DIVIDENDS, SYMBOLS
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.lakehouse import append_rows, list_parts, read_current, read_file
from ingestion.project import Project

NOW = datetime(2021, 4, 16, 21, tzinfo=UTC)
BARS = """symbol,date,open,high,low,close,volume,split_ratio
NASDAQ:AAPL,2020-08-27,500,510,490,500,1,1
NASDAQ:AAPL,2020-08-28,500,510,490,500,1,1
NASDAQ:AAPL,2020-08-31,125,130,120,125,1,4
NASDAQ:AAPL,2020-09-01,125,130,120,125,1,1
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TVFEAST_NOW", NOW.isoformat())
    return Project(tmp_path, tmp_path / "lakehouse", "https://scanner.test")


def given(project: Project, text: str, name: str = "dividends.csv", **more: object):
    path = project.folder / name
    path.write_text(text)
    return import_bars(project, ImportRequest(dividends=path, **more))


def with_bars(project: Project) -> None:
    (project.folder / "bars.csv").write_text(BARS)
    import_bars(project, ImportRequest((project.folder / "bars.csv",)))


def with_currency(project: Project, symbol: str, currency: str) -> None:
    row = {"symbol": symbol, "currency": currency, "active": True, "valid_from": NOW}
    append_rows(project.lakehouse, SYMBOLS, [row], "symbols")


def recorded(project: Project) -> list[tuple]:
    rows = read_current(list_parts(project.lakehouse, DIVIDENDS), DIVIDENDS).to_pylist()
    return sorted((r["symbol"], r["ex_date"], r["amount"], r["currency"]) for r in rows)


AAPL = ("NASDAQ:AAPL", "2020-08-07", 0.82, "USD")


@pytest.mark.parametrize(
    "text",
    [
        "symbol,ex_date,amount,currency\nNASDAQ:AAPL,2020-08-07,0.82,USD\n",
        # Of several dates the ex-date counts, of several amounts the one as traded.
        "ticker,declaration_date,ex_dividend_date,pay_date,record_date,cash_amount,currency\n"
        "NASDAQ:AAPL,2020-07-30,2020-08-07,2020-08-13,2020-08-10,0.82,USD\n",
        "date,recordDate,paymentDate,value,unadjustedValue,currency,symbol\n"
        "2020-08-07,2020-08-10,2020-08-13,0.205,0.82,usd,NASDAQ:AAPL\n",
        "date,label,adjDividend,dividend,symbol,currency\n"
        '2020-08-07,"August 07, 20",0.205,0.82,NASDAQ:AAPL,USD\n',
        "Symbol;Ex-Date;Amount;Currency\nNASDAQ:AAPL;2020-08-07;0,82;USD\n"
        "NASDAQ:AAPL;2020-08-07;0,82;USD\n",
        "symbol,ex_date,amount,currency\nNASDAQ:AAPL,2020-08-07T00:00:00Z,$0.82,USD\n",
    ],
)
def test_a_dividend_is_recorded_as_it_was_paid(project: Project, text: str):
    result = given(project, text)
    assert recorded(project) == [AAPL]
    assert (result.dividends, result.dividends_restated, result.refused) == (1, 0, 0)
    (row,) = [each for p in list_parts(project.lakehouse, DIVIDENDS) for each in rows_of(p)]
    assert row["event_timestamp"] == datetime(2020, 8, 7, 20, tzinfo=UTC)
    assert row["created_timestamp"] == NOW
    assert "dividends.csv" in row["source"]


def rows_of(part) -> list[dict]:
    return read_file(part).to_pylist()


def test_a_parquet_file_of_one_ticker_and_an_exchange_is_read(project: Project):
    path = project.folder / "AAPL.parquet"
    pq.write_table(pa.table({"Date": [date(2020, 8, 7)], "Dividends": [0.82]}), path)
    import_bars(project, ImportRequest(dividends=path, exchange="NASDAQ"))
    assert recorded(project) == [(*AAPL[:3], None)]


def test_a_day_without_a_session_is_that_of_the_next(project: Project):
    given(project, "symbol,ex_date,amount\nNASDAQ:AAPL,2020-08-08,0.82\n")
    assert recorded(project) == [("NASDAQ:AAPL", "2020-08-10", 0.82, None)]
    paid = read_paid(project.lakehouse, date(2020, 8, 10), date(2020, 8, 10), None)
    assert paid["event_timestamp"].to_pylist() == [datetime(2020, 8, 10, 20, tzinfo=UTC)]


def test_a_repeated_import_writes_nothing_and_another_amount_is_a_restatement(project: Project):
    text = "symbol,ex_date,amount,currency\nNASDAQ:AAPL,2020-08-07,{},USD\n"
    given(project, text.format(0.8))
    before = NOW
    assert given(project, text.format(0.8)).dividends == 0
    result = given(project, text.format(0.82))
    assert (result.dividends, result.dividends_restated) == (1, 1)
    assert (result.files[-1].accepted, result.files[-1].written) == (1, 1)
    assert recorded(project) == [AAPL]
    span = date(2020, 8, 1), date(2020, 8, 31)
    for known_at, amount in ((before, 0.8), (None, 0.82)):
        assert read_paid(project.lakehouse, *span, known_at)["amount"].to_pylist() == [amount]
    given(project, text.format(0))  # there was none
    assert read_paid(project.lakehouse, *span, None)["amount"].to_pylist() == [0.0]
    assert sum(len(rows_of(part)) for part in list_parts(project.lakehouse, DIVIDENDS)) == 3


def test_bad_rows_are_refused_with_their_reasons_and_good_ones_are_kept(project: Project):
    with_currency(project, "NASDAQ:MSFT", "USD")
    result = given(
        project,
        "symbol,ex_date,amount,currency\n"
        "NASDAQ:AAPL,2020-08-07,0.82,USD\n"
        "NASDAQ:AAPL,2020-05-08,-0.82,USD\n"
        "NASDAQ:AAPL,2020-05-09,,USD\n"
        "NASDAQ:AAPL,2020-05-10,much,USD\n"
        "NASDAQ:AAPL,2020-05-11,inf,USD\n"
        "NASDAQ:AAPL,someday,0.82,USD\n"
        "AAPL?,2020-05-12,0.82,USD\n"
        "NASDAQ:AAPL,2020-02-07,0.77,USD\n"
        "NASDAQ:AAPL,2020-02-07,0.78,USD\n"
        "NASDAQ:MSFT,2020-08-19,0.51,EUR\n"
        "NASDAQ:MSFT,2020-11-18,0.56,\n"
        "NASDAQ:AAPL,2020-11-06,0.2\n",
    )
    assert recorded(project) == [AAPL, ("NASDAQ:MSFT", "2020-11-18", 0.56, "USD")]
    assert result.refused_by_reason == {
        Reason.AMOUNT: 4,
        Reason.DIVIDENDS: 2,
        Reason.TIME: 1,
        Reason.EXCHANGE: 1,
        Reason.CURRENCY: 1,
        Reason.CELLS: 1,
    }
    assert "EUR, and the price is in USD" in [each.detail for each in result.refusals]
    file = result.files[-1]
    assert (file.read, file.accepted, file.refused, file.repeated) == (12, 2, 10, 0)
    assert result.refusal is not None  # exit 3


def test_pence_are_no_pounds(project: Project):
    with_currency(project, "LSE:VOD", "GBX")
    result = given(
        project,
        "symbol,ex_date,amount,currency\n"
        "LSE:VOD,2020-06-11,4.5,GBp\nLSE:VOD,2020-11-26,0.045,GBP\n",
    )
    assert recorded(project) == [("LSE:VOD", "2020-06-11", 4.5, "GBX")]
    assert result.refused_by_reason == {Reason.CURRENCY: 1}


def test_a_currency_that_is_known_later_makes_the_amount_unknown(project: Project):
    given(project, "symbol,ex_date,amount,currency\nLSE:VOD,2020-06-11,0.045,GBP\n")
    span = date(2020, 6, 1), date(2020, 6, 30)
    assert read_paid(project.lakehouse, *span, None)["amount"].to_pylist() == [0.045]
    with_currency(project, "LSE:VOD", "GBX")
    assert read_paid(project.lakehouse, *span, None)["amount"].to_pylist() == [None]


def test_amounts_before_a_split_are_turned_back_or_named(project: Project):
    with_bars(project)
    text = (
        "symbol,ex_date,amount\n"
        "NASDAQ:AAPL,2020-08-28,0.25\nNASDAQ:AAPL,2020-08-31,0.25\nNASDAQ:AAPL,2020-08-27,0\n"
    )
    result = given(project, text)
    (finding,) = [each for each in result.findings if each.name == "dividends_before_splits"]
    assert finding.examples == ["NASDAQ:AAPL 2020-08-28 0.25"]
    result = given(project, text, adjusted=True)
    assert not [each for each in result.findings if each.name == "dividends_before_splits"]
    assert [row[1:3] for row in recorded(project)] == [
        ("2020-08-27", 0.0),
        ("2020-08-28", 1.0),
        ("2020-08-31", 0.25),  # per new share
    ]


def test_bars_splits_and_dividends_of_one_import_know_each_other(project: Project):
    (project.folder / "bars.csv").write_text(BARS.replace(",4\n", ",1\n"))
    (project.folder / "splits.csv").write_text("symbol,date,ratio\nNASDAQ:AAPL,2020-08-31,4:1\n")
    (project.folder / "paid.csv").write_text("symbol,ex_date,amount\nNASDAQ:AAPL,2020-08-07,0.5\n")
    files = {name: project.folder / f"{name}.csv" for name in ("bars", "splits", "paid")}
    request = ImportRequest((files["bars"],), splits=files["splits"], dividends=files["paid"])
    result = import_bars(project, request)
    assert [each.name for each in result.findings] == ["dividends_before_splits"]
    assert [Path(each.file).name for each in result.files] == ["bars.csv", "splits.csv", "paid.csv"]
    assert recorded(project) == [("NASDAQ:AAPL", "2020-08-07", 0.5, None)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("symbol,ex_date\nNASDAQ:AAPL,2020-08-07\n", "no column for amount"),
        ("symbol,amount\nNASDAQ:AAPL,1\n", "no column for time"),
        ("", "is empty"),
        ("symbol,ex_date,amount\n", "has no rows"),
        ("symbol,ex_date,amount\nAAPL,2020-08-07,1\n", "exchange"),
        ("symbol,ex_date,amount\nNASDAQ:AAPL,2020-08-07,-1\n", "not one of 1 row was accepted"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(project: Project, text: str, problem: str):
    with pytest.raises(InputError, match=problem):
        given(project, text)
    assert not list_parts(project.lakehouse, DIVIDENDS)
