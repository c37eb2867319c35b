"""The rows of a CSV or Parquet file, as columns by their positions, some rows at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from ingestion.bars.header import Role
from ingestion.bars.layout import CsvForm, Layout
from ingestion.base.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


ROWS_AT_ONCE = 1 << 18
"""Rows of a Parquet file that are read at once."""
BYTES_AT_ONCE = 1 << 24
"""Bytes of a CSV that are read at once: about as many rows."""


@dataclass(frozen=True)
class Table:
    """Some rows of a file."""

    columns: dict[int, Any]
    """Arrow columns of equal length by position in the header; from CSV all are text."""
    rows: NDArray[np.int64]
    """Row numbers, from 1 at the first row below the header; blank lines do not count."""
    broken: tuple[int, ...] = ()
    """Rows of a CSV that have more or fewer cells than its header."""


def read_tables(layout: Layout, wanted: Sequence[int]) -> Iterator[Table]:
    """Yield columns of a file by position, some rows at a time.

    A header that is repeated among the rows is left out, and so are notes: lines of one cell that
    begins with a letter.

    Raises
    ------
    InputError
        If the file cannot be read to its end.
    """
    try:
        if layout.form is None:
            yield from _tables_of_parquet(layout, wanted)
        else:
            yield from _tables_of_csv(layout, layout.form, wanted)
    except (pa.ArrowException, OSError, KeyError, UnicodeError, csv.Error) as error:
        raise InputError(f"{layout.path} cannot be read: {error}") from None


def _tables_of_parquet(layout: Layout, wanted: Sequence[int]) -> Iterator[Table]:
    names = {at: layout.header.names[at] for at in wanted}
    with layout.path.open("rb") as source:
        file = pq.ParquetFile(source, buffer_size=BYTES_AT_ONCE)
        done = 0
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(names.values())):
            table = pa.Table.from_batches([batch])
            columns = {at: plain_column(table[name]) for at, name in names.items()}
            yield Table(columns, np.arange(done + 1, done + table.num_rows + 1))
            done += table.num_rows


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as texts, numbers, dates or instants of µs; other types as they are."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain_column(column.cast(kind.value_type))
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_large_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            return column  # bytes that are no text: refused where they would be needed
    return column


def _tables_of_csv(layout: Layout, form: CsvForm, wanted: Sequence[int]) -> Iterator[Table]:
    # Read as text under made-up names: headers may repeat names that mean nothing here, and a bad
    # cell must cost its row, not the file.
    names = [f"c{at}" for at in range(len(layout.header.names))]
    columns = [names[at] for at in wanted]
    aside: list[int] = []
    broken: list[int] = []

    def set_aside(row: Any) -> str:
        aside.append(row.number - form.skip)
        if row.actual_columns > 1 or not row.text.lstrip('"# ')[:1].isalpha():
            broken.append(row.number - form.skip)
        return "skip"

    with (
        pa.input_stream(str(layout.path), compression="detect") as source,
        pacsv.open_csv(
            source,
            # With several threads the handler would not get the number of a broken row.
            read_options=pacsv.ReadOptions(
                column_names=names,
                skip_rows=form.skip,
                use_threads=False,
                block_size=BYTES_AT_ONCE,
                encoding=form.encoding,
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=form.delimiter, invalid_row_handler=set_aside
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), include_columns=columns
            ),
        ) as batches,
    ):
        done = 0
        for batch in batches:
            table = pa.Table.from_batches([batch])
            # The parser may be ahead of this batch: a row that it set aside is in it, or after it.
            every = np.arange(done + 1, done + table.num_rows + len(aside) + 1)
            rows = np.setdiff1d(every, aside)[: table.num_rows]
            done = int(rows[-1]) if len(rows) else done
            aside = [row for row in aside if row > done]
            between = tuple(row for row in broken if row <= done)
            broken = [row for row in broken if row > done]
            of_batch = {at: table[names[at]] for at in wanted}
            yield _without_headers(layout, Table(of_batch, rows, between))
        if broken:
            none = {at: pa.chunked_array([], pa.string()) for at in wanted}
            yield Table(none, np.array([], dtype=np.int64), tuple(broken))


def _without_headers(layout: Layout, table: Table) -> Table:
    """Leave out the rows that say what the header says."""
    at = layout.series[0].columns[Role.TIME][0]
    name = layout.header.names[at].strip()
    if at not in table.columns or not name or not layout.header.lines:
        return table
    times = pc.utf8_trim_whitespace(table.columns[at])
    if not pc.any(pc.equal(times, name)).as_py():
        return table
    kept = pc.fill_null(pc.not_equal(times, name), True)
    columns = {position: column.filter(kept) for position, column in table.columns.items()}
    return Table(columns, table.rows[kept.to_numpy()], table.broken)
