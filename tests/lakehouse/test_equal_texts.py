"""Texts that lie in a file as in the file before are not decoded again, and are the same texts."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from ingestion.base.columns import Column, read_columns, widened

COLUMNS = [Column(name, pa.string()) for name in ("symbol", "source")]
COLUMNS.insert(1, Column("close", pa.int64()))

texts = st.lists(st.sampled_from(["", "A", "B", "é", None]), min_size=3, max_size=3)
files = st.lists(
    st.tuples(
        texts,
        texts,
        st.sampled_from(["zstd", "snappy", "none"]),
        st.booleans(),
        st.sampled_from([1, 2, 3]),
        st.permutations(["symbol", "close", "source"]),
    ),
    max_size=8,
)


def content_of(table: pa.Table, **how: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **how)
    return sink.getvalue()


def read(content: bytes, columns: list[Column]) -> pa.Table:
    file = io.BytesIO(content)
    return read_columns(pq.ParquetFile(file), Path("x"), columns, widened, content=file)


@given(files, st.permutations(COLUMNS))
def test_each_file_reads_as_it_reads_alone(
    several: list[tuple[list[str], list[str], str, bool, int, list[str]]], columns: list[Column]
) -> None:
    for symbols, sources, compression, dictionary, rows, order in several:
        table = pa.table({"symbol": symbols, "source": sources, "close": [1, 2, 3]}).select(order)
        table = table.cast(pa.schema([(n, "int64" if n == "close" else "string") for n in order]))
        content = content_of(
            table, compression=compression, use_dictionary=dictionary, row_group_size=rows
        )
        assert read(content, columns) == table.select([each.name for each in columns])
        (only, *_) = columns
        assert read(content, [only]) == table.select([only.name])


def test_equal_texts_are_decoded_once() -> None:
    first, second = (
        content_of(
            pa.table({"symbol": ["NYSE:A", "NYSE:B"], "source": ["x", "x"], "close": [n, n]})
        )
        for n in (1, 2)
    )
    before, after = read(first, COLUMNS), read(second, COLUMNS)
    assert after["close"].to_pylist() == [2, 2]
    address = [each["symbol"].chunk(0).buffers()[2].address for each in (before, after)]
    assert address[0] == address[1]
