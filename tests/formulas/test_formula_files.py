"""A project's own formulas: loaded by path, computed beside the shipped ones, refused by place."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ingestion.base.errors import InputError
from ingestion.catalog.formula import Formula, beyond_limits
from ingestion.formulas import (
    FEATURES,
    LOCAL,
    SHIPPED,
    Bars,
    compute,
    compute_local_features,
    formula,
    load_formulas,
    shared,
)
from tests.declared import BY_CHOICE, LOCAL_1D, TV_TECHNICALS_1D
from tests.formulas.local_bars import random_walk, with_splits

GAP = '''\
"""Formulas of this project."""

from ingestion.formulas import Bars, Matrix, formula, ratio, shift


@formula("overnight_gap", "open ÷ previous close − 1", look_back=1, low=-1)
def overnight_gap(bars: Bars) -> Matrix:
    """Return the open over the close of the bar before - 1."""
    return ratio(bars.open, shift(bars.close, 1)) - 1
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "formulas").mkdir()
    return tmp_path / "formulas"


def test_a_file_is_all_that_a_formula_needs(folder: Path):
    (folder / "gaps.py").write_text(GAP)
    own = load_formulas(folder)
    assert list(own) == ["overnight_gap"]
    bars = random_walk(50, 1, gaps=False)
    features = compute(bars, [*LOCAL.values(), *own.values()])
    assert features.column_names == ["timestamp", "symbol", *FEATURES, "overnight_gap"]
    expected = bars["open"].to_numpy()[1:] / bars["close"].to_numpy()[:-1] - 1
    np.testing.assert_array_equal(features["overnight_gap"].to_numpy()[1:], expected)
    assert features["overnight_gap"].to_pylist()[0] is None
    assert features.drop_columns(["overnight_gap"]).equals(compute_local_features(bars))
    assert own["overnight_gap"].description == (
        f"overnight_gap in {folder / 'gaps.py'}, line 6: Return the open over the close of the bar "
        "before - 1."
    )
    assert own["overnight_gap"].place == f"{folder / 'gaps.py'}, line 6"


def test_formulas_of_a_list_are_found_and_imported_ones_are_not(folder: Path):
    (folder / "a.py").write_text(
        "from ingestion.formulas import formula, shift\n"
        "from ingestion.formulas.oscillators import rsi\n"
        "def momentum(n):\n"
        "    @formula(f'mom_{n}', 'close − close n bars ago', look_back=n, unit='price')\n"
        "    def of(bars):\n"
        "        return bars.close - shift(bars.close, n)\n"
        "    return of\n"
        "MOMENTA = [momentum(n) for n in (5, 10)]\n"
        "alias = MOMENTA[0]\n"
        "@formula('rsi_change', 'RSI − RSI of the bar before', look_back=15, recursive=True)\n"
        "def change(bars):\n"
        "    return rsi(bars) - shift(rsi(bars), 1)\n"
    )
    own = load_formulas(folder)
    assert list(own) == ["mom_5", "mom_10", "rsi_change"]
    values = compute(random_walk(40, 2), [*own.values(), SHIPPED["RSI"]])
    rsi = values["RSI"].to_numpy()
    np.testing.assert_array_equal(values["rsi_change"].to_numpy()[1:], rsi[1:] - rsi[:-1])


def test_no_folder_is_no_formula(tmp_path: Path):
    assert load_formulas(tmp_path / "formulas") == {}


def test_a_name_of_two_files_is_refused_with_both(folder: Path):
    (folder / "a.py").write_text(GAP)
    (folder / "b.py").write_text("# again\n" + GAP)
    with pytest.raises(InputError, match="overnight_gap") as caught:
        load_formulas(folder)
    for place in (f"{folder / 'a.py'}, line 6", f"{folder / 'b.py'}, line 7"):
        assert place in str(caught.value)


def test_a_name_of_a_shipped_formula_is_refused_with_both(folder: Path):
    (folder / "a.py").write_text(GAP.replace("overnight_gap", "RSI"))
    with pytest.raises(InputError, match="a formula RSI is declared in ") as caught:
        load_formulas(folder)
    assert f"{folder / 'a.py'}, line 6" in str(caught.value)
    assert SHIPPED["RSI"].place in str(caught.value)
    assert "oscillators.py, line " in SHIPPED["RSI"].place


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("look_back=1", "look_back=-1", "look_back is a number of bars"),
        ("look_back=1", "look_back='some'", "look_back is a number of bars"),
        ("look_back=1", "look_back=True", "look_back is a number of bars"),
        ("look_back=1", "look_back='all', recursive=True", "number of bars before the first"),
        ("look_back=1", "look_back=1, warm_up=2", "beyond look_back"),
        ("look_back=1", "look_back=1, warm_up=-1", "counted from 0"),
        ("low=-1", "low=2, high=1", "low 2 is above high 1"),
        (", look_back=1", "", "look_back"),
        ('"overnight_gap"', '"over night"', "without spaces"),
        ('"overnight_gap"', '""', "without spaces"),
        ('"open ÷ previous close − 1"', '""', "say in `meaning`"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(
    was: str, becomes: str, told: str, folder: Path
):
    (folder / "a.py").write_text(GAP.replace(was, becomes))
    with pytest.raises(InputError) as caught:
        load_formulas(folder)
    assert str(caught.value).startswith(f"{folder / 'a.py'}, line 6: ")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("bars.close[5] / 0 + 'x'", ": UFuncTypeError"),
        ("bars.vwap", ": AttributeError"),
        ("bars.close[:-1]", "its values have shape (39, 1), and the bars (40, 1)"),
        ("bars.close.mean()", "its values have shape ()"),
        ("None", "its values have shape ()"),
        ("['x']", ": ValueError"),
        ("bars.close.__setitem__(0, 1.0)", "read-only"),
        ("gap(bars)", "RecursionError"),
    ],
)
def test_a_formula_that_fails_is_named_with_file_and_line(body: str, told: str, folder: Path):
    path = folder / "a.py"
    path.write_text(
        "from ingestion.formulas import formula\n\n\n"
        f"@formula('gap', 'a gap', look_back=1)\ndef gap(bars):\n    return {body}\n"
    )
    with pytest.raises(InputError) as caught:
        compute(random_walk(40, 0), load_formulas(folder).values())
    assert str(caught.value).startswith(f"formula gap of {path}")
    assert told in str(caught.value)


def test_what_no_formula_defines_is_null_and_warns_of_nothing():
    @formula("odd", "logarithms of what has none", look_back=0)
    def odd(bars: Bars) -> np.ndarray:
        return np.log(bars.close - bars.close[0]) / (bars.close - bars.close)

    assert compute(random_walk(30, 0), [odd])["odd"].null_count == 30


def test_money_is_of_its_own_day():
    @formula("twice", "twice the close", look_back=0, unit="price")
    def twice(bars: Bars) -> np.ndarray:
        return 2 * bars.close

    bars = with_splits(random_walk(40, 3), {10: 3.0, 25: 0.1})
    expected = 2 * bars["close"].to_numpy()
    np.testing.assert_allclose(compute(bars, [twice])["twice"].to_numpy(), expected, rtol=1e-15)


def test_what_formulas_share_is_computed_once():
    calls = []

    @shared
    def counted(bars: Bars) -> np.ndarray:
        calls.append(1)
        return bars.close * 1

    both = [
        formula(name, "the close", look_back=0)(lambda bars: counted(bars)) for name in ("a", "b")
    ]
    compute(random_walk(40, 3), both)
    assert calls == [1]


def test_behind_a_missing_session_all_of_history_is_unknown():
    @formula("highest", "highest close so far", look_back="all", unit="price")
    def highest(bars: Bars) -> np.ndarray:
        return np.maximum.accumulate(bars.close, axis=0)

    bars = random_walk(40, 3)
    opened = bars["timestamp"].to_numpy()
    missing = np.where(np.arange(40) == 20, opened - 3_600, 0)
    values = compute(bars.append_column("missing_from", pa.array(missing)), [highest])
    assert [value is None for value in values["highest"].to_pylist()] == [False] * 20 + [True] * 20


def test_two_formulas_of_one_name_and_a_name_of_a_key_are_refused():
    twin, key = (
        formula(name, "another", look_back=0)(lambda bars: bars.close)
        for name in ("RSI", "timestamp")
    )
    with pytest.raises(InputError, match="a formula RSI is declared in"):
        compute(random_walk(5, 0), [SHIPPED["RSI"], twin])
    with pytest.raises(InputError, match="cannot be called timestamp"):
        compute(random_walk(5, 0), [key])


def test_no_formula_gives_the_keys_alone():
    assert compute(random_walk(5, 0), []).column_names == ["timestamp", "symbol"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_formula_alone_gives_the_bits_of_all_together(name: str):
    bars = pa.concat_tables([random_walk(260, 3), random_walk(90, 4, symbol="TEST:B")])
    assert compute(bars, [SHIPPED[name]])[name].equals(compute(bars, SHIPPED.values())[name])


def test_columns_and_declarations_agree():
    trend = {name for name in SHIPPED if name not in LOCAL}
    for group, names, others in (
        (LOCAL_1D, LOCAL.keys(), set()),
        (TV_TECHNICALS_1D, {n for n, each in LOCAL.items() if each.scanned}, set()),
        (BY_CHOICE["local_trend_1d"], trend, set()),
        (BY_CHOICE["tv_trend_1d"], trend, {"volume"}),
    ):
        assert {column.name for column in group.features} == names | others
        for column in group.features:
            if column.name in others:
                continue
            own = SHIPPED[column.name]
            for what in ("meaning", "unit", "low", "high"):
                assert getattr(column, what) == getattr(own, what), (column.name, what)
    parity = TV_TECHNICALS_1D.quality.parity
    assert parity
    for name in SHIPPED:
        assert beyond_limits(SHIPPED.values(), 0.05).of(name) == parity.max_beyond_share.of(name)


def test_declarations_say_what_kind_of_look_back_they_have():
    by_clock = Formula("x", "…", look_back=timedelta(days=7))
    assert (by_clock.follows_clock, by_clock.first_bar) == (True, 0)
    assert [name for name, each in LOCAL.items() if each.follows_clock] == ["Perf.W", "Perf.1M"]
    with pytest.raises(InputError, match="above 0"):
        Formula("x", "…", look_back=timedelta(0))


def test_bars_cannot_be_written_to():
    two = (1.0, 2.0)
    bars = Bars(open=two, high=two, low=two, close=two, volume=two)
    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 3


def test_declarations_need_numpy_alone(folder: Path):
    (folder / "gaps.py").write_text(GAP)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from ingestion.formulas import FEATURES, compute_local_features, load_formulas\n"
        "assert list(load_formulas(Path(sys.argv[1]))) == ['overnight_gap']\n"
        "assert len(FEATURES) == 17\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'pyarrow', 'pandas', 'feast', 'requests'}))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
