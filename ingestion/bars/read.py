"""Reading vendors' files: CSV or Parquet in, columns by role out, nothing judged yet.

How a file is laid out is found out first (:mod:`ingestion.bars.layout`), then what only all of its
cells together tell (:mod:`ingestion.bars.survey`); its rows are read in batches, so that its size
does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ingestion.bars.cells import Comma, Times, read_numbers
from ingestion.bars.instruments import demand_one_instrument
from ingestion.bars.layout import NEEDED, PRICES, Role, Series, recognise_layout
from ingestion.bars.survey import Survey, survey
from ingestion.bars.tables import Table, read_tables
from ingestion.base.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    name: str | None = None
    """The vendor's name of the instrument, where the header has it."""
    survey: Survey = field(default_factory=Survey)
    date_format: str | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def lacks_volume(self) -> NDArray[np.bool_]:
        """Return, for each row, whether its instrument has no volume in the whole file."""
        without = self.survey.without_volume
        if self.name in without or not without or (of_file := self.symbols()) is None:
            return np.full(len(self), self.name in without)
        names, which = of_file
        lacking: NDArray[np.bool_] = np.array([*(name in without for name in names), False])[which]
        return lacking

    def times(self) -> Times:
        """Read the time column."""
        encoded = self._encoded(Role.TIME)
        distinct = self._distinct(encoded, "time")
        return Times.of(distinct, _indices(encoded), self.survey.order, self.date_format)

    def symbols(self) -> tuple[list[str], NDArray[np.int64]] | None:
        """Return the distinct vendor names and each row's index into them, −1 for none.

        None if nothing in the file names its instrument.
        """
        if self.name is not None:
            return [self.name], np.zeros(len(self), dtype=np.int64)
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
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        unreadable = np.zeros(len(self), dtype=bool)
        try:
            # With a decimal comma "1.234" is no number as it stands.
            if is_text and self.survey.comma is Comma.DECIMAL:
                raise pa.ArrowInvalid
            values = column.cast(pa.float64(), safe=False)
        except pa.ArrowException:
            if not is_text:
                raise InputError(
                    f"{self.path}: column {role} has {column.type}, not numbers"
                ) from None
            texts = column.to_pylist()
            return read_numbers(texts, self.survey.comma, as_volume=role is Role.VOLUME)
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


def read_batches(
    path: Path, needed: Sequence[Role] = NEEDED, date_format: str | None = None
) -> Iterator[VendorFile]:
    """Yield the columns that matter of a CSV (also ``.csv.gz``) or Parquet file, rows by rows.

    Of a file that has a column for each price of each instrument, every batch comes once for each.

    Raises
    ------
    InputError
        If the file cannot be read, is of another kind, lacks a needed column, has no rows, or
        holds several instruments of which nothing says which row is whose.
    """
    layout = recognise_layout(path, needed)
    demand_one_instrument(layout)
    surveyed = survey(layout, date_format)
    wanted = sorted({found[0] for each in layout.series for found in each.columns.values()})
    is_empty = True
    for table in read_tables(layout, wanted):
        for series in layout.series:
            batch = _of_series(path, series, table, surveyed, date_format)
            if len(layout.series) > 1:
                batch = _where_any(batch)
            if series is not layout.series[0]:
                batch = replace(batch, broken=())
            if len(batch) or batch.broken:
                is_empty = False
                yield batch
    if is_empty:
        raise InputError(f"{path} has no rows")


def read_vendor_file(
    path: Path, needed: Sequence[Role] = NEEDED, date_format: str | None = None
) -> VendorFile:
    """Read a whole file, a small one that is no table of many instruments side by side.

    See :func:`read_batches`.
    """
    batches = list(read_batches(path, needed, date_format))
    table = pa.concat_tables(
        pa.table({str(role): column for role, column in batch.columns.items()}) for batch in batches
    )
    return VendorFile(
        path,
        {role: table[str(role)] for role in batches[0].columns},
        np.concatenate([batch.rows for batch in batches]),
        tuple(row for batch in batches for row in batch.broken),
        batches[0].name,
        batches[0].survey,
        date_format,
    )


def _of_series(
    path: Path, series: Series, table: Table, surveyed: Survey, date_format: str | None
) -> VendorFile:
    columns = {role: table.columns[found[0]] for role, found in series.columns.items()}
    return VendorFile(path, columns, table.rows, table.broken, series.name, surveyed, date_format)


def _where_any(file: VendorFile) -> VendorFile:
    """Leave out rows without any price: days on which others were traded."""
    empty = np.ones(len(file), dtype=bool)
    for role in PRICES:
        values, unreadable = file.numbers(role)
        empty &= np.isnan(values) & ~unreadable
    if not empty.any():
        return file
    kept = pa.array(~empty)
    columns = {role: column.filter(kept) for role, column in file.columns.items()}
    return replace(file, columns=columns, rows=file.rows[~empty])


def _indices(encoded: Any) -> NDArray[np.int64]:
    return np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
