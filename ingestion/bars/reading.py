"""Vendors' files: CSV or Parquet in, columns by role out, nothing judged yet.

A file is read up to three times, some rows at a time, so that its size does not matter:

1. its layout is recognised from its beginning (:mod:`ingestion.bars.layout`)
2. a file that names no symbol is refused if several instruments seem to be in it
3. :mod:`ingestion.bars.survey` learns what only all cells together show: the order of day and
   month, the decimal mark, whether an instrument has any volume
4. :func:`read_batches` yields its rows
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ingestion.bars.cells import Comma, Times, read_numbers
from ingestion.bars.header import NEEDED, PRICES, Role
from ingestion.bars.layout import read_tables, recognise_layout
from ingestion.bars.survey import Survey, demand_one_instrument, distinct_values, survey
from ingestion.base.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class VendorFile:
    """The columns of a file, or of a batch of its rows, that mean something to the import."""

    path: Path
    """Of a bar source it is the source's name, and whose bars it was asked for."""
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

    def filter(self, kept: NDArray[np.bool_]) -> VendorFile:
        """Return some of the rows, by a mask."""
        if kept.all():
            return self
        mask = pa.array(kept)
        columns = {role: column.filter(mask) for role, column in self.columns.items()}
        return replace(self, columns=columns, rows=self.rows[kept])

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
        distinct, which = distinct_values(self.path, Role.TIME, self.columns[Role.TIME])
        return Times.of(distinct, which, self.survey.order, self.date_format)

    def symbols(self) -> tuple[list[str], NDArray[np.int64]] | None:
        """Return the distinct vendor names and each row's index into them, −1 for none.

        None if nothing in the file names its instrument.
        """
        if self.name is not None:
            return [self.name], np.zeros(len(self), dtype=np.int64)
        if Role.SYMBOL not in self.columns:
            return None
        distinct, which = distinct_values(self.path, Role.SYMBOL, self.columns[Role.SYMBOL])
        return ["" if name is None else str(name).strip() for name in distinct], which

    def numbers(self, role: Role) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Read a column of numbers.

        Returns
        -------
        tuple
            The values, NaN where there is none, and which of them are there but unreadable.
        """
        column = self.columns[role]
        is_text = pa.types.is_string(column.type)
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
        return np.array(values.to_numpy(), dtype=np.float64), np.zeros(len(self), dtype=bool)


def read_batches(
    path: Path, needed: Sequence[Role] = NEEDED, date_format: str | None = None
) -> Iterator[VendorFile]:
    """Yield the known columns of a CSV (also ``.csv.gz``) or Parquet file, some rows at a time.

    If each instrument has columns of its own, every batch of rows comes once per instrument.

    Raises
    ------
    InputError
        If the file cannot be read, is of another kind, lacks a needed column, has no rows, or
        contains several instruments and nothing says which row is of which.
    """
    layout = recognise_layout(path, needed)
    demand_one_instrument(layout)
    surveyed = survey(layout, date_format)
    wanted = sorted({found[0] for each in layout.series for found in each.columns.values()})
    is_empty = True
    for table in read_tables(layout, wanted):
        for series in layout.series:
            columns = {role: table.columns[found[0]] for role, found in series.columns.items()}
            broken = table.broken if series is layout.series[0] else ()
            batch = VendorFile(
                path, columns, table.rows, broken, series.name, surveyed, date_format
            )
            if len(layout.series) > 1:
                batch = _with_any_price(batch)
            if len(batch) or batch.broken:
                is_empty = False
                yield batch
    if is_empty:
        raise InputError(f"{path} has no rows")


def _with_any_price(file: VendorFile) -> VendorFile:
    """Leave out rows without any price: days on which only other instruments were traded."""
    empty = np.ones(len(file), dtype=bool)
    for role in PRICES:
        values, unreadable = file.numbers(role)
        empty &= np.isnan(values) & ~unreadable
    return file.filter(~empty)
