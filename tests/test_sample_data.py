"""The shipped sample is what its README says: complete, sane, and stamped with real opens."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

SAMPLE = Path(__file__).parent.parent / "data" / "sample"
DAY = 86_400
FIRST, LAST = date(2019, 7, 1), date(2021, 4, 20)
EXCHANGES_OF_CRYPTO = {"BINANCE", "COINBASE", "INDEX"}
LISTED_LATER = {"BINANCE:ETHUSDT": date(2020, 1, 1)}
SPLITS = {
    ("NASDAQ:AAPL", date(2020, 8, 31)): 4.0,
    ("NASDAQ:ODFL", date(2020, 3, 25)): 1.5,
    ("NASDAQ:TSLA", date(2020, 8, 31)): 5.0,
    ("NYSE:NEE", date(2020, 10, 27)): 4.0,
    ("NYSE:SHW", date(2021, 4, 1)): 3.0,
}


@pytest.fixture(scope="module")
def bars() -> pa.Table:
    return pq.read_table(SAMPLE / "bars.parquet")


@pytest.fixture(scope="module")
def symbols() -> dict[str, dict[str, str]]:
    with (SAMPLE / "symbols.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["symbol"] for row in rows}) == len(rows)
    return {row["symbol"]: row for row in rows}


def bars_of(bars: pa.Table, symbol: str) -> pa.Table:
    return bars.filter(pc.field("symbol") == symbol)


def opens_of(bars: pa.Table, symbol: str) -> list[int]:
    return [int(opened) for opened in bars_of(bars, symbol)["timestamp"].to_pylist()]


def is_crypto(symbol: str) -> bool:
    return symbol.partition(":")[0] in EXCHANGES_OF_CRYPTO


def instant(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def test_columns_have_the_types_that_the_bar_formulas_expect(bars: pa.Table) -> None:
    assert [(field.name, str(field.type)) for field in bars.schema] == [
        ("timestamp", "int64"),
        ("symbol", "string"),
        ("open", "double"),
        ("high", "double"),
        ("low", "double"),
        ("close", "double"),
        ("volume", "double"),
        ("split_ratio", "double"),
    ]
    assert all(column.null_count == 0 for column in bars.columns)


def test_bars_are_sorted_by_a_unique_symbol_and_open(bars: pa.Table) -> None:
    keys = list(zip(bars["symbol"].to_pylist(), bars["timestamp"].to_pylist(), strict=True))
    assert keys == sorted(set(keys))


def test_prices_lie_between_low_and_high_and_everything_traded(bars: pa.Table) -> None:
    opened, high, low, close, volume = (
        bars[name].to_numpy() for name in ("open", "high", "low", "close", "volume")
    )
    assert np.isfinite([opened, high, low, close, volume]).all()
    assert (low > 0).all()
    assert (low <= np.minimum(opened, close)).all()
    assert (high >= np.maximum(opened, close)).all()
    assert (volume > 0).all()


def test_sixty_symbols_have_at_least_400_days_each(bars: pa.Table) -> None:
    counts = {row["values"]: row["counts"] for row in pc.value_counts(bars["symbol"]).to_pylist()}
    assert len(counts) == 60
    assert sum(map(is_crypto, counts)) == 4
    assert min(counts.values()) >= 400
    assert {n for symbol, n in counts.items() if not is_crypto(symbol)} == {455}


def test_equities_open_at_every_session_of_new_york(bars: pa.Table) -> None:
    import exchange_calendars

    calendar = exchange_calendars.get_calendar("XNYS", start="2019-01-01", end="2021-12-31")
    sessions = calendar.schedule.loc[FIRST.isoformat() : LAST.isoformat(), "open"]
    expected = sessions.to_numpy("datetime64[s]").astype(np.int64).tolist()
    for symbol in set(bars["symbol"].to_pylist()):
        if not is_crypto(symbol):
            assert opens_of(bars, symbol) == expected, symbol


def test_crypto_opens_every_day_at_midnight_utc(bars: pa.Table) -> None:
    for symbol in filter(is_crypto, set(bars["symbol"].to_pylist())):
        first = LISTED_LATER.get(symbol, FIRST)
        expected = list(range(instant(first), instant(LAST) + DAY, DAY))
        assert opens_of(bars, symbol) == expected, symbol


def test_split_ratios_stand_on_the_ex_dates_and_nowhere_else(bars: pa.Table) -> None:
    split = bars.filter(pc.field("split_ratio") != 1.0)
    found = {
        (row["symbol"], datetime.fromtimestamp(row["timestamp"], UTC).date()): row["split_ratio"]
        for row in split.to_pylist()
    }
    assert found == SPLITS


@pytest.mark.parametrize(("symbol", "ex_date"), list(SPLITS))
def test_prices_are_as_traded_across_a_split(bars: pa.Table, symbol: str, ex_date: date) -> None:
    opens = opens_of(bars, symbol)
    i = next(n for n, opened in enumerate(opens) if opened >= instant(ex_date))
    closes = bars_of(bars, symbol)["close"].to_pylist()
    assert closes[i] / closes[i - 1] * SPLITS[symbol, ex_date] == pytest.approx(1, abs=0.15)


def test_no_symbol_moves_like_an_unrecorded_split(bars: pa.Table) -> None:
    # Occidental fell by 52 % on 2020-03-09, the day of the oil price war; nothing moved more.
    for symbol in set(bars["symbol"].to_pylist()):
        own = bars_of(bars, symbol)
        close, ratio = own["close"].to_numpy(), own["split_ratio"].to_numpy()
        returns = close[1:] * ratio[1:] / close[:-1] - 1
        assert np.abs(returns).max() < 0.55, symbol


def test_bars_metadata_and_candidates_name_the_same_symbols(
    bars: pa.Table, symbols: dict[str, dict[str, str]]
) -> None:
    candidates = json.loads((SAMPLE / "portfolio_candidates.json").read_text())
    listed = [entry["symbol"] for entry in candidates["data"]]
    assert len(set(listed)) == len(listed)
    assert set(listed) == set(symbols) == set(bars["symbol"].to_pylist())


def test_metadata_agrees_with_the_exchange(symbols: dict[str, dict[str, str]]) -> None:
    for symbol, row in symbols.items():
        assert list(row) == ["symbol", "market", "type", "currency", "description"]
        assert row["market"] == ("crypto" if is_crypto(symbol) else "america")
        assert row["type"] in ({"spot", "index"} if is_crypto(symbol) else {"stock"})
        assert row["currency"] == ("USDT" if symbol.endswith("USDT") else "USD")
        assert row["description"]


def test_the_sample_stays_small() -> None:
    assert sum(file.stat().st_size for file in SAMPLE.iterdir()) < 1_500_000
