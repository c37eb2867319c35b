"""From an empty project to years of ratings of stocks and coins, from replayed Yahoo and Binance.

``make test`` fetches four real series of the sample. ``make test-history`` fetches 50 symbols of
five years, with all limits in force: real series of ``HISTORY_STOCKS`` and ``HISTORY_COINS``
(Parquet files with ``symbol``, ``date``, prices, ``volume`` and, of stocks, ``split_coefficient``),
and drawn ones where these end. What is stored is compared with the files, bar for bar.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.catalog import OHLCV_1D
from ingestion.cli.commands import cli
from ingestion.jobs.history import rating_history
from ingestion.lakehouse import list_parts, read_current
from ingestion.markets.sessions import sessions_between
from ingestion.project import Project
from ingestion.replay.exchanges import Pair, ReplayBinance
from ingestion.replay.yahoo import NEW_YORK, ReplayYahoo, Series
from ingestion.sources import exchanges
from tests.conftest import SAMPLE
from tests.history.series import drawn_series

SYMBOLS = int(os.environ.get("TVFEAST_HISTORY_SYMBOLS", "4"))
COINS = max(2, SYMBOLS // 5)
IS_LONG = SYMBOLS > 4
YEARS = 5 if IS_LONG else 1
NOW = datetime(2021, 4, 20, 22, tzinfo=UTC)
BINANCE_BEGAN = 2017
LAST_COIN = date(2021, 4, 19)
SINCE = date(2013, 1, 2) if IS_LONG else date(2020, 1, 2)
PRICES = ("open", "high", "low", "close")
BASES = ("BTC", "ETH", "ADA", "BNB", "DOGE", "DOT", "LTC", "SOL", "TRX", "XRP")


def zone_of(symbol: str) -> tzinfo:
    return ZoneInfo(NEW_YORK) if symbol.startswith(("NASDAQ:", "NYSE:")) else UTC


def rows_of(table: pa.Table, symbol: str) -> pa.Table:
    names, days = table["symbol"], table["date"]
    inside = pc.and_(pc.greater_equal(days, SINCE), pc.less_equal(days, NOW.date()))
    return table.filter(pc.and_(pc.equal(names, symbol), inside)).sort_by("date")


def sample() -> pa.Table:
    """The sample's bars, with dates; those of coins under their bare names."""
    table = pq.read_table(SAMPLE / "bars.parquet")
    opens, symbols = table["timestamp"].to_pylist(), table["symbol"].to_pylist()
    dates = [
        datetime.fromtimestamp(opened, zone_of(symbol)).date()
        for opened, symbol in zip(opens, symbols, strict=True)
    ]
    table = table.append_column("date", pa.array(dates, pa.date32()))
    names = [symbol.removeprefix("BINANCE:") for symbol in symbols]
    table = table.set_column(table.column_names.index("symbol"), "symbol", [names])
    return table.rename_columns({"split_ratio": "split_coefficient"})


def is_clean(rows: pa.Table, sessions: int) -> bool:
    """Whether a vendor's series lacks nothing, and its splits are such."""
    splits = rows["split_coefficient"].to_numpy()
    return (
        len(rows) == sessions
        and bool((rows["volume"].to_numpy() > 0).all())
        and bool((splits * 2 == np.round(splits * 2)).all())
        and bool((splits > 0).all())
    )


def real_stocks(count: int) -> dict[str, pa.Table]:
    """Clean real series by unified symbol, the first by name."""
    path = os.environ.get("HISTORY_STOCKS")
    table = pq.read_table(path) if path and IS_LONG else sample()
    sessions = len(sessions_between("NYSE", SINCE, NOW.date()))
    found: dict[str, pa.Table] = {}
    for name in sorted(set(table["symbol"].to_pylist())):
        if len(found) == count:
            break
        rows = rows_of(table, name)
        if (":" in name or path) and len(rows) and is_clean(rows, sessions):
            found[name if ":" in name else f"NYSE:{name}"] = rows
    return found


def real_coins() -> dict[str, pa.Table]:
    path = os.environ.get("HISTORY_COINS")
    table = pq.read_table(path) if path and IS_LONG else sample()
    return {f"BINANCE:{base}USDT": rows_of(table, f"{base}USDT") for base in BASES[:2]}


def bars(rows: pa.Table) -> list[tuple[Any, ...]]:
    columns = (rows[name].to_pylist() for name in ("date", *PRICES, "volume"))
    return list(zip(*columns, strict=True))


def stock_series(rows: pa.Table) -> Series:
    ratios = zip(rows["date"].to_pylist(), rows["split_coefficient"].to_pylist(), strict=True)
    return Series(bars(rows), [(day, ratio * 2, 2.0) for day, ratio in ratios if ratio != 1])


def test_an_empty_project_gets_years_of_ratings_from_two_vendors_as_their_files_have_them(
    tmp_path: Path, at: Callable[[datetime], None], monkeypatch: pytest.MonkeyPatch
):
    at(NOW)
    monkeypatch.setattr(exchanges, "_OPEN", {})
    if not IS_LONG:
        monkeypatch.setattr(rating_history, "WARM_UP", 0)
        monkeypatch.setattr("time.sleep", lambda _: None)
        monkeypatch.setattr("os.fsync", lambda _: None)
    real: Mapping[str, pa.Table] = real_stocks(SYMBOLS - COINS) | real_coins()
    stocks = {name: stock_series(rows) for name, rows in real.items() if "BINANCE" not in name}
    for number in range(SYMBOLS - COINS - len(stocks)):
        name = f"NASDAQ:DRAWN{number}"
        stocks[name] = drawn_series(name, SINCE, NOW.date())
    pairs = [
        Pair(base, "USDT", bars(real[name]))
        if (name := f"BINANCE:{base}USDT") in real
        else Pair(base, "USDT", drawn_series(f"BINANCE:{base}USDT", SINCE, NOW.date()).bars)
        for base in BASES[:COINS]
    ]
    coins = [f"BINANCE:{base}USDT" for base in BASES[:COINS]]
    tickers = {name.partition(":")[2].replace(".", "-"): each for name, each in stocks.items()}
    with ReplayYahoo(tickers) as yahoo, ReplayBinance(pairs) as binance:
        monkeypatch.setenv("TVFEAST_YAHOO_URL", yahoo.url)
        monkeypatch.setenv("TVFEAST_BINANCE_URL", binance.url)
        began, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        assert CliRunner().invoke(cli, ["init", str(tmp_path / "mine")]).exit_code == 0
        monkeypatch.setenv("TVFEAST_PROJECT", str(tmp_path / "mine"))
        monkeypatch.chdir(tmp_path / "mine")
        Path("my.json").write_text(json.dumps([*stocks, *coins]))
        words = ["history", "--candidates", "my.json", "--years", str(YEARS), "--json"]
        result = CliRunner().invoke(cli, words)
        took, spent = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    assert result.exit_code == 0, (result.output[-2000:], result.exception)
    told = json.loads(result.stdout)
    assert len(told["coverage"]) == SYMBOLS
    for each in told["coverage"]:
        assert each["source"] == ("binance" if "BINANCE" in each["symbol"] else "yahoo")
        assert each["rows"] == each["sessions"], each
        began = BINANCE_BEGAN if each["source"] == "binance" else SINCE.year
        if each["symbol"] in real:
            began = max(began, real[each["symbol"]]["date"][0].as_py().year)
        assert date.fromisoformat(each["first"]).year == max(began, 2021 - YEARS)
    assert told["asked"] == {"binance": COINS, "yahoo": SYMBOLS - COINS}
    lakehouse = Project.from_environment().lakehouse
    stored = read_current(list_parts(lakehouse, OHLCV_1D), OHLCV_1D)
    compared = sum(compare(stored, name, rows) for name, rows in real.items())
    user = spent.ru_utime + spent.ru_stime - cpu.ru_utime - cpu.ru_stime
    print(
        f"\n{SYMBOLS} symbols, {YEARS} years: {took:.0f} s, {user:.0f} s of CPU; "
        f"{told['bars_written']:,} bars, {told['rows_written']:,} rows of features; "
        f"{len(real)} real series ({len(real_coins())} of coins), {compared:,} of their bars equal"
    )


def compare(stored: pa.Table, name: str, rows: pa.Table) -> int:
    """Compare a symbol's stored bars with its file's of the same dates; return how many."""
    own = stored.filter(pc.equal(stored["symbol"], name)).sort_by("timestamp")
    zone = zone_of(name)
    days = [datetime.fromtimestamp(each, zone).date() for each in own["timestamp"].to_pylist()]
    there = pc.and_(
        pc.greater_equal(rows["date"], days[0]),
        pc.less_equal(rows["date"], LAST_COIN if zone is UTC else NOW.date()),
    )
    rows = rows.filter(there)
    assert days == rows["date"].to_pylist(), name
    for column in PRICES:  # divided by the splits to come, and multiplied again
        np.testing.assert_allclose(own[column], rows[column], rtol=1e-12, err_msg=name)
    volume = 1e-12 if zone is UTC else 1e-3  # Yahoo rounds adjusted volumes to whole shares
    np.testing.assert_allclose(own["volume"], rows["volume"], rtol=volume, atol=10, err_msg=name)
    if "split_coefficient" in rows.column_names:
        ratios = own["split_ratio"].to_numpy()
        np.testing.assert_array_equal(ratios[1:], rows["split_coefficient"].to_numpy()[1:])
    return len(days)
