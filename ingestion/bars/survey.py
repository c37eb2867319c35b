"""What only a whole file tells of its cells: order of dates, decimal mark, volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.cells import EMPTY_CELLS, Comma, Order, settle_comma, settle_order
from ingestion.bars.layout import PRICES, Layout, Role, Series
from ingestion.bars.tables import Table, read_tables
from ingestion.base.errors import InputError

_YEAR_LAST = r"^\s*\d{1,2}[\s./_-]\d{1,2}[\s./_-](\d{4}|\d{2})([^\d]|$)"
_MARKED = r",|\..*\."
_POINT = r"^\D*\d+\.(\d{1,2}|\d{4,})\s*$"
_NOTHING = sorted(EMPTY_CELLS - {""})


@dataclass(frozen=True)
class Survey:
    """How the cells of a file are to be read."""

    order: Order | None = None
    """Of dates of numbers alone; None where none is proved."""
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
                dates |= _matching(table.columns[series.columns[Role.TIME][0]], _YEAR_LAST)
            for role in (*PRICES, Role.VOLUME):
                if role not in series.columns:
                    continue
                column = table.columns[series.columns[role][0]]
                marked |= _matching(column, _MARKED, as_shapes=True)
                # Any rows show whether prices have points; the first do.
                dots = dots or (first and bool(_matching(column, _POINT)))
            if Role.VOLUME in series.columns:
                volume = _is_filled(table.columns[series.columns[Role.VOLUME][0]])
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
    """Of columns with one name the first is read, so the others must say the same."""
    for found in series.columns.values():
        for other in found[1:]:
            first, second = table.columns[found[0]], table.columns[other]
            # Where one of them says nothing, the other contradicts nothing.
            differ = pc.fill_null(pc.not_equal(_text(first), _text(second)), False)
            for at in np.flatnonzero(differ.to_numpy(zero_copy_only=False)).tolist():
                pair = first[at].as_py(), second[at].as_py()
                if not _is_one_number(*pair):
                    raise InputError(
                        f"{layout.path} has two columns {layout.header.names[found[0]]!r} that "
                        f"differ, first in row {table.rows[at]} ({pair[0]}, {pair[1]}); remove one "
                        "of them"
                    )


def _is_one_number(first: str, second: str) -> bool:
    try:
        return float(first) == float(second)
    except ValueError:
        return False


def _text(column: Any) -> Any:
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
        every.update(names.unique().to_pylist())
        filled.update(names.filter(_is_filled(table.columns[volume])).unique().to_pylist())
    return {str(name).strip() for name in every - filled if name is not None}


def _is_filled(column: Any) -> Any:
    """Tell which cells of a column of numbers say anything."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        return pc.fill_null(pc.is_finite(column), False)
    if not _is_text(column.type):
        return pc.is_valid(column)
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    # Made here: the first array that Arrow makes of Python's objects imports pandas.
    nothing = pa.array(_NOTHING)
    empty = pc.or_(pc.equal(texts, ""), pc.is_in(texts, value_set=nothing))
    return pc.fill_null(pc.invert(empty), False)


def _matching(column: Any, pattern: str, *, as_shapes: bool = False) -> dict[str, None]:
    """Return the distinct texts of a column that match; none of what is no text.

    Parameters
    ----------
    as_shapes
        Whether each digit becomes a 1, but for a 0 at the beginning: there may be as many numbers
        as rows, and what tells what their commas mean has few forms.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not _is_text(column.type):
        return {}
    found = column.filter(pc.match_substring_regex(column, pattern))
    if as_shapes:
        for digit, sign in ((r"^(\D*)0", "\\1\x01"), (r"\d", "1"), ("\x01", "0")):
            found = pc.replace_substring_regex(found, digit, sign)
    return dict.fromkeys(found.unique().to_pylist())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
