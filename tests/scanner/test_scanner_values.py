"""One row's values, by the type of their column."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.catalog import Column, Dtype
from ingestion.scanner.values import BadCell, BadRow, Cell, RowReader

NUMBER = Column("rsi", Dtype.DOUBLE, "a number", scanner="RSI")
TEXT = Column("sector", Dtype.STRING, "a text", scanner="sector")
WHOLE = Column("pricescale", Dtype.INT64, "a whole number", scanner="pricescale")
TIME = Column("bar_timestamp", Dtype.TIMESTAMP, "a time", scanner="time")
TRUTH = Column("is_primary", Dtype.BOOL, "a truth", scanner="is_primary")
YEAR_2100 = 4_102_444_800


def read(column: Column, value: Any) -> Any:
    (result,) = read_row([column], [value])
    return result


def read_row(columns: list[Column], values: list[Any]) -> tuple[Cell, ...]:
    """Read a row that is taken whole or not at all."""
    cells = RowReader(columns).read(values)
    for cell in cells:
        if isinstance(cell, BadCell):
            raise BadRow(cell.reason)
    return cells


@pytest.mark.parametrize("column", [NUMBER, TIME, TEXT, WHOLE, TRUTH])
def test_null_stays_null(column: Column) -> None:
    assert read(column, None) is None


@pytest.mark.parametrize(
    "value", [0, -0.0, 351, 1.5, -0.18181818, 5e-324, 1.7e308, 2**53, -(2**1000)]
)
def test_a_number_becomes_a_float(value: float) -> None:
    result = read(NUMBER, value)
    assert type(result) is float
    assert result == value


@pytest.mark.parametrize("column", [NUMBER, TIME])
@pytest.mark.parametrize(
    "value", [True, False, "49.36", "", "n/a", [], [49.36], {}, {"v": 1}, ["x" * 1000]]
)
def test_what_is_not_a_number_costs_the_row_and_is_named(column: Column, value: Any) -> None:
    with pytest.raises(BadRow, match=f"^{column.scanner}: .* where a number belongs$") as caught:
        read(column, value)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("column", [NUMBER, TIME])
@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 10**400, -(10**400), 10**4299, 2**1024]
)
def test_what_is_not_finite_costs_the_row_and_is_named(column: Column, value: float) -> None:
    with pytest.raises(BadRow, match=f"^{column.scanner}: .* where a number belongs$") as caught:
        read(column, value)
    assert len(str(caught.value)) < 100


def test_a_value_nested_deeper_than_python_recurses_costs_the_row() -> None:
    """A parser in a thread of its own has more stack left than who writes the message."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(BadRow, match=r"^RSI: "):
        read(NUMBER, value)


@pytest.mark.parametrize(
    ("seconds", "microseconds"),
    [
        (1_618_234_200, 1_618_234_200_000_000),
        (1_618_234_200.0, 1_618_234_200_000_000),
        (1_618_234_200.123456, 1_618_234_200_123_456),
        (1_618_234_200.999999, 1_618_234_200_999_999),
        (0.000001, 1),
        (1, 1_000_000),
        (YEAR_2100 - 1, (YEAR_2100 - 1) * 1_000_000),
    ],
)
def test_a_time_becomes_whole_microseconds(seconds: float, microseconds: int) -> None:
    result = read(TIME, seconds)
    assert type(result) is int
    assert result == microseconds


@given(st.integers(1, YEAR_2100 * 1_000_000 - 1))
def test_every_microsecond_survives_the_way_as_fractional_seconds(microseconds: int) -> None:
    seconds = float(f"{microseconds // 1_000_000}.{microseconds % 1_000_000:06}")
    assert read(TIME, seconds) == microseconds


@pytest.mark.parametrize(
    "seconds", [0, -1, -0.0, YEAR_2100, 1_618_234_200_000, 1_618_234_200_000_000, 1e300, 10**300]
)
def test_what_is_not_unix_seconds_costs_the_row(seconds: float) -> None:
    with pytest.raises(BadRow, match=r"^time: .* is not a time in Unix seconds$") as caught:
        read(TIME, seconds)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("value", ["", "Energy", "\u4e2d\u6587", "a" * 10_000])
def test_a_text_is_taken_as_it_is(value: str) -> None:
    assert read(TEXT, value) == value


@pytest.mark.parametrize("value", [5, 1.5, True, [], ["Energy"], {}])
def test_what_is_no_text_costs_the_row_and_is_named(value: Any) -> None:
    with pytest.raises(BadRow, match=r"^sector: .* where text belongs$"):
        read(TEXT, value)


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(BadRow, match=r"^sector: .* is not valid text$"):
        read(TEXT, "\ud800")


@pytest.mark.parametrize(("value", "number"), [(100, 100), (100.0, 100), (0, 0), (-1, -1)])
def test_a_whole_number_becomes_an_int(value: float, number: int) -> None:
    result = read(WHOLE, value)
    assert (type(result), result) == (int, number)


@pytest.mark.parametrize("value", [0.5, 2**53, -(2**60), 1e300])
def test_what_is_no_whole_number_costs_the_row_and_is_named(value: float) -> None:
    with pytest.raises(BadRow, match=r"^pricescale: .* where a whole number belongs$"):
        read(WHOLE, value)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2, 3]])
def test_a_row_of_another_width_is_refused(values: list[Any]) -> None:
    with pytest.raises(BadRow, match=f"{len(values)} values? for 2 columns"):
        read_row([NUMBER, TIME], values)


def test_values_come_in_the_order_of_the_columns() -> None:
    assert read_row([TIME, TEXT, NUMBER, WHOLE], [5, None, 0, 7]) == (5_000_000, None, 0.0, 7)


def test_one_name_is_asked_for_once_and_read_by_each_type() -> None:
    seconds = Column("open_second", "int64", "the same time", scanner="time")
    reader = RowReader([NUMBER, TIME, seconds, TIME])
    assert reader.names == ("RSI", "time")
    assert reader.read([1, 5]) == (1.0, 5_000_000, 5)


@pytest.mark.parametrize("value", [True, False])
def test_a_bool_is_true_or_false(value: bool) -> None:
    assert read(TRUTH, value) is value


@pytest.mark.parametrize("value", [0, 1, 1.0, "true", "", [], {}])
def test_what_is_no_bool_costs_the_row_and_is_named(value: Any) -> None:
    with pytest.raises(BadRow, match=r"^is_primary: .* where true or false belongs$"):
        read(TRUTH, value)


def test_a_category_takes_its_values_alone() -> None:
    label = Column("label", "string", values=("Buy", "Sell"), scanner="AnalystRating")
    assert (read(label, "Buy"), read(label, None)) == ("Buy", None)
    with pytest.raises(BadRow, match=r"^AnalystRating: 'Hold' is none of 'Buy, Sell'$"):
        read(label, "Hold")


def test_a_bad_cell_leaves_the_others_usable() -> None:
    number, text = RowReader([NUMBER, TEXT]).read(["n/a", "Energy"])
    assert number == BadCell("RSI: 'n/a' where a number belongs")
    assert text == "Energy"


@given(st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), max_size=3))
def test_any_row_is_read_or_refused(values: list[Any]) -> None:
    try:
        number, time = read_row([NUMBER, TIME], values)
    except BadRow:
        return
    assert number is None or math.isfinite(number)
    assert time is None or 0 <= time <= YEAR_2100 * 1_000_000
