"""The forward split adjustment, on real splits and on made ones."""

import csv
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from local_bars import DAY, column, random_walk, with_splits
from local_reference import features as reference

from ingestion.formulas import FEATURES, compute_local_features

GOLDEN = Path(__file__).parent / "golden"
EPISODES = {
    "NTAP_1999": [2.0, 2.0],
    "AIG_2009": [0.05],
    "DLTR_2010": [1.49999925],
    "C_2011": [0.1],
    "AAPL_2014": [7.00000700001],
    "AAPL_2020": [4.0],
}
"""By real episode: the split ratios in it, as the vendor wrote them."""
CENTS = "C_2011"
"""At 4 $ a share, two moves are often equal to the cent, and rounding decides which is larger.

The directional index and the votes hang on such comparisons; back-adjusting turns some of them.
"""
MONEY = ("AO", "MACD.macd", "MACD.signal")


@pytest.fixture(scope="module")
def apple() -> dict[str, np.ndarray]:
    """Apple around its 2-for-1 split of 2005-02-28, as traded."""
    return read("aapl_2005_split")


@pytest.fixture(params=EPISODES)
def name_of_episode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def episode(name_of_episode: str) -> dict[str, np.ndarray]:
    """A real symbol around its splits, as traded."""
    found = read("real_splits", name_of_episode)
    assert [r for r in found["split_coefficient"] if r != 1] == EPISODES[name_of_episode]
    return found


def read(name: str, episode: str | None = None) -> dict[str, np.ndarray]:
    with (GOLDEN / f"{name}.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("episode") == episode]
    texts = ("date", "episode")
    return {
        "date": np.array([row["date"] for row in rows]),
        **{k: np.array([float(row[k]) for row in rows]) for k in rows[0] if k not in texts},
    }


def back_adjusted(stock: dict[str, np.ndarray]) -> tuple[pa.Table, np.ndarray]:
    """The bars in the money of the last day, and how much of it an own day's money is."""
    factor = np.cumprod(stock["split_coefficient"])
    later = factor[-1] / factor
    prices = {name: stock[name] / later for name in ("open", "high", "low", "close")}
    adjusted = {**stock, **prices, "volume": stock["volume"] * later}
    return to_bars(adjusted, np.ones(len(later))), later


def to_bars(stock: dict[str, np.ndarray], split_ratio: np.ndarray) -> pa.Table:
    epoch = date(1970, 1, 1)
    days = [(date.fromisoformat(d) - epoch).days for d in stock["date"]]
    prices = {name: stock[name] for name in ("open", "high", "low", "close", "volume")}
    return pa.table(
        {
            "timestamp": np.array(days) * DAY + 52_200,
            "close_timestamp": np.array(days) * DAY + 75_600,
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
    bars, later = back_adjusted(apple)
    forward = compute_local_features(to_bars(apple, apple["split_coefficient"]))
    backward = compute_local_features(bars)
    for name in FEATURES:
        scale = later if name in MONEY else 1.0
        np.testing.assert_allclose(
            column(forward, name),
            column(backward, name) * scale,
            rtol=1e-9,
            atol=1e-9,
            err_msg=name,
        )


def test_a_real_split_changes_no_earlier_row_by_a_bit(episode: dict[str, np.ndarray]) -> None:
    whole = compute_local_features(to_bars(episode, episode["split_coefficient"]))
    for ex_date in np.flatnonzero(episode["split_coefficient"] != 1):
        before = {name: values[:ex_date] for name, values in episode.items()}
        alone = compute_local_features(to_bars(before, before["split_coefficient"]))
        for name in FEATURES:
            found, expected = (column(t, name)[:ex_date] for t in (whole, alone))
            assert found.tobytes() == expected.tobytes(), name


def test_a_real_split_equals_the_reference_on_back_adjusted_prices(
    episode: dict[str, np.ndarray], name_of_episode: str
) -> None:
    bars, later = back_adjusted(episode)
    expected = reference(bars.to_pydict())
    features = compute_local_features(to_bars(episode, episode["split_coefficient"]))
    for name in FEATURES:
        scale = later if name in MONEY else 1.0
        values = np.array([np.nan if v is None else v for v in expected[name]]) * scale
        found = column(features, name)
        if name_of_episode == CENTS and name == "ADX":
            np.testing.assert_allclose(found, values, atol=0.2)
        elif name_of_episode == CENTS and name.startswith("Recommend"):
            turned = np.flatnonzero(np.abs(found - values) > 1e-9)
            assert len(turned) <= 4
            assert (np.abs(found - values)[turned] < 1 / 8).all(), "one vote of nine"
        else:
            np.testing.assert_allclose(found, values, rtol=1e-9, atol=1e-9, err_msg=name)


def test_a_real_split_makes_no_jump_in_the_returns(episode: dict[str, np.ndarray]) -> None:
    split, close, adjusted = (episode[name] for name in ("split_coefficient", "close", "adj_close"))
    returns = column(compute_local_features(to_bars(episode, split)), "returns_1d")
    # The vendor adjusts for dividends too, so their ex-dates differ by design.
    plain = np.flatnonzero(episode["dividend_amount"][1:] == 0) + 1
    expected = adjusted[plain] / adjusted[plain - 1] - 1
    np.testing.assert_allclose(returns[plain], expected, rtol=0, atol=1e-6)
    for ex_date in np.flatnonzero(split != 1):
        jump = close[ex_date] / close[ex_date - 1] - 1
        assert abs(returns[ex_date]) < abs(jump) / 1.5
        assert abs(returns[ex_date]) <= np.abs(np.delete(returns[1:], ex_date - 1)).max()


def test_a_real_split_makes_no_jump_in_values_of_money(episode: dict[str, np.ndarray]) -> None:
    """In one money, they move on the ex-date by a share of the price as on other days."""
    split = episode["split_coefficient"]
    features = compute_local_features(to_bars(episode, split))
    factor = np.cumprod(split)
    for name in MONEY:
        moves = np.abs(np.diff(column(features, name) * factor)) / (episode["close"] * factor)[1:]
        others = np.nanmax(np.where(split[1:] == 1, moves, np.nan))
        assert (np.nan_to_num(moves[split[1:] != 1]) <= others).all(), name


def test_a_ratio_on_the_first_bar_only_changes_the_unit_of_account() -> None:
    bars = random_walk(120, 3)
    plain = compute_local_features(bars)
    scaled = compute_local_features(with_splits(bars, {0: 4.0}))
    for name in FEATURES:
        scale = 0.25 if name in MONEY else 1.0
        np.testing.assert_array_equal(column(scaled, name), column(plain, name) * scale, name)
