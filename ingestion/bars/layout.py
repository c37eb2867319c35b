"""How a vendor's file is laid out, and its rows as columns by position, some rows at a time.

In: a CSV or Parquet file. Out: from its beginning a :class:`Layout` with the columns of each
instrument, by :class:`~ingestion.bars.header.Role`; with that, its rows (:func:`read_tables`).

A CSV may have lines before its header or no header at all, and may be in UTF-8, UTF-16 or a Chinese
code page. A file that no rule here knows is refused with what it looks like.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from ingestion.bars.cells import Kind, possible_orders, read_number, read_time
from ingestion.bars.header import (
    EXAMPLE_NAMES,
    NEEDED,
    PRICES,
    Header,
    Role,
    Series,
    header_of_line,
    header_of_two_lines,
    names_index_alone,
)
from ingestion.base.errors import InputError
from ingestion.base.wording import reason_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

CSV = frozenset({".csv", ".txt", ".tsv"})
PARQUET = frozenset({".parquet", ".pq"})
_HEAD_BYTES = 1 << 20
"""The header of 500 instruments side by side has 50,000 bytes."""
_HEAD_LINES = 60
"""The header must begin within so many lines."""
_SPLIT_TERMS = (Role.SPLIT_FROM, Role.SPLIT_TO)

_LOOKS = (
    (b"PAR1", "Parquet: name it .parquet"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet (.xlsx): unpack it, or save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet (.xls): save it as CSV"),
    (b"%PDF", "a PDF"),
    (b"ARROW1", "an Arrow or Feather file: save it as Parquet"),
    (b"SQLite format 3", "an SQLite database: export its table as CSV"),
    (b"\x1f\x8b", "packed with gzip: name it .csv.gz"),
    (b"{", "JSON: only CSV and Parquet are read"),
    (b"[", "JSON: only CSV and Parquet are read"),
    (b"<!DOCTYPE", "a web page, perhaps an error's: load the file again"),
    (b"<html", "a web page, perhaps an error's: load the file again"),
    (b"<?xml", "XML: only CSV and Parquet are read"),
)
"""First bytes of files of other kinds."""


@dataclass(frozen=True)
class CsvForm:
    """How a CSV is written."""

    encoding: str
    delimiter: str
    skip: int
    """Lines before the first row."""


@dataclass(frozen=True)
class Layout:
    """Where a file's rows begin, and its columns by role."""

    path: Path
    header: Header
    form: CsvForm | None
    """None for Parquet."""

    @property
    def series(self) -> tuple[Series, ...]:
        """The instruments that have columns of their own; else all of them, as one."""
        return self.header.series


def recognise_layout(path: Path, needed: Sequence[Role] = NEEDED) -> Layout:
    """Find out how a CSV (also ``.csv.gz``) or Parquet file is laid out, from its beginning.

    Raises
    ------
    InputError
        If the file cannot be read, is of another kind, or lacks a needed column.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: name its files, such as {path}/*.csv")
    kind = Path(path.name.removesuffix(".gz")).suffix.lower()
    if kind not in CSV | PARQUET:
        raise InputError(f"{path} is neither .csv nor .parquet")
    try:
        return _of_csv(path, needed) if kind in CSV else _of_parquet(path, needed)
    except (pa.ArrowException, OSError, KeyError, UnicodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {reason_of(error)}") from None


def _of_parquet(path: Path, needed: Sequence[Role]) -> Layout:
    with path.open("rb") as source:
        names = pq.ParquetFile(source).schema_arrow.names
    header = header_of_line(names, needed)
    if problem := lacks(header, needed):
        raise InputError(f"{path} has {problem}")
    for series in header.series:
        for found in series.columns.values():
            if len({names[at] for at in found}) < len(found):
                raise InputError(f"{path} has two columns {names[found[0]]!r}; remove one of them")
    return Layout(path, header, None)


def _of_csv(path: Path, needed: Sequence[Role]) -> Layout:
    with pa.input_stream(str(path), compression="detect") as start:
        head = start.read(_HEAD_BYTES)
    if not head.strip():
        raise InputError(f"{path} is empty")
    for mark, look in _LOOKS:
        if head.lstrip()[: len(mark)].upper() == mark.upper():
            raise InputError(f"{path} is no CSV; it looks like {look}")
    problem = None
    for encoding in _encodings(head):
        try:
            return _of_text(path, head, encoding, needed)
        except UnicodeError:
            continue
        except InputError as error:
            problem = problem or error
    raise problem or InputError(f"{path} is in no encoding that is known; save it as UTF-8")


def _of_text(path: Path, head: bytes, encoding: str, needed: Sequence[Role]) -> Layout:
    text = codecs.getincrementaldecoder(encoding)().decode(head)
    lines = re.split(r"\r\n|\r|\n", text, maxsplit=_HEAD_LINES)
    rest = lines.pop() if len(lines) > _HEAD_LINES else ""
    if len(head) == _HEAD_BYTES and not rest and len(lines) > 1:
        lines.pop()  # the last line is not complete
    rows = [_cells(line) for line in lines]
    is_whole = len(head) < _HEAD_BYTES
    for at, (delimiter, cells) in enumerate(rows):
        header = _header_at(rows, at, needed)
        if header is not None:
            skip = at + header.lines
            if is_whole and not rest.strip() and not any(line.strip() for line in lines[skip:]):
                raise InputError(f"{path} has no rows")
            return Layout(path, header, CsvForm(encoding, delimiter, skip))
        # Only first lines may be a dump: below a line with columns they are rows of that line.
        if set(needed) == set(NEEDED) and all(len(above) < 3 for _, above in rows[:at]):
            series = _without_header([cells for _, cells in rows[at:] if cells != [""]])
            if series is not None:
                names = tuple(f"column {number}" for number in range(1, len(cells) + 1))
                return Layout(path, Header(names, (series,), 0), CsvForm(encoding, delimiter, at))
    # The line with the most known names was probably meant to be the header.
    headers = [header_of_line(cells, needed) for _, cells in rows if any(cells)]
    headers = headers or [header_of_line([])]
    best = max(headers, key=lambda header: len(header.series[0].columns))
    numbers = sum(map(_is_number, best.names))
    if not best.series[0].columns and numbers * 2 > len(best.names):
        raise InputError(
            f"{path} has no header, and its columns are not those of a known dump: the first line "
            f"is {','.join(best.names)[:120]}; put a line such as date,open,high,low,close,volume "
            "above it"
        )
    raise InputError(f"{path} has {lacks(best, needed)}")


def _header_at(
    rows: Sequence[tuple[str, list[str]]], at: int, needed: Sequence[Role]
) -> Header | None:
    """Return the header that begins on a line; none if no header does."""
    _, cells = rows[at]
    below = [cells for _, cells in rows[at + 1 : at + 3]]
    if below and set(needed) == set(NEEDED) and (header := header_of_two_lines(cells, below[0])):
        is_third = len(below) > 1 and names_index_alone(below[1])
        return Header(header.names, header.series, 3 if is_third else 2)
    lines = 1
    if below and len(below[0]) == len(cells) > 1 and names_index_alone(below[0]):
        cells, lines = [below[0][0], *cells[1:]], 2
    header = header_of_line(cells, needed)
    return None if lacks(header, needed) else Header(header.names, header.series, lines)


def lacks(header: Header, needed: Sequence[Role]) -> str | None:
    """Return which needed columns a header lacks; None if it has all.

    The two terms of a ratio stand for the ratio.
    """
    found = set(header.series[0].columns)
    if found.issuperset(_SPLIT_TERMS):
        found.add(Role.SPLIT_RATIO)
    missing = [role for role in needed if role not in found]
    if not missing:
        return None
    names = header.names[:20]
    has = ", ".join(name[:40] or "a column without a name" for name in names) or "none"
    known = [role for role in missing if role in EXAMPLE_NAMES]
    spelled = "; ".join(f"{role} may be called {EXAMPLE_NAMES[role]}" for role in known)
    examples = f" ({spelled})" if spelled else ""
    return f"no column for {', '.join(missing)}; it has {has}{examples}"


def _encodings(head: bytes) -> tuple[str, ...]:
    """Return the encodings that a file may be in by its first bytes, the likeliest first."""
    if head.startswith(codecs.BOM_UTF8):
        return ("utf-8-sig",)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ("utf-16",)
    for parity, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(head) > 3 and not any(head[parity:64:2]):
            return (encoding,)
    return ("utf-8", "gb18030", "cp1252")


def _cells(line: str) -> tuple[str, list[str]]:
    """Return a line's delimiter and its cells."""
    delimiter = max(",;\t|", key=line.count)
    cells = next(csv.reader([line], delimiter=delimiter), [""])
    return delimiter, [cell.strip() for cell in cells]


def _without_header(rows: Sequence[list[str]]) -> Series | None:
    """Return the columns of a dump without a header, by what its first rows contain.

    Known are ``[symbol,] time, open, high, low, close`` with nothing, with a volume, with volume
    and trades (times in Unix seconds), and with volume and closing time. Prices in another order do
    not fit their bars.
    """
    first = rows[0] if rows else []
    if len(first) <= len(PRICES):
        return None
    time = next((at for at, cell in enumerate(first[:3]) if _is_time(cell)), None)
    if time is None or (time and _is_number(first[0])):
        return None
    start = time + 1
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", first[start]):
        start += 1
    columns = {Role.TIME: (time,)}
    if time:
        columns[Role.SYMBOL] = (0,)
    columns |= {role: (start + n,) for n, role in enumerate(PRICES)}
    rest = len(first) - start - len(PRICES)
    if rest < 0:
        return None
    after = first[start + len(PRICES) :]
    has_closing_time = rest > 1 and _unix(first[time]) and _unix(after[1])
    has_trades = rest == 2 and _unix(first[time])
    if rest > 1 and not (has_closing_time or has_trades):
        return None
    if rest:
        columns[Role.VOLUME] = (start + len(PRICES),)
    for row in rows:
        if len(row) != len(first):
            continue  # the row is refused later, alone
        try:
            prices = [read_number(cell) for cell in row[start : start + len(PRICES)]]
        except ValueError:
            return None
        opened, high, low, closed = prices
        if high < max(opened, closed) * (1 - 1e-9) or low > min(opened, closed) * (1 + 1e-9):
            return None
    return Series(columns)


def _is_time(text: str) -> bool:
    return read_time(text).kind is not Kind.UNREADABLE or bool(possible_orders(text))


def _unix(text: str) -> bool:
    return _is_number(text) and read_time(text).kind is Kind.INSTANT


def _is_number(text: str) -> bool:
    try:
        return read_number(text) == read_number(text)
    except ValueError:
        return False


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
        raise InputError(f"{layout.path} cannot be read: {reason_of(error)}") from None


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
