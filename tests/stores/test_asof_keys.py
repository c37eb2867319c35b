"""Keys of entity rows as integers: the same in one piece and in blocks, in a frame and a table."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.base.errors import InputError
from ingestion.plugins.offline import entities, key_codes
from ingestion.plugins.offline.entities import EntityRows
from ingestion.plugins.offline.key_codes import KeyCodes

TEXTS = st.lists(st.sampled_from([None, "", "a", "b", "é", "NASDAQ:AAPL"]), max_size=12)


def rows_of(values: list[object]) -> EntityRows:
    noon = [datetime(2026, 1, 16, 12, tzinfo=UTC)] * len(values)
    times = pd.Series(noon, dtype="datetime64[us, UTC]")
    return EntityRows.of(
        pd.DataFrame({"symbol": pd.Series(values, dtype=object), "event_timestamp": times})
    )


@pytest.fixture(scope="module", autouse=True, params=[1, 3, 100])
def _rows_at_once(request: pytest.FixtureRequest):
    with pytest.MonkeyPatch.context() as patch:
        for module in (entities, key_codes):
            patch.setattr(module, "KEYS_AT_ONCE", request.param)
        yield


@given(values=TEXTS)
def test_each_key_has_the_place_of_its_value_among_the_sorted_ones(values: list[object]):
    distinct = sorted({value for value in values if value is not None}, key=str.encode)
    right = [-1 if value is None else distinct.index(value) for value in values]
    rows = rows_of(values)
    for column in (
        rows.encoded_key("symbol", pa.string()),
        rows.key("symbol", pa.string()),
        pa.chunked_array([values], pa.string()),
    ):
        assert KeyCodes([column], len(values)).codes.tolist() == right


@given(values=TEXTS, more=st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_a_key_of_two_columns_tells_their_pairs_apart(values: list[object], more: list[int]):
    numbers = np.array(more[: len(values)], np.int64)
    columns = [rows_of(values).encoded_key("symbol", pa.string()), pa.chunked_array([numbers])]
    codes = KeyCodes(columns, len(values)).codes.tolist()
    pairs = list(zip(values, numbers.tolist(), strict=True))
    for pair, code in zip(pairs, codes, strict=True):
        assert (code == -1) == (pair[0] is None)
        assert code == -1 or [p == pair for p in pairs] == [c == code for c in codes]


@pytest.mark.parametrize("values", [[1, 1, 1.5], [None, None, "a"], [1, 2, None]], ids=str)
def test_values_of_several_types_are_what_they_are_in_one_column(values: list[object]):
    rows = rows_of(values)
    whole = rows.key("symbol", pa.string()).to_pylist()
    assert rows.encoded_key("symbol", pa.string()).to_pylist() == whole


def test_values_that_share_no_type_are_refused_by_the_columns_name():
    with pytest.raises(InputError, match="entity_df's column symbol is not of one type"):
        rows_of(["a", "b", "c", 1]).encoded_key("symbol", pa.string())
