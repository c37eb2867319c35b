"""What only all cells of a file together show.

That is the order of day and month, the decimal mark, whether an instrument has any volume, and
whether a file that names no symbol is of several.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.cell_numbers import EMPTY_CELLS, Comma, settle_comma
from ingestion.bars.cell_times import Order, settle_order
from ingestion.bars.header import PRICES, SPELLINGS, Role, Series
from ingestion.bars.instruments import column_of_instruments, may_name
from ingestion.bars.layout import Layout
from ingestion.bars.tables import Table, read_tables
from ingestion.base.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
        every.update(distinct_values(layout.path, Role.SYMBOL, names)[0])
        filled.update(distinct_values(layout.path, Role.SYMBOL, with_volume)[0])
    return {str(name).strip() for name in every - filled if name is not None}


def distinct_values(path: Path, role: Role, column: Any) -> tuple[list[Any], NDArray[np.int64]]:
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
