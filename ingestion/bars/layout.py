"""How a vendor's file is laid out: where its rows begin.

In: the beginning of a CSV or Parquet file. Out: a :class:`Layout` with the columns of each
instrument, by :class:`~ingestion.bars.header.Role`.

A CSV may have lines before its header or no header at all, and may be in UTF-8, UTF-16 or a Chinese
code page. A file that no rule here knows is refused with what it looks like.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.bars.cell_numbers import read_number
from ingestion.bars.cell_times import Kind, possible_orders, read_time
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
    kind = Path(path.name.removesuffix(".gz")).suffix.lower()
    if kind not in CSV | PARQUET:
        raise InputError(f"{path} is neither .csv nor .parquet")
    try:
        return _of_csv(path, needed) if kind in CSV else _of_parquet(path, needed)
    except (pa.ArrowException, OSError, KeyError, UnicodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from None


def _of_parquet(path: Path, needed: Sequence[Role]) -> Layout:
    with path.open("rb") as source:
        names = pq.ParquetFile(source).schema_arrow.names
    header = header_of_line(names)
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
    headers = [header_of_line(cells) for _, cells in rows if any(cells)] or [header_of_line([])]
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
    header = header_of_line(cells)
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
