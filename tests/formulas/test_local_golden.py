"""Each formula against numbers that came from somewhere else."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from local_bars import DAY, START, column

from ingestion.formulas import compute_local_features
from ingestion.formulas.oscillators import (
    adx,
    directional_movement,
    stochastic_rsi,
    true_range,
    ultimate,
    williams_r,
)
from ingestion.formulas.windows import ema, highest, hma, lowest, sma, vwma

GOLDEN = Path(__file__).parent / "golden"


def read(name: str) -> dict[str, np.ndarray]:
    with (GOLDEN / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        key: np.array([float(row[key] or "nan") for row in rows])
        for key in rows[0]
        if key != "date"
    }


QUOTES = read("quotes")
HIGH, LOW, CLOSE, VOLUME = (QUOTES[name][:, None] for name in ("high", "low", "close", "volume"))


def assert_same(computed: np.ndarray, expected: np.ndarray) -> None:
    """Equal to 1e-10, and undefined on the same bars."""
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-10)


@pytest.fixture(scope="module")
def spy() -> pa.Table:
    bars = {name: QUOTES[name] for name in ("open", "high", "low", "close", "volume")}
    opened = START + DAY * np.arange(len(CLOSE), dtype=np.int64)
    return compute_local_features(
        pa.table({"timestamp": opened, "symbol": ["AMEX:SPY"] * len(CLOSE), **bars})
    )


@pytest.mark.parametrize(
    ("feature", "file", "key"),
    [
        ("RSI", "rsi", "rsi"),
        ("ADX", "adx", "adx"),
        ("AO", "awesome", "ao"),
        ("CCI20", "cci20", "cci"),
        ("Stoch.K", "stochastic", "k"),
        ("Stoch.D", "stochastic", "d"),
        ("MACD.macd", "macd", "macd"),
        ("MACD.signal", "macd", "signal"),
    ],
)
def test_feature_equals_the_spreadsheet_from_its_first_defined_bar(
    spy: pa.Table, feature: str, file: str, key: str
) -> None:
    assert_same(column(spy, feature), read(file)[key])


def test_directional_lines_equal_the_spreadsheet() -> None:
    expected = read("adx")
    plus, minus = directional_movement(HIGH, LOW, true_range(HIGH, LOW, CLOSE))
    assert_same(plus[:, 0], expected["plus"])
    assert_same(minus[:, 0], expected["minus"])
    assert_same(adx(plus, minus)[:, 0], expected["adx"])


def test_true_range_equals_the_spreadsheet() -> None:
    assert_same(true_range(HIGH, LOW, CLOSE)[:, 0], read("true_range")["true_range"])


def test_daily_volatility_is_the_spreadsheets_true_range_over_the_low(spy: pa.Table) -> None:
    expected = 100 * read("true_range")["true_range"] / LOW[:, 0]
    assert_same(column(spy, "Volatility.D")[1:], expected[1:])


def test_averages_equal_the_spreadsheet() -> None:
    assert_same(sma(CLOSE, 20)[:, 0], read("sma20")["sma"])
    assert_same(ema(CLOSE, 20)[:, 0], read("ema20")["ema"])
    assert_same(hma(CLOSE, 14)[:, 0], read("hma14")["hma"])
    assert_same(vwma(CLOSE, VOLUME, 10)[:, 0], read("vwma10")["vwma"])


def test_oscillators_behind_the_votes_equal_the_spreadsheet(spy: pa.Table) -> None:
    ranged = true_range(HIGH, LOW, CLOSE)
    assert_same(ultimate(CLOSE, LOW, ranged)[:, 0], read("ultimate")["ultimate"])
    assert_same(williams_r(CLOSE, HIGH, LOW)[:, 0], read("williams_r")["williams_r"])
    k, d = stochastic_rsi(column(spy, "RSI")[:, None])
    assert_same(k[:, 0], read("stochastic_rsi")["k"])
    assert_same(d[:, 0], read("stochastic_rsi")["d"])
    assert_same((HIGH - ema(CLOSE, 13))[:, 0], read("elder_ray")["bull"])
    assert_same((LOW - ema(CLOSE, 13))[:, 0], read("elder_ray")["bear"])


def test_extremes_equal_the_ichimoku_spreadsheet() -> None:
    expected = read("ichimoku")
    assert_same(((highest(HIGH, 9) + lowest(LOW, 9)) / 2)[:, 0], expected["conversion"])
    assert_same(((highest(HIGH, 26) + lowest(LOW, 26)) / 2)[:, 0], expected["base"])


def test_talipp_agrees_where_it_seeds_alike(spy: pa.Table) -> None:
    talipp = pytest.importorskip("talipp.indicators")
    closes = CLOSE[:, 0].tolist()
    rsi = [np.nan if v is None else v for v in talipp.RSI(14, closes)]
    assert_same(column(spy, "RSI"), np.array(rsi))
    macd = [
        np.nan if v is None or v.macd is None else v.macd for v in talipp.MACD(12, 26, 9, closes)
    ]
    assert_same(column(spy, "MACD.macd")[33:], np.array(macd)[33:])
