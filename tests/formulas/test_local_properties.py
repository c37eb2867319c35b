"""What holds for any bars: order, company, the future and history's layout change no bit."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_bars import constant, random_walk, with_columns, with_splits

from ingestion.formulas import FEATURES, compute_local_features, panel

BOUNDS = {
    "Recommend.All": (-1, 1),
    "Recommend.MA": (-1, 1),
    "Recommend.Other": (-1, 1),
    "RSI": (0, 100),
    "ADX": (0, 100),
    "Stoch.K": (0, 100),
    "Stoch.D": (0, 100),
    "volatility_20d": (0, np.inf),
    "Volatility.D": (0, np.inf),
    "returns_1d": (-1, np.inf),
    "momentum_60d": (-1, np.inf),
    "Perf.W": (-100, np.inf),
    "Perf.1M": (-100, np.inf),
}
FIRST_BAR = {
    "Volatility.D": 0,
    "returns_1d": 1,
    "Perf.W": 1,
    "Perf.1M": 1,
    "Recommend.MA": 9,
    "Recommend.Other": 11,
    "Recommend.All": 11,
    "RSI": 14,
    "Stoch.K": 15,
    "Stoch.D": 17,
    "CCI20": 19,
    "volatility_20d": 20,
    "MACD.macd": 25,
    "ADX": 27,
    "AO": 33,
    "MACD.signal": 33,
    "momentum_60d": 60,
}


def universe(lengths: tuple[int, ...] = (1, 40, 300, 75)) -> pa.Table:
    return pa.concat_tables(
        [random_walk(n, seed, symbol=f"TEST:S{seed}") for seed, n in enumerate(lengths)]
    )


def only(table: pa.Table, symbol: str) -> pa.Table:
    return table.filter(pc.equal(table["symbol"], symbol))


def same_bits(a: pa.Table, b: pa.Table) -> bool:
    """Whether two results agree in every bit; ``equals`` takes -0.0 for 0.0."""
    return a.equals(b) and all(
        np.array_equal(np.signbit(a[name].to_numpy()), np.signbit(b[name].to_numpy()))
        for name in FEATURES
    )


def test_result_has_the_promised_columns_and_order() -> None:
    bars = universe()
    result = compute_local_features(bars.append_column("source", pa.array(["x"] * len(bars))))
    assert result.column_names == ["timestamp", "symbol", *FEATURES]
    assert result.schema.types == [pa.int64(), pa.string(), *[pa.float64()] * 17]
    assert len(result) == len(bars)
    keys = list(zip(result["symbol"].to_pylist(), result["timestamp"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert set(result["timestamp"].to_pylist()) == set(bars["timestamp"].to_pylist())


def test_no_bars_give_no_rows() -> None:
    result = compute_local_features(universe().slice(0, 0))
    assert len(result) == 0
    assert result.column_names == ["timestamp", "symbol", *FEATURES]


def test_every_feature_begins_at_its_documented_bar() -> None:
    result = compute_local_features(random_walk(70, 1))
    first = {name: int(np.argmin(np.isnan(result[name].to_numpy()))) for name in FEATURES}
    assert first == FIRST_BAR
    assert all(result[n].null_count == FIRST_BAR[n] for n in FEATURES)


def test_shuffled_rows_give_the_same_result() -> None:
    bars = universe()
    order = np.random.default_rng(3).permutation(len(bars))
    assert same_bits(compute_local_features(bars), compute_local_features(bars.take(order)))


def test_chunked_and_dictionary_columns_give_the_same_result() -> None:
    bars = universe()
    split = pa.concat_tables([bars.slice(0, 100), bars.slice(100)])
    encoded = with_columns(split, symbol=split["symbol"].dictionary_encode())
    assert same_bits(compute_local_features(bars), compute_local_features(encoded))


@pytest.mark.parametrize("cells", [1, 500, 1 << 20])
def test_a_symbol_is_not_touched_by_its_company(
    monkeypatch: pytest.MonkeyPatch, cells: int
) -> None:
    bars = universe()
    monkeypatch.setattr(panel, "BLOCK_CELLS", cells)
    together = compute_local_features(bars)
    for symbol in pc.unique(bars["symbol"]).to_pylist():
        alone = compute_local_features(only(bars, symbol))
        assert same_bits(only(together, symbol), alone)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(known=st.integers(1, 259), seed=st.integers(0, 2**32 - 1))
def test_the_future_changes_nothing_earlier(known: int, seed: int) -> None:
    bars = with_splits(random_walk(260, seed), {50: 2.0, 140: 1.5, 200: 0.1})
    truth = compute_local_features(bars.slice(0, known))
    assert same_bits(compute_local_features(bars).slice(0, known), truth)


def test_a_later_split_changes_no_earlier_row() -> None:
    bars = random_walk(200, 9)
    without = compute_local_features(bars)
    with_split = compute_local_features(with_splits(bars, {150: 7.0}))
    assert same_bits(with_split.slice(0, 150), without.slice(0, 150))


def test_splits_of_one_change_no_bit() -> None:
    bars = universe()
    assert same_bits(
        compute_local_features(bars), compute_local_features(bars.drop_columns("split_ratio"))
    )


@pytest.mark.parametrize("seed", range(4))
def test_values_are_finite_and_within_bounds(seed: int) -> None:
    wild = random_walk(400, seed)
    scale = np.exp(np.random.default_rng(seed).normal(0, 1, 400))
    prices = {n: wild[n].to_numpy() * scale for n in ("open", "high", "low", "close")}
    result = compute_local_features(with_columns(wild, **prices))
    for name in FEATURES:
        values = result[name].drop_null().to_numpy()
        assert np.isfinite(values).all(), name
        low, high = BOUNDS.get(name, (-np.inf, np.inf))
        assert values.min() >= low, name
        assert values.max() <= high, name


@pytest.mark.parametrize("price", [1e-300, 1e300, 1.7e308])
def test_extreme_prices_give_null_rather_than_infinity(price: float) -> None:
    bars = random_walk(80, 2)
    ratio = price / bars["high"].to_numpy().max()
    prices = {n: bars[n].to_numpy() * ratio for n in ("open", "high", "low", "close")}
    result = compute_local_features(with_columns(bars, **prices))
    for name in FEATURES:
        assert np.isfinite(result[name].drop_null().to_numpy()).all(), name


def test_constant_prices_have_the_documented_result() -> None:
    last = compute_local_features(constant(260)).slice(259).to_pylist()[0]
    undefined = {"ADX", "CCI20", "Stoch.K", "Stoch.D"}
    assert {name for name in FEATURES if last[name] is None} == undefined
    assert last["RSI"] == 100
    rest = set(FEATURES) - undefined - {"RSI"}
    assert {last[name] for name in rest} == {0.0}


def test_the_only_bar_of_a_symbol_has_its_range_and_nothing_else() -> None:
    (row,) = compute_local_features(random_walk(1, 4)).to_pylist()
    assert {name for name in FEATURES if row[name] is not None} == {"Volatility.D"}


def test_input_is_left_as_it_was() -> None:
    bars = universe()
    copy = pa.Table.from_pydict(bars.to_pydict(), schema=bars.schema)
    compute_local_features(bars)
    assert bars.equals(copy)
