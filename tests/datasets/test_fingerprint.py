"""Fingerprints tell cells apart, and nothing else."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from ingestion.base.columns import INSTANT
from ingestion.datasets.fingerprint import fingerprint

KINDS = {
    "symbol": (pa.string(), st.none() | st.sampled_from(["", "NYSE:A", "null"])),
    "number": (pa.float64(), st.none() | st.sampled_from([0.0, -0.0, 1.5, math.nan, math.inf])),
    "count": (pa.int64(), st.none() | st.sampled_from([0, 1, -1, 2**62])),
    "flag": (pa.bool_(), st.none() | st.booleans()),
    "at": (INSTANT, st.none() | st.datetimes(timezones=st.just(UTC))),
}
ROWS = st.lists(st.tuples(*(cells for _, cells in KINDS.values())), max_size=6)
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in KINDS.items()])


def table_of(rows: list[tuple]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [[] for _ in KINDS]
    arrays = [pa.array(each, kind) for each, (kind, _) in zip(columns, KINDS.values(), strict=True)]
    return pa.table(arrays, schema=SCHEMA)


def exactly(rows: list[tuple]) -> list[tuple]:
    """Rows with each cell as what it is to the bit."""
    return [tuple(f"{type(each)} {each!r}" for each in row) for row in rows]


@given(ROWS, ROWS, st.randoms())
def test_equal_cells_and_only_they_have_equal_fingerprints(one, other, chance):
    first, second = fingerprint([table_of(one)]), fingerprint([table_of(other)])
    assert (first.order == second.order) == (exactly(one) == exactly(other))
    assert (first.rows == second.rows) == (sorted(exactly(one)) == sorted(exactly(other)))
    mixed = chance.sample(one, len(one))
    assert fingerprint([table_of(mixed)]).rows == first.rows


@given(ROWS, st.integers(1, 3))
def test_the_layout_does_not_matter(rows, size):
    table = table_of(rows)
    pieces = [table.slice(n, size) for n in range(0, len(rows), size)]
    encoded = table.set_column(0, "symbol", table["symbol"].dictionary_encode())
    whole = fingerprint([table])
    assert fingerprint(pieces) == fingerprint([encoded]) == whole
    assert fingerprint([table.replace_schema_metadata({"a": "b"})]) == whole


def test_names_and_types_of_columns_matter():
    tables = [
        pa.table({"a": [1]}),
        pa.table({"b": [1]}),
        pa.table({"a": [1.0]}),
        pa.table({"a": ["1"]}),
        pa.table({"a": [1], "b": [1]}),
        pa.table({"b": [1], "a": [1]}),
        pa.table({"a": [datetime(1970, 1, 1, 0, 0, 0, 1, UTC)]}),
    ]
    assert len({fingerprint([each]) for each in tables}) == len(tables)


def test_a_row_that_is_there_twice_counts_twice():
    row = table_of([("NYSE:A", 1.0, 1, True, None)])
    assert fingerprint([row, row]).rows != fingerprint([row]).rows
    assert fingerprint([row, row]).rows != fingerprint([]).rows


def test_a_file_that_is_read_by_row_groups_has_the_same(tmp_path: Path):
    table = table_of([("NYSE:A", float(n), n, None, None) for n in range(10)])
    pq.write_table(table, tmp_path / "set.parquet", row_group_size=3)
    with pq.ParquetFile(tmp_path / "set.parquet") as file:
        groups = [file.read_row_group(n) for n in range(file.num_row_groups)]
    assert fingerprint(groups) == fingerprint([table])
