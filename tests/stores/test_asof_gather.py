"""Values come to the questions that they answer."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs

from ingestion.base.columns import Column
from ingestion.plugins.offline import fetch
from ingestion.plugins.offline.fetch import Chosen, Gathered, row_numbers
from ingestion.plugins.offline.files import Location, SourceFile
from ingestion.plugins.offline.source import ParquetSource, Piece

MANY = {f"number {n}": pa.array([n, None, 2 * n, None, n + 1], pa.int64()) for n in range(9)}
"""More than share a byte for their nulls."""
COLUMNS = (
    *(Column(name, pa.int64()) for name in MANY),
    Column("float", pa.float64()),
    Column("short", pa.int16()),
    Column("text", pa.string()),
    Column("flag", pa.bool_()),
    Column("as stored", None),
)
VALUES = pa.table(
    MANY
    | {
        "float": pa.array([0.5, None, float("nan"), -0.0, 4.0]),
        "short": pa.array([1, 2, None, 4, 5], pa.int16()),
        "text": ["a", None, "", "d", "e"],
        "flag": [True, False, None, True, False],
        "as stored": pa.array([None, 1, 2, 3, 4], pa.int32()),
    }
)
"""The rows of each file; a file lies behind the one before in them, so that offsets are tried."""


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.none() | st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=40),
    st.booleans(),
)
def test_each_question_gets_the_values_of_its_row(wanted, whole_files):
    by_file = sorted((place for place, row in enumerate(wanted) if row), key=lambda n: wanted[n][0])
    waiting = np.full(len(wanted), -1, np.int32)
    waiting[by_file] = np.arange(len(by_file))
    answer = Gathered(COLUMNS, waiting, len(by_file))
    for file in (2, 0, 1):  # threads come in any order
        which = [n for n, place in enumerate(by_file) if wanted[place][0] == file]
        rows = [wanted[by_file[n]][1] for n in which]
        table = VALUES.slice(file, 3)
        if whole_files and which:
            places = slice(which[0], which[-1] + 1)
        else:
            places = np.array(which, np.int64)
        answer.put(places, table, np.array(rows, np.int64))
    columns = answer.columns()
    places = pa.array([None if row is None else row[0] + row[1] for row in wanted], pa.int64())
    for column, values in zip(COLUMNS, columns, strict=True):
        expected = VALUES[column.name].take(places).combine_chunks()
        assert values.type == expected.type or not by_file
        # As text: not a number is none, and the zeros differ.
        assert [repr(each) for each in values.to_pylist()] == [
            repr(each) for each in expected.to_pylist()
        ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.none() | st.tuples(st.integers(0, 300), st.integers(0, 2**31 - 1)), max_size=40),
    st.integers(1, 50),
)
def test_the_chosen_rows_wait_file_by_file_and_each_question_knows_where(wanted, block):
    numbers = np.array([-1 if row is None else (row[0] << 40) + row[1] for row in wanted], np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "_BLOCK", block)
        chosen = Chosen(numbers)
    in_order = sorted(
        (place for place, row in enumerate(wanted) if row), key=lambda n: wanted[n][0]
    )
    assert chosen.rows.tolist() == [wanted[place][1] for place in in_order]
    assert chosen.place.tolist() == [
        in_order.index(place) if row else -1 for place, row in enumerate(wanted)
    ]
    files = [row[0] for row in wanted if row]
    turned = np.random.default_rng(block).permutation(len(wanted)).astype(np.int32)
    by_turn = Chosen(numbers[turned], turned)
    in_turn = sorted((place for place in turned if wanted[place]), key=lambda n: wanted[n][0])
    assert by_turn.rows.tolist() == [wanted[place][1] for place in in_turn]
    assert by_turn.place[in_turn].tolist() == list(range(len(in_turn)))
    assert (by_turn.place < 0).tolist() == [row is None for row in wanted]
    assert by_turn.counts.tolist() == chosen.counts.tolist()
    assert chosen.counts.tolist() == [files.count(n) for n in range(max(files, default=-1) + 1)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), max_size=9)
    | st.lists(st.integers(0, 2), unique=True).map(
        lambda files: [(file, row) for file in sorted(files) for row in range(5)]
    )
)
def test_files_that_were_read_whole_answer_as_any_rows_do(wanted):
    numbers = np.array([_first_number(file) + row for file, row in wanted], np.int64)
    read = dict.fromkeys(range(3), VALUES)
    nowhere = ParquetSource(Location(fs.LocalFileSystem(), "nowhere"), "event")
    columns = fetch.fetch(nowhere, {}, Chosen(numbers), COLUMNS, read)
    for column, values in zip(COLUMNS, columns, strict=True):
        expected = VALUES[column.name].take(pa.array([row for _, row in wanted], pa.int64()))
        assert str(values.to_pylist()) == str(expected.to_pylist())  # NaN is NaN


def _first_number(file: int) -> int:
    of_file = SourceFile(file, "", {}, (0, 0), ("", 0))
    return int(row_numbers(Piece(of_file, (0, 0), None, 0), 1)[0])
