"""Rows for people and for programs: tables that fit the terminal, CSV, JSON and Parquet.

A table is as wide as it must be where it is not printed on a terminal. On one, first the words of
its head are put below each other, then texts are wrapped, and then columns are left out from the
right, which the line below it names.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import Enum
from functools import wraps
from typing import Any, NamedTuple, TypeVar, cast

import click

from ingestion.cli.options import NAMES, json_option
from ingestion.cli.output import age, figure, minute, show

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
ResultT = TypeVar("ResultT")

_GAP = "  "
_LONGEST_WORD = 40
"""A longer word is broken where a table has to become narrower."""


class Rows(NamedTuple):
    """A result as rows of typed values."""

    names: Sequence[str]
    values: Sequence[Mapping[str, Any]]
    footer: str = ""
    """What is to be said of them, beside CSV and Parquet on stderr."""


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    json_option,
    click.option(
        "--columns",
        type=NAMES,
        show_default="all; of a table, those that people ask for",
        help="Columns of the rows to print, as NAME,NAME: those of CSV.",
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice(["table", "csv", "json", "parquet"]),
        default="table",
        help="How to print the rows.",
    ),
)


class Printing(NamedTuple):
    """How rows are to be printed."""

    form: str
    columns: tuple[str, ...] | None
    as_json: bool

    @property
    def is_json(self) -> bool:
        """Whether one JSON object is to be printed."""
        return self.as_json or self.form == "json"

    def show(
        self, result: ResultT, text: Callable[[ResultT], str], rows: Callable[[ResultT], Rows]
    ) -> None:
        """Print a result: its text, its JSON object, or its rows."""
        if self.is_json and self.columns is not None:
            raise click.UsageError("--columns is of tables, CSV and Parquet; JSON has all")
        if self.is_json or (self.form == "table" and self.columns is None):
            show(self.is_json, result, text)
            return
        found = rows(result)
        names = self._chosen(found.names)
        if self.form == "table":
            cells = [[cell(row.get(name)) for name in names] for row in found.values]
            left = {i for i, name in enumerate(names) if _is_text(found.values, name)}
            click.echo(table(names, cells, left=left))
        elif self.form == "csv":
            click.echo(csv_text(found, names), nl=False)
        else:
            _write_parquet(names, found.values)
        if found.footer:
            click.echo(found.footer, err=self.form != "table")

    def _chosen(self, names: Sequence[str]) -> Sequence[str]:
        for name in self.columns or ():
            if name not in names:
                from ingestion.base.wording import did_you_mean

                known = did_you_mean(name, names) or f"; there are {', '.join(names)}"
                raise click.UsageError(f"--columns: there is no column {name}{known}")
        return self.columns or names


def rows_options(command: CommandT) -> CommandT:
    """Add ``--format``, ``--columns`` and ``--json``; the command gets a :class:`Printing`."""

    @wraps(command)
    def with_printing(
        *given: Any, form: str, columns: tuple[str, ...] | None, as_json: bool, **options: Any
    ) -> Any:
        return command(*given, printing=Printing(form, columns, as_json), **options)

    made: Any = with_printing
    for option in _OPTIONS:
        made = option(made)
    return cast(CommandT, made)


def cell(value: object) -> str:
    """Return a value as tables show it.

    Examples
    --------
    >>> cell(1234), cell(0.5), cell(None), cell(("a", "b")), cell(True)
    ('1,234', '0.50', '–', 'a, b', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, datetime):
        return minute(value)
    if isinstance(value, timedelta):
        return age(value)
    if isinstance(value, (tuple, list)):
        return ", ".join(map(cell, value))
    return figure(value)


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], left: set[int], width: int | None = None
) -> str:
    """Return rows of texts below a head; it fits a width if that can be done.

    Parameters
    ----------
    left
        Positions of the columns of text, which begin at their left and may be wrapped.
    width
        Most characters of a line; that of the terminal if None, and any where there is none.

    Examples
    --------
    >>> print(table(["symbol", "rank corr."], [["A", "0.5"], ["BB", "–"]], {0}))
    symbol  rank corr.
    ------  ----------
    A              0.5
    BB               –
    >>> print(table(["symbol", "rank corr."], [["A", "0.5"], ["BB", "–"]], {0}, width=13))
             rank
    symbol  corr.
    ------  -----
    A         0.5
    BB          –
    """
    columns = [
        _Column(name, [row[i] for row in rows], is_text=i in left) for i, name in enumerate(head)
    ]
    hidden = _fit(columns, width or terminal_width())
    lines = _line([column.head() for column in columns], columns, at_bottom=True)
    lines.append(_GAP.join("-" * column.width for column in columns))
    for i in range(len(rows)):
        lines += _line([column.wrapped(column.cells[i]) for column in columns], columns)
    if hidden:
        lines.append(f"not shown, as the terminal is narrow: {', '.join(hidden)}")
    return "\n".join(line.rstrip() for line in lines)


def terminal_width() -> int | None:
    """Return the width of the terminal that is printed on; None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def paragraph(text: str) -> str:
    """Return a text on lines that fit the terminal; on one line where there is none."""
    width = terminal_width()
    return textwrap.fill(text, width, subsequent_indent="  ") if width else text


class _Column:
    """A column of a table, and how wide it is."""

    def __init__(self, name: str, cells: list[str], *, is_text: bool) -> None:
        self.name, self.cells, self.is_text = name, cells, is_text
        self.content = max(map(len, cells), default=0)
        self.width = max(len(name), self.content, 1)

    @property
    def least(self) -> int:
        """To how few characters it can be wrapped."""
        head = _longest_word(self.name)
        if not self.is_text:
            return max(head, self.content)
        return max(head, min(_LONGEST_WORD, max(map(_longest_word, self.cells), default=1)))

    def head(self) -> list[str]:
        return self.wrapped(self.name)

    def wrapped(self, text: str) -> list[str]:
        if len(text) <= self.width:
            return [text]
        return textwrap.wrap(text, self.width, break_on_hyphens=False)


def _fit(columns: list[_Column], most: int | None) -> list[str]:
    """Make columns narrower until a line fits; return the names of those that are left out."""
    hidden: list[str] = []
    if most is None or _total(columns) <= most:
        return hidden
    for column in columns:  # the words of a head below each other
        column.width = max(column.content, _longest_word(column.name))
    while (over := _total(columns) - most) > 0:
        widest = max(columns, key=lambda column: (column.width - column.least, column.width))
        if widest.width > widest.least:
            widest.width = max(widest.least, widest.width - max(1, over // 4))
        elif len(columns) > 1:
            hidden.insert(0, columns.pop().name)
        else:
            break
    return hidden


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=1)


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns) + len(_GAP) * (len(columns) - 1)


def _line(
    cells: Sequence[list[str]], columns: Sequence[_Column], *, at_bottom: bool = False
) -> list[str]:
    """Return the lines of one row, whose cells are of some lines each."""
    height = max(map(len, cells))
    lines = []
    for i in range(height):
        parts = []
        for texts, column in zip(cells, columns, strict=True):
            at = i - (height - len(texts)) if at_bottom else i
            text = texts[at] if 0 <= at < len(texts) else ""
            parts.append(text.ljust(column.width) if column.is_text else text.rjust(column.width))
        lines.append(_GAP.join(parts))
    return lines


def _is_text(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    values = [row.get(name) for row in rows]
    return any(isinstance(each, (str, Enum, tuple, list, bool)) for each in values)


def csv_text(rows: Rows, names: Sequence[str] | None = None) -> str:
    r"""Return rows as CSV, with a head; of the named columns alone, if any are named.

    Instants are ISO 8601, durations in seconds, and what is not there is empty.

    Examples
    --------
    >>> csv_text(Rows(["symbol", "age"], [{"symbol": "A:B", "age": timedelta(minutes=1)}]))
    'symbol,age\nA:B,60\n'
    """
    import csv
    import io

    out, chosen = io.StringIO(), names or rows.names
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(chosen)
    writer.writerows([[_plain(row.get(name)) for name in chosen] for row in rows.values])
    return out.getvalue()


def _plain(value: Any) -> Any:
    """Return a value as CSV has it: instants as ISO 8601, durations in seconds."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    return " ".join(map(str, value)) if isinstance(value, (tuple, list)) else value


def _typed(value: Any) -> Any:
    """Return a value as Parquet has it: durations in seconds, as their names say."""
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    return value.value if isinstance(value, Enum) else value


def _write_parquet(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    if sys.stdout.isatty():
        raise click.UsageError("Parquet is no text for a terminal: add `> rows.parquet`")
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: [_typed(row.get(name)) for row in rows] for name in names}
    pq.write_table(pa.Table.from_pydict(columns), sys.stdout.buffer)
