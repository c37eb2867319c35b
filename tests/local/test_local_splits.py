"""The forward split adjustment, on a real split and on made ones."""

import csv
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from local_bars import DAY, column, random_walk, with_splits

from ingestion.local import FEATURES, compute_local_features

MONEY = ("AO", "MACD.macd", "MACD.signal")


@pytest.fixture(scope="module")
def apple() -> dict[str, np.ndarray]:
    """Apple around its 2-for-1 split of 2005-02-28, as traded."""
    with (Path(__file__).parent / "golden" / "aapl_2005_split.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        "date": np.array([row["date"] for row in rows]),
        **{k: np.array([float(row[k]) for row in rows]) for k in rows[0] if k != "date"},
    }


def to_bars(apple: dict[str, np.ndarray], split_ratio: np.ndarray) -> pa.Table:
    epoch = date(1970, 1, 1)
    days = [(date.fromisoformat(d) - epoch).days for d in apple["date"]]
    prices = {name: apple[name] for name in ("open", "high", "low", "close", "volume")}
    return pa.table(
        {
            "timestamp": np.array(days) * DAY + 52_200,
            "symbol": ["NASDAQ:AAPL"] * len(days),
            **prices,
            "split_ratio": split_ratio,
        }
    )


def test_returns_across_a_real_split_equal_the_vendors_adjusted_ones(
    apple: dict[str, np.ndarray],
) -> None:
    returns = column(
        compute_local_features(to_bars(apple, apple["split_coefficient"])), "returns_1d"
    )
    adjusted = apple["adj_close"]
    np.testing.assert_allclose(returns[1:], adjusted[1:] / adjusted[:-1] - 1, atol=1e-7)
    ex_date = int(np.argmax(apple["split_coefficient"] != 1))
    assert apple["date"][ex_date] == "2005-02-28"
    assert abs(returns[ex_date]) < 0.02


def test_macd_is_in_the_money_of_its_own_day(apple: dict[str, np.ndarray]) -> None:
    features = compute_local_features(to_bars(apple, apple["split_coefficient"]))
    day = int(np.argmax(apple["date"] == "2005-02-01"))
    assert column(features, "MACD.macd")[day] == pytest.approx(3.01, abs=0.01)


def test_a_back_adjusted_series_gives_the_same_up_to_the_money(
    apple: dict[str, np.ndarray],
) -> None:
    split = apple["split_coefficient"]
    factor = np.cumprod(split)
    later = factor[-1] / factor
    back_adjusted = {
        **apple,
        **{n: apple[n] / later for n in ("open", "high", "low", "close")},
        "volume": apple["volume"] * later,
    }
    forward = compute_local_features(to_bars(apple, split))
    backward = compute_local_features(to_bars(back_adjusted, np.ones(len(split))))
    for name in FEATURES:
        scale = later if name in MONEY else 1.0
        np.testing.assert_allclose(
            column(forward, name),
            column(backward, name) * scale,
            rtol=1e-9,
            atol=1e-9,
            err_msg=name,
        )


def test_a_ratio_on_the_first_bar_only_changes_the_unit_of_account() -> None:
    bars = random_walk(120, 3)
    plain = compute_local_features(bars)
    scaled = compute_local_features(with_splits(bars, {0: 4.0}))
    for name in FEATURES:
        scale = 0.25 if name in MONEY else 1.0
        np.testing.assert_array_equal(column(scaled, name), column(plain, name) * scale, name)
