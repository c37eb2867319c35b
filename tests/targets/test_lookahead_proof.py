"""The real formulas pass; each kind of leak is caught and named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from target_bars import DAY, sample_bars

from ingestion.base.errors import InputError
from ingestion.formulas import LOCAL, Bars, compute_local_features, formula
from ingestion.jobs.compute import lookahead
from ingestion.jobs.compute.lookahead import (
    LAST_BARS,
    LATER_SPLITS,
    LookaheadReport,
    computing,
    verify_lookahead,
)
from tests.declared import LOCAL_1D

Column = Callable[[pa.Table], np.ndarray]


def walks(*lengths: int, seed: int = 0, splits: bool = False) -> pa.Table:
    """Random walks with gaps in their dates, a symbol a length."""
    rng = np.random.default_rng(seed)
    tables = []
    for number, length in enumerate(lengths):
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, length)))
        open_ = close * np.exp(rng.normal(0, 0.01, length))
        opened = (18_000 + np.cumsum(rng.choice([1, 1, 1, 3, 9], length))).astype(np.int64) * DAY
        tables.append(
            pa.table(
                {
                    "timestamp": opened,
                    "symbol": [f"TEST:{number}"] * length,
                    "open": open_,
                    "high": np.maximum(open_, close) * 1.01,
                    "low": np.minimum(open_, close) * 0.99,
                    "close": close,
                    "volume": rng.integers(0, 10**6, length).astype(float),
                    "split_ratio": rng.choice([1.0, 2.0], length, p=[0.98, 0.02])
                    if splits
                    else np.ones(length),
                    "close_timestamp": opened + 23_400,
                }
            )
        )
    return pa.concat_tables(tables)


def planted(**leaks: Column) -> Callable[[pa.Table], pa.Table]:
    """One innocent column, and those given, computed from sorted bars."""

    def compute(bars: pa.Table) -> pa.Table:
        table = bars.select(["timestamp", "symbol"]).append_column("innocent", bars["close"])
        for name, column in leaks.items():
            values = column(bars)
            table = table.append_column(name, pa.array(values, mask=~np.isfinite(values)))
        return table

    return compute


def by_symbol(function: Callable[[np.ndarray], np.ndarray], name: str = "close") -> Column:
    def column(bars: pa.Table) -> np.ndarray:
        owners = np.array(bars["symbol"].to_pylist(), dtype=object)
        values, result = bars[name].to_numpy(), np.empty(bars.num_rows)
        for symbol in set(owners):
            result[owners == symbol] = function(values[owners == symbol])
        return result

    return column


def centred(x: np.ndarray) -> np.ndarray:
    padded = np.concatenate([[np.nan], x, [np.nan]])
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def back_adjusted(bars: pa.Table) -> np.ndarray:
    later = by_symbol(lambda ratio: ratio.prod() / np.cumprod(ratio), "split_ratio")
    return bars["close"].to_numpy() / later(bars)


def rank_at_its_date(bars: pa.Table) -> np.ndarray:
    """The share of the day's symbols that closed lower: it needs the company."""
    days, closes = bars["timestamp"].to_numpy(), bars["close"].to_numpy()
    return np.array([(closes[days == d] < c).mean() for d, c in zip(days, closes, strict=True)])


def filled_backwards(x: np.ndarray) -> np.ndarray:
    """A momentum whose warm-up is filled with its first value."""
    return np.concatenate([np.repeat(x[5] / x[0], 5), x[5:] / x[:-5]]) if len(x) > 5 else x * np.nan


LEAKS: dict[str, Column] = {
    "centred_average": by_symbol(centred),
    "share_of_maximum": by_symbol(lambda x: x / x.max(initial=0)),
    "z_score": by_symbol(lambda x: (x - x.mean()) / x.std() if len(x) > 1 else x * 0),
    "next_close": by_symbol(lambda x: np.append(x[1:], np.nan)),
    "is_last_bar": by_symbol(lambda x: np.append(np.zeros(len(x) - 1), 1.0)),
    "null_for_zero": by_symbol(lambda x: np.append(np.zeros(len(x) - 1), np.nan)),
    "back_adjusted": back_adjusted,
    "filled_backwards": by_symbol(filled_backwards),
    "maximum_of_all": lambda bars: bars["close"].to_numpy() / pc.max(bars["close"]).as_py(),
    "number_of_symbols": lambda b: np.full(b.num_rows, float(len(b["symbol"].unique()))),
    "previous_row": lambda bars: np.append(np.nan, bars["close"].to_numpy()[:-1])[: bars.num_rows],
    "rank_at_its_date": rank_at_its_date,
    "one_bit": by_symbol(lambda x: np.nextafter(x, np.inf) if len(x) % 2 else x),
    "sign_of_zero": by_symbol(lambda x: np.where(len(x) % 2, 0.0, -0.0) * np.ones(len(x))),
}


def test_every_feature_of_the_catalog_passes_on_real_bars() -> None:
    bars = sample_bars()
    report = verify_lookahead(bars)
    assert report.passed, [str(leak) for leak in report.leaks]
    assert report.features == tuple(column.name for column in LOCAL_1D.features)
    assert (report.bars, report.symbols) == (bars.num_rows, 60)
    assert report.rows_compared > 10 * bars.num_rows


@pytest.mark.parametrize("splits", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_formulas_pass_on_random_walks(seed: int, splits: bool) -> None:
    bars = walks(1, 2, 35, 120, 300, seed=seed, splits=splits)
    report = verify_lookahead(bars, cuts=10, seed=seed)
    assert report.passed, [str(leak) for leak in report.leaks]


def test_a_single_bar_passes() -> None:
    assert verify_lookahead(walks(1)).passed


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_caught_by_name(name: str) -> None:
    report = verify_lookahead(walks(40, 60, 25), planted(**{name: LEAKS[name]}))
    assert report.features == ("innocent", name)
    assert [leak.feature for leak in report.leaks] == [name]
    assert not report.passed


# The other three only see other symbols.
@pytest.mark.parametrize(
    "name", [n for n in LEAKS if n not in ("number_of_symbols", "previous_row", "rank_at_its_date")]
)
def test_a_leak_of_a_single_symbol_is_caught_too(name: str) -> None:
    report = verify_lookahead(walks(60), planted(**{name: LEAKS[name]}))
    assert [leak.feature for leak in report.leaks] == [name]


def test_all_leaks_are_named_together_in_the_order_of_the_columns() -> None:
    report = verify_lookahead(walks(40, 60, 25), planted(**LEAKS))
    assert [leak.feature for leak in report.leaks] == list(LEAKS)


def test_a_leak_among_the_real_features_is_named_alone() -> None:
    def compute(bars: pa.Table) -> pa.Table:
        features = compute_local_features(bars)
        position = features.column_names.index("RSI")
        smooth = by_symbol(centred, "RSI")(features)
        return features.set_column(position, "RSI", pa.array(smooth, mask=np.isnan(smooth)))

    report = verify_lookahead(sample_bars("NASDAQ:AAPL", "INDEX:BTCUSD"), compute, cuts=3)
    assert [leak.feature for leak in report.leaks] == ["RSI"]


def moved_forward(x: np.ndarray) -> np.ndarray:
    return np.vstack([x[1:], np.full((1, x.shape[1]), np.nan)])


PEEKS = {
    "centred_mean": lambda bars: (bars.close + moved_forward(bars.close)) / 2,
    "min_max_of_all": lambda bars: (
        (bars.close - np.nanmin(bars.close, axis=0))
        / (np.nanmax(bars.close, axis=0) - np.nanmin(bars.close, axis=0))
    ),
    "next_return": lambda bars: moved_forward(bars.close) / bars.close - 1,
    "share_of_the_last_close": lambda bars: (
        bars.close
        / np.take_along_axis(bars.close, (~np.isnan(bars.close)).sum(axis=0)[None] - 1, axis=0)
    ),
    "place_by_value": lambda bars: np.argsort(np.argsort(bars.close, axis=0), axis=0),
}
"""Formulas that see the future, as people write them by mistake."""


def declared(name: str):
    return formula(name, "sees the future", look_back=1, warm_up=0)(PEEKS[name])


@pytest.mark.parametrize("symbols", [(60,), (40, 60, 25)])
@pytest.mark.parametrize("name", PEEKS)
def test_a_formula_that_peeks_is_named_with_the_smallest_case(name: str, symbols: tuple[int, ...]):
    bars = walks(*symbols)
    known = computing([*LOCAL.values(), declared(name)])
    (leak,) = verify_lookahead(bars, known).leaks
    assert leak.feature == name
    case = leak.smallest
    assert case
    assert case.symbol == case.of_symbol == leak.symbol
    assert case.of_timestamp > case.timestamp
    # The last close is adjusted by every split before it.
    assert case.what == ("split" if name == "share_of_the_last_close" else "price")
    if name in ("centred_mean", "next_return"):
        opened = [r["timestamp"] for r in bars.to_pylist() if r["symbol"] == case.symbol]
        assert opened.index(case.of_timestamp) == opened.index(case.timestamp) + 1
    opened = f"{datetime.fromtimestamp(case.of_timestamp, UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert f"with another {case.what} in the bar of {opened} of {case.symbol}" in str(leak)


def test_the_smallest_case_is_true() -> None:
    """Changing that bar's prices alone moves that value alone from the one to the other."""
    bars, compute = walks(60), computing([declared("next_return")])
    (leak,) = verify_lookahead(bars, compute).leaks
    case = leak.smallest
    assert case
    opened = bars["timestamp"].to_pylist()
    at, later = opened.index(case.timestamp), opened.index(case.of_timestamp)
    values = compute(bars)["next_return"].to_pylist()
    assert values[at] == case.value
    close = bars["close"].to_pylist()
    close[later] = (1 + case.moved) * close[at]
    moved = bars.set_column(bars.column_names.index("close"), "close", pa.array(close))
    assert compute(moved)["next_return"].to_pylist()[at] == pytest.approx(case.moved)


@pytest.mark.parametrize(
    ("what", "peek"),
    [
        ("volume", lambda bars: bars.volume / np.nansum(bars.volume, axis=0)),
        ("split", lambda bars: bars.split / np.nanmax(bars.split, axis=0)),
    ],
)
def test_what_was_changed_is_named(what: str, peek: Callable[[Bars], np.ndarray]) -> None:
    peeking = formula("peek", "sees the future", look_back="all")(peek)
    (leak,) = verify_lookahead(walks(50, 30), computing([peeking])).leaks
    assert leak.smallest
    assert leak.smallest.what == what


def test_the_future_of_other_symbols_is_changed_too() -> None:
    """A mean over symbols by the number of the bar: one's fifth is later than another's."""
    mean = formula("mean", "of all symbols", look_back=0)(
        lambda bars: bars.close * 0 + np.nanmean(bars.close, axis=1, keepdims=True)
    )
    (leak,) = verify_lookahead(walks(40, 40), computing([mean])).leaks
    assert leak.smallest
    assert leak.smallest.of_symbol != leak.smallest.symbol


def test_what_sees_the_number_of_bars_has_no_case_of_one_bar() -> None:
    count = formula("count", "bars of the symbol", look_back="all")(
        lambda bars: bars.close * 0 + (~np.isnan(bars.close)).sum(axis=0)
    )
    (leak,) = verify_lookahead(walks(40), computing([count])).leaks
    assert leak.smallest is None
    assert "smallest case" not in str(leak)


def test_a_filter_that_looks_at_the_next_bar_is_caught_though_no_cut_shows_it() -> None:
    """A spike counts as one if the next bar is back again; these walks have none."""
    bars, spikes = (
        walks(40, 60),
        formula("without_spikes", "close, but for spikes", look_back=0)(
            lambda bars: np.where(moved_forward(bars.close) < 0.7 * bars.close, np.nan, bars.close)
        ),
    )
    (leak,) = verify_lookahead(bars, computing([spikes])).leaks
    assert leak.change == "other prices, volumes and splits later"
    assert leak.smallest
    assert leak.smallest.moved is None


def test_a_leak_tells_row_and_values() -> None:
    bars = walks(10)
    (leak,) = verify_lookahead(bars, planted(next_close=LEAKS["next_close"])).leaks
    close, opened = bars["close"].to_pylist(), bars["timestamp"].to_pylist()
    assert (leak.symbol, leak.timestamp) == ("TEST:0", opened[8])
    assert (leak.whole, leak.altered) == (close[9], None)
    assert leak.change == "each symbol's last 1 cut off"
    assert "next_close of TEST:0, bar of 2019-" in str(leak)
    assert f"{close[9]!r} with all bars, None with" in str(leak)


def test_a_leak_of_two_bars_reach_is_caught_by_few_cuts() -> None:
    leak = by_symbol(lambda x: np.append(x[2:], [np.nan] * min(2, len(x))))
    assert not verify_lookahead(walks(30), planted(peek=leak), cuts=1).passed


def test_an_answer_that_changes_by_itself_is_told_as_such() -> None:
    rng = np.random.default_rng(0)
    (leak,) = verify_lookahead(walks(9), planted(noise=lambda b: rng.random(b.num_rows))).leaks
    assert leak.change == "the same bars again"


def test_order_of_the_bars_and_encoding_do_not_matter() -> None:
    bars = walks(40, 60)
    order = np.random.default_rng(1).permutation(len(bars))
    encoded = bars.set_column(1, "symbol", bars["symbol"].dictionary_encode()).take(order)
    leaks = planted(z_score=LEAKS["z_score"])
    assert verify_lookahead(encoded, leaks) == verify_lookahead(bars, leaks)


def test_the_seed_chooses_the_cuts() -> None:
    bars = walks(40, 60)

    def report(seed: int) -> LookaheadReport:
        return verify_lookahead(bars, cuts=2, seed=seed)

    assert report(1) == report(1)
    assert len({report(seed).rows_compared for seed in range(5)}) > 1


def test_bars_without_split_ratios_are_split_too() -> None:
    def compute(bars: pa.Table) -> pa.Table:
        with_ratios = "split_ratio" in bars.column_names
        return planted(late=back_adjusted)(
            bars
            if with_ratios
            else bars.append_column("split_ratio", pa.array(np.ones(bars.num_rows)))
        )

    bars = walks(40).drop_columns("split_ratio")
    assert verify_lookahead(bars).passed
    (leak,) = verify_lookahead(bars, compute).leaks
    assert leak.change.startswith("a split")


def test_a_later_split_is_traded_as_it_would_have_been(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookahead, "OTHER_FUTURES", 0)
    bars, seen = walks(30, 40, splits=True), []

    def compute(altered: pa.Table) -> pa.Table:
        seen.append(altered)
        return planted()(altered)

    verify_lookahead(bars, compute, cuts=1)
    factor = by_symbol(np.cumprod, "split_ratio")
    splits = pc.sum(pc.not_equal(bars["split_ratio"], 1)).as_py()
    split = [
        table
        for table in seen
        if len(table) == len(bars) and not table["split_ratio"].equals(bars["split_ratio"])
    ]
    assert len(split) == len(LATER_SPLITS)
    for table in split:
        assert abs(pc.sum(pc.not_equal(table["split_ratio"], 1)).as_py() - splits) <= 2
        for name in ("open", "high", "low", "close"):
            money = table[name].to_numpy() * factor(table)
            np.testing.assert_allclose(money, bars[name].to_numpy() * factor(bars), rtol=1e-12)
        shares = table["volume"].to_numpy() / factor(table)
        np.testing.assert_allclose(shares, bars["volume"].to_numpy() / factor(bars), rtol=1e-12)


def test_each_cut_is_a_recomputation() -> None:
    few, many = (verify_lookahead(walks(20, 20), cuts=cuts).recomputations for cuts in (1, 8))
    assert many - few == 7
    assert few > LAST_BARS


def test_a_result_without_a_row_a_bar_is_refused() -> None:
    def compute(bars: pa.Table) -> pa.Table:
        return planted()(bars.slice(1))

    with pytest.raises(ValueError, match="one row per bar"):
        verify_lookahead(walks(10), compute)


def test_nothing_to_prove_is_refused() -> None:
    with pytest.raises(InputError, match="no bars"):
        verify_lookahead(walks(3).slice(0, 0))
    with pytest.raises(InputError, match="at least once, not 0 times"):
        verify_lookahead(walks(3), cuts=0)
