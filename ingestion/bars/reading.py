"""Vendors' files: CSV or Parquet in, columns by role out, nothing judged yet.

A file is read up to three times, some rows at a time, so that its size does not matter:

1. its layout is recognised from its beginning (:mod:`ingestion.bars.layout`)
2. a file that names no symbol is refused if several instruments seem to be in it
3. :func:`survey` learns what only all cells together show: the order of day and month, the decimal
   mark, whether an instrument has any volume
4. :func:`read_batches` yields its rows
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from ingestion.bars.cells import (
    EMPTY_CELLS,
    Comma,
    Order,
    Times,
    read_numbers,
    settle_comma,
    settle_order,
)
from ingestion.bars.instruments import column_of_instruments, may_name
from ingestion.bars.layout import (
    NEEDED,
    PRICES,
    SPELLINGS,
    CsvForm,
    Layout,
    Role,
    Series,
    recognise_layout,
)
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


_YEAR_LAST = r"^\s*\d{1,2}[\s./_-]\d{1,2}[\s./_-](\d{4}|\d{2})([^\d]|$)"
MARKED_NUMBER = r",|\..*\."
_POINT = r"^\D*\d+\.(\d{1,2}|\d{4,})\s*$"
_EMPTY = sorted(EMPTY_CELLS - {""})


@dataclass(frozen=True)
class Survey:
    """How the cells of a file are to be read."""

    order: Order | None = None
    """Of dates that are numbers alone; None where no date proves one."""
    comma: Comma | None = None
    """What a comma in a number means; None where that is not known."""
    without_volume: frozenset[str | None] = frozenset()
    """Names of the series, and of a column of symbols the symbols, that have no volume at all."""


def survey(layout: Layout, form: str | None = None) -> Survey:
    """Go through a file once.

    Parameters
    ----------
    form
        Of its dates, where the user gave one: then nothing has to be proved.

    Raises
    ------
    InputError
        If the file cannot be read, its dates are of two orders, or columns of one name differ.
    """
    roles = {Role.TIME, *PRICES, Role.VOLUME}
    wanted = {
        at
        for series in layout.series
        for role, found in series.columns.items()
        if role in roles or len(found) > 1
        for at in found
    }
    dates: dict[str, None] = {}
    marked: dict[str, None] = {}
    dots = False
    with_volume: set[str | None] = set()
    is_partial = False
    first = True
    for table in read_tables(layout, sorted(wanted)):
        for series in layout.series:
            _compare_repeated(layout, series, table)
            if form is None:
                dates |= distinct_matching(table.columns[series.columns[Role.TIME][0]], _YEAR_LAST)
            for role in (*PRICES, Role.VOLUME):
                if role not in series.columns:
                    continue
                column = table.columns[series.columns[role][0]]
                marked |= distinct_matching(column, MARKED_NUMBER, as_shapes=True)
                # Whether prices have points is seen in the first rows.
                dots = dots or (first and bool(distinct_matching(column, _POINT)))
            if Role.VOLUME in series.columns:
                volume = has_value(table.columns[series.columns[Role.VOLUME][0]])
                is_partial = is_partial or not pc.all(volume).as_py()
                if series.name not in with_volume and pc.any(volume).as_py():
                    with_volume.add(series.name)
        first = False
    try:
        order = settle_order(dates)
    except ValueError as error:
        raise InputError(
            f"{layout.path}: its dates {error}: give --date-format, such as {Order.DAY_FIRST}"
        ) from None
    is_english = layout.form is not None and layout.form.delimiter == ","
    comma = settle_comma(marked, dots=dots, default=Comma.THOUSANDS if is_english else None)
    without = {series.name for series in layout.series} - with_volume
    if is_partial and not without:
        without |= _symbols_without_volume(layout)
    return Survey(order, comma, frozenset(without))


def _compare_repeated(layout: Layout, series: Series, table: Table) -> None:
    """Refuse columns of one name that differ: only the first of them is read."""
    for found in series.columns.values():
        for other in found[1:]:
            first, second = table.columns[found[0]], table.columns[other]
            # An empty cell does not contradict the other one.
            differ = pc.fill_null(pc.not_equal(_stripped(first), _stripped(second)), False)
            for at in np.flatnonzero(differ.to_numpy(zero_copy_only=False)).tolist():
                pair = first[at].as_py(), second[at].as_py()
                with suppress(ValueError):
                    if float(pair[0]) == float(pair[1]):
                        continue
                raise InputError(
                    f"{layout.path} has two columns {layout.header.names[found[0]]!r} that "
                    f"differ, first in row {table.rows[at]} ({pair[0]}, {pair[1]}); remove one "
                    "of them"
                )


def _stripped(column: Any) -> Any:
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _symbols_without_volume(layout: Layout) -> set[str]:
    """Go through a file once more for the symbols all of whose cells of volume are empty."""
    (series, *_) = layout.series
    if Role.SYMBOL not in series.columns:
        return set()
    symbol, volume = (series.columns[role][0] for role in (Role.SYMBOL, Role.VOLUME))
    every: set[str | None] = set()
    filled: set[str | None] = set()
    for table in read_tables(layout, sorted((symbol, volume))):
        names = table.columns[symbol]
        with_volume = names.filter(has_value(table.columns[volume]))
        every.update(_distinct(layout.path, Role.SYMBOL, names)[0])
        filled.update(_distinct(layout.path, Role.SYMBOL, with_volume)[0])
    return {str(name).strip() for name in every - filled if name is not None}


def _distinct(path: Path, role: Role, column: Any) -> tuple[list[Any], NDArray[np.int64]]:
    """Return the distinct values of a column, and each row's index into them, −1 for none.

    Raises
    ------
    InputError
        If the column contains lists and the like, or a time beyond Python's or of an unknown zone.
    """
    try:
        encoded = column.combine_chunks().dictionary_encode()
        values: list[Any] = encoded.dictionary.to_pylist()
    except pa.ArrowException as error:
        raise InputError(f"{path}: column {role} cannot be read: {error}") from None
    except (ValueError, OverflowError, KeyError) as error:  # KeyError: an unknown time zone
        raise InputError(f"{path}: a {role} cannot be read: {error}") from None
    indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return values, np.asarray(indices, dtype=np.int64)


def has_value(column: Any) -> Any:
    """Return which cells of a column of numbers are not empty."""
    if pa.types.is_floating(column.type):
        return pc.fill_null(pc.is_finite(column), False)
    if not pa.types.is_string(column.type):
        return pc.is_valid(column)
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    # Made here: the first array that Arrow makes of Python's objects imports pandas.
    nothing = pa.array(_EMPTY)
    empty = pc.or_(pc.equal(texts, ""), pc.is_in(texts, value_set=nothing))
    return pc.fill_null(pc.invert(empty), False)


def distinct_matching(column: Any, pattern: str, *, as_shapes: bool = False) -> dict[str, None]:
    """Return the distinct texts of a column that match; none of what is no text.

    Parameters
    ----------
    as_shapes
        Whether each digit becomes a 1, but for a 0 at the beginning: there may be as many numbers
        as rows, and what shows the meaning of their commas has few forms.
    """
    if not pa.types.is_string(column.type):
        return {}
    found = column.filter(pc.match_substring_regex(column, pattern))
    if as_shapes:
        for digit, sign in ((r"^(\D*)0", "\\1\x01"), (r"\d", "1"), ("\x01", "0")):
            found = pc.replace_substring_regex(found, digit, sign)
    return dict.fromkeys(found.unique().to_pylist())


_ROWS_INSPECTED = 50_000
"""How many rows are inspected: more than the days of any instrument."""


def demand_one_instrument(layout: Layout) -> None:
    """Refuse a file without symbols in which several instruments seem to be.

    Raises
    ------
    InputError
        If there seem to be several; the message names the column that distinguishes them.
    """
    (series, *others) = layout.series
    if others or series.name is not None or Role.SYMBOL in series.columns:
        return
    known = {at for found in series.columns.values() for at in found}
    time, names = series.columns[Role.TIME][0], layout.header.names
    unknown = [at for at, name in enumerate(names) if at not in known and may_name(name)]
    if not unknown:
        return
    table = next(read_tables(layout, sorted((*unknown, time))), None)
    columns = {} if table is None else table.columns
    texts = {at: _texts(column.slice(0, _ROWS_INSPECTED)) for at, column in columns.items()}
    times = texts.pop(time, [])
    at = column_of_instruments({at: (names[at], each) for at, each in texts.items()}, times)
    if at is not None:
        few = ", ".join(list(dict.fromkeys(filter(None, texts[at])))[:3])
        spelled = ", ".join(SPELLINGS[Role.SYMBOL][:2])
        raise InputError(
            f"{layout.path}: its column {names[at].strip() or at + 1!r} ({few}, …) varies as the "
            f"symbols of several instruments do: call it {spelled} if it names them, else remove it"
        )


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Return a column as texts; lists, structures and the like become empty texts."""
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        return [""] * len(column)
    return ["" if value is None else str(value).strip() for value in column.to_pylist()]


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
        distinct, which = _distinct(self.path, Role.TIME, self.columns[Role.TIME])
        return Times.of(distinct, which, self.survey.order, self.date_format)

    def symbols(self) -> tuple[list[str], NDArray[np.int64]] | None:
        """Return the distinct vendor names and each row's index into them, −1 for none.

        None if nothing in the file names its instrument.
        """
        if self.name is not None:
            return [self.name], np.zeros(len(self), dtype=np.int64)
        if Role.SYMBOL not in self.columns:
            return None
        distinct, which = _distinct(self.path, Role.SYMBOL, self.columns[Role.SYMBOL])
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
