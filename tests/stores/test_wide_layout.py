"""How values lie in a row of the wide store."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.plugins.online.layout import Layout, Values, convert, layout_from_text

WORDS = {
    "DOUBLE": st.floats(width=64),
    "FLOAT": st.floats(width=32),
    "INT32": st.integers(-(2**31), 2**31 - 1),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "BOOL": st.integers(0, 1),
    "UNIX_TIMESTAMP": st.integers(-(2**55), 2**55),
}


def bits(value: object) -> object:
    """Tell values apart to the bit: a NaN equals itself, and -0.0 is not 0.0."""
    return struct.pack("<d", value) if isinstance(value, float) else value


@st.composite
def tables(draw: st.DrawFn) -> tuple[Layout, dict[str, list[object]], int]:
    kinds = draw(st.lists(st.sampled_from(sorted(WORDS)), min_size=1, max_size=70))
    count = draw(st.integers(0, 4))
    layout = Layout.of((f"f{at}", kind) for at, kind in enumerate(kinds))
    values = {
        name: draw(st.lists(st.none() | WORDS[kind], min_size=count, max_size=count))
        for name, kind in layout.types
    }
    return layout, values, count


@given(tables(), st.data())
def test_any_features_come_back_bit_for_bit_in_any_order(table, data):
    layout, lists, count = table
    values = {name: Values.of(layout.type_of[name], items) for name, items in lists.items()}
    words = layout.pack(values, count)
    assert len(words) == count
    assert all(len(row) == 8 * layout.width for row in words)
    names = data.draw(st.permutations(sorted(lists)).map(lambda names: names[: len(names) // 2]))
    for name, unpacked in layout.unpack(words, names).items():
        assert [bits(v) for v in unpacked.to_list()] == [bits(v) for v in lists[name]]


def test_a_row_without_values_is_all_zero():
    layout = Layout.of((f"f{at}", "DOUBLE") for at in range(65))
    nulls = {name: Values.nulls("DOUBLE", 1) for name, _ in layout.types}
    assert layout.pack(nulls, 1) == [layout.null_words] == [bytes(8 * 67)]


def test_what_lies_under_a_null_does_not_show_in_the_words():
    layout = Layout.of([("x", "DOUBLE")])
    under = Values("DOUBLE", np.array([3.5]), np.array([False]))
    assert layout.pack({"x": under}, 1) == [layout.null_words]


def test_a_layout_survives_being_written_down():
    layout = Layout.of([('odd "name".x', "DOUBLE"), ("f", "STRING_LIST"), ("ü", "BYTES")])
    assert layout_from_text(layout.to_text()) == layout
    assert list(layout.words) == ['odd "name".x']
    assert list(layout.columns) == ["f", "ü"]


@pytest.mark.parametrize(
    ("before", "after", "items", "kept"),
    [
        ("INT32", "INT64", [-5, None, 2**31 - 1], [-5, None, 2**31 - 1]),
        ("INT64", "INT32", [7, 2**31, -(2**31), None], [7, None, -(2**31), None]),
        ("INT64", "DOUBLE", [2**53, 2**53 + 1, 2**63 - 1], [2.0**53, None, None]),
        ("INT64", "DOUBLE", [-(2**63)], [-(2.0**63)]),
        ("DOUBLE", "INT64", [3.0, 3.5, math.nan, math.inf, 2.0**63], [3, None, None, None, None]),
        ("DOUBLE", "FLOAT", [0.5, 0.1, 1e300], [0.5, None, None]),
        ("DOUBLE", "FLOAT", [math.nan, -math.inf], [math.nan, -math.inf]),
        ("FLOAT", "DOUBLE", [0.5, None], [0.5, None]),
        ("BOOL", "INT64", [1, 0, None], [1, 0, None]),
        ("INT64", "BOOL", [1, 0, 2], [1, 0, None]),
        ("UNIX_TIMESTAMP", "INT64", [5], [None]),
        ("STRING", "DOUBLE", ["5"], [None]),
        ("DOUBLE", "STRING", [5.0], [None]),
    ],
)  # fmt: skip
def test_a_change_of_type_keeps_what_the_new_type_holds_exactly(before, after, items, kept):
    changed = convert(Values.of(before, items), after)
    assert changed.type == after
    assert [bits(v) for v in changed.to_list()] == [bits(v) for v in kept]


@given(st.lists(st.floats() | st.none()), st.sampled_from(sorted(set(WORDS) - {"UNIX_TIMESTAMP"})))
def test_what_a_change_of_type_keeps_is_equal_to_what_was_there(items, kind):
    for before, after in zip(
        items, convert(Values.of("DOUBLE", items), kind).to_list(), strict=True
    ):
        assert after is None or after == before or (math.isnan(after) and math.isnan(before))
