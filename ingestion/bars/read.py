"""Reading vendors' files: CSV or Parquet in, columns by role out, nothing judged yet.

A file is read in batches of rows, so that its size does not matter.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from ingestion.bars.times import Times
from ingestion.bars.vendors import NEEDED, Role, recognise
from ingestion.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CSV = frozenset({".csv", ".txt", ".tsv"})
_PARQUET = frozenset({".parquet", ".pq"})
_HEADER_BYTES = 1 << 16
_ROWS = 1 << 18
"""Rows of a Parquet file that are read at once."""
_BLOCK = 1 << 24
"""Bytes of a CSV that are read at once: about as many rows."""
_NOTHING = frozenset({"", "null", "none", "nan", "na", "n/a", "-"})
"""What vendors write where they have no number."""


@dataclass(frozen=True)
class VendorFile:
    """The columns of a file, or of a batch of its rows, that mean something to the import."""

    path: Path
    columns: dict[Role, Any]
    """Arrow columns of equal length; from CSV all are text."""
    rows: NDArray[np.int64]
    """Row numbers, from 1 at the first row below the header; blank lines do not count."""
    broken: tuple[int, ...] = ()
    """Rows of a CSV that have more or fewer cells than its header."""

    def __len__(self) -> int:
        return len(self.rows)

    def times(self) -> Times:
        """Read the time column."""
        encoded = self._encoded(Role.TIME)
        return Times.of(self._distinct(encoded, "time"), _indices(encoded))

    def symbols(self) -> tuple[list[str], NDArray[np.int64]] | None:
        """Return the distinct vendor names and each row's index into them, −1 for none.

        None if the file has no such column.
        """
        if Role.SYMBOL not in self.columns:
            return None
        encoded = self._encoded(Role.SYMBOL)
        distinct = self._distinct(encoded, "symbol")
        names = ["" if name is None else str(name).strip() for name in distinct]
        return names, _indices(encoded)

    def numbers(self, role: Role) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Read a column of numbers.

        Returns
        -------
        tuple
            The values, NaN where there is none, and which of them are there but unreadable.
        """
        column = self.columns[role]
        unreadable = np.zeros(len(self), dtype=bool)
        try:
            values = column.cast(pa.float64(), safe=False)
        except pa.ArrowException:
            if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
                raise InputError(
                    f"{self.path}: column {role} holds {column.type}, not numbers"
                ) from None
            return _numbers_of_texts(column.to_pylist())
        # A copy: what comes from Arrow is read-only.
        return np.array(values.to_numpy(), dtype=np.float64), unreadable

    def _distinct(self, encoded: Any, what: str) -> list[Any]:
        try:
            values: list[Any] = encoded.dictionary.to_pylist()
        except (ValueError, OverflowError, KeyError) as error:  # the last: an unknown zone
            raise InputError(f"{self.path}: a {what} cannot be read: {error}") from None
        return values

    def _encoded(self, role: Role) -> Any:
        column = self.columns[role]
        try:
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
                column = column.cast(pa.string())
            if pa.types.is_timestamp(column.type):
                column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
            return column.combine_chunks().dictionary_encode()
        except pa.ArrowException as error:
            raise InputError(f"{self.path}: column {role} cannot be read: {error}") from None


def read_batches(path: Path, needed: Sequence[Role] = NEEDED) -> Iterator[VendorFile]:
    """Yield the columns that matter of a CSV (also ``.csv.gz``) or Parquet file, rows by rows.

    Raises
    ------
    InputError
        If the file cannot be read, is of another kind, lacks a needed column, or holds no rows.
    """
    kind = Path(path.name.removesuffix(".gz")).suffix.lower()
    if kind not in _CSV | _PARQUET:
        raise InputError(f"{path} is neither .csv nor .parquet")
    is_empty = True
    try:
        for batch in (_csv_batches if kind in _CSV else _parquet_batches)(path, needed):
            if len(batch) or batch.broken:
                is_empty = False
                yield batch
    except (pa.ArrowException, OSError, KeyError, UnicodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if is_empty:
        raise InputError(f"{path} holds no rows")


def read_vendor_file(path: Path, needed: Sequence[Role] = NEEDED) -> VendorFile:
    """Read a whole file, a small one; see :func:`read_batches`."""
    batches = list(read_batches(path, needed))
    table = pa.concat_tables(
        pa.table({str(role): column for role, column in batch.columns.items()}) for batch in batches
    )
    return VendorFile(
        path,
        {role: table[str(role)] for role in batches[0].columns},
        np.concatenate([batch.rows for batch in batches]),
        tuple(row for batch in batches for row in batch.broken),
    )


def _parquet_batches(path: Path, needed: Sequence[Role]) -> Iterator[VendorFile]:
    with path.open("rb") as source:
        file = pq.ParquetFile(source, buffer_size=_BLOCK)
        header = file.schema_arrow.names
        roles = recognise(path, header, needed)
        done = 0
        for batch in file.iter_batches(_ROWS, columns=[header[at] for at in roles.values()]):
            table = pa.Table.from_batches([batch])
            columns = {role: table[header[at]] for role, at in roles.items()}
            yield VendorFile(path, columns, np.arange(done + 1, done + table.num_rows + 1))
            done += table.num_rows


def _csv_batches(path: Path, needed: Sequence[Role]) -> Iterator[VendorFile]:
    with pa.input_stream(str(path), compression="detect") as start:
        text = start.read(_HEADER_BYTES).decode("utf-8-sig", errors="replace")
    line = re.split(r"\r\n|\r|\n", text, maxsplit=1)[0]
    delimiter = max(",;\t", key=line.count)
    header = next(csv.reader([line], delimiter=delimiter), [])
    roles = recognise(path, header, needed)
    # Read as text under made-up names: headers may repeat names that mean nothing here, and a bad
    # cell must cost its row, not the file.
    names = [f"c{at}" for at in range(len(header))]
    wanted = [names[at] for at in roles.values()]
    broken: list[int] = []

    def set_aside(row: Any) -> str:
        broken.append(row.number - 1)
        return "skip"

    with (
        pa.input_stream(str(path), compression="detect") as source,
        pacsv.open_csv(
            source,
            # In one thread, else a broken row does not know its number.
            read_options=pacsv.ReadOptions(
                column_names=names, skip_rows=1, use_threads=False, block_size=_BLOCK
            ),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, invalid_row_handler=set_aside),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.string()), include_columns=wanted
            ),
        ) as batches,
    ):
        done = 0
        for batch in batches:
            table = pa.Table.from_batches([batch])
            # The parser may be ahead of this batch: its broken rows lie between, or behind it.
            every = np.arange(done + 1, done + table.num_rows + len(broken) + 1)
            rows = np.setdiff1d(every, broken)[: table.num_rows]
            done = int(rows[-1]) if len(rows) else done
            between = tuple(row for row in broken if row <= done)
            del broken[: len(between)]
            columns = {role: table[names[at]] for role, at in roles.items()}
            yield VendorFile(path, columns, rows, between)
        if broken:
            none = {role: pa.chunked_array([], pa.string()) for role in roles}
            yield VendorFile(path, none, np.array([], dtype=np.int64), tuple(broken))


def _indices(encoded: Any) -> NDArray[np.int64]:
    return np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _numbers_of_texts(texts: list[str | None]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values = np.full(len(texts), np.nan)
    unreadable = np.zeros(len(texts), dtype=bool)
    for at, text in enumerate(texts):
        plain = (text or "").strip()
        if plain.lower() in _NOTHING:
            continue
        try:
            values[at] = float(plain)
        except ValueError:
            unreadable[at] = True
    return values, unreadable
