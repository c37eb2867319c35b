"""Columns go from and to Arrow without pandas exactly as Arrow's own conversions take them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.base.arrow import (
    empty_table,
    from_numpy,
    strings,
    text,
    to_numpy,
    to_objects,
    to_rows,
)

INSTANT = pa.timestamp("us", "UTC")
CUTS = st.integers(0, 5)


def cut(array: pa.Array, at: int) -> pa.ChunkedArray:
    """Return an array that begins inside its buffers, in pieces."""
    whole = pa.concat_arrays([array.slice(0, min(1, len(array))), array]).slice(min(1, len(array)))
    return pa.chunked_array([whole.slice(0, at), whole.slice(at)])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_texts(values: list[str]) -> None:
    array = strings(values)
    array.validate(full=True)
    assert array.equals(pa.array(values, pa.string()))
    assert [text(value).as_py() for value in values] == values


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.float64, np.bool_])
@given(st.data())
def test_numbers_both_ways(kind: type, data: st.DataObject) -> None:
    numbers = np.array(data.draw(st.lists(st.integers(-9, 9), max_size=20)), dtype=kind)
    array = from_numpy(numbers)
    array.validate(full=True)
    assert array.equals(pa.array(numbers))
    found = to_numpy(cut(array, data.draw(CUTS)))
    assert (found.tolist(), found.dtype) == (numbers.tolist(), numbers.dtype)


@given(st.lists(st.datetimes(timezones=st.just(UTC)), max_size=8), CUTS)
def test_instants(values: list[datetime], at: int) -> None:
    column = cut(pa.array(values, INSTANT), at)
    assert to_objects(column) == values
    assert to_numpy(column).tolist() == column.cast(pa.int64()).to_pylist()


def test_every_other_numpy_array() -> None:
    assert from_numpy(np.arange(8)[::2]).to_pylist() == [0, 2, 4, 6]
    assert to_numpy(pa.chunked_array([], pa.int64())).tolist() == []
    assert to_numpy(pa.array([True] * 9 + [False]).slice(8)).tolist() == [True, False]


@pytest.mark.parametrize("column", [pa.array([1, None]), pa.array(["a"]), pa.array([[1]])])
def test_what_numpy_has_no_array_for_is_refused(column: pa.Array) -> None:
    with pytest.raises(ValueError, match=r"no (array|number) of NumPy's"):
        to_numpy(column)


def test_rows() -> None:
    rows = [
        {"at": datetime(2026, 1, 16, 21, tzinfo=UTC), "symbol": "NASDAQ:AAPL", "rsi": 61.5},
        {"at": None, "symbol": None, "rsi": None},
    ]
    schema = pa.schema([("at", INSTANT), ("symbol", pa.string()), ("rsi", pa.float64())])
    assert to_rows(pa.Table.from_pylist(rows, schema=schema)) == rows
    assert to_rows(empty_table(schema)) == []
    assert empty_table(schema).equals(schema.empty_table())
