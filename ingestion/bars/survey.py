"""What only all cells of a file together show.

That is the order of day and month, the decimal mark, whether an instrument has any volume, and
whether a file that names no symbol is of several.

A file that names no instrument is one instrument's, unless a column varies as symbols do: it
distinguishes the rows of one date, or its values come again and are neither numbers nor times, or
its whole numbers look like an exchange's codes, each with a stretch of dates of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.cells import (
    EMPTY_CELLS,
    Comma,
    Kind,
    Order,
    possible_orders,
    read_time,
    read_volume,
)
from ingestion.bars.header import PRICES, SPELLINGS, Role, Series, plain_name
from ingestion.bars.layout import Layout, Table, read_tables
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
    numbers = (*PRICES, Role.VOLUME, Role.AMOUNT)
    roles = {Role.TIME, *numbers}
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
            for role in numbers:
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


def settle_comma(texts: Iterable[str], *, dots: bool, default: Comma | None) -> Comma | None:
    """Return what the comma means in a file's numbers.

    Parameters
    ----------
    texts
        Those that have a comma, or more than one point.
    dots
        Whether another number of the file has a point before other than three digits.
    default
        What it means where nothing proves it.

    Returns
    -------
    Comma | None
        None where both are proved.
    """
    proofs = {Comma.THOUSANDS} if dots else set()
    for text in texts:
        short = re.sub(r"[^\d.,]", "", text)
        last_comma, last_dot = short.rfind(","), short.rfind(".")
        commas, points = short.count(","), short.count(".")
        if commas and points:
            proofs.add(Comma.THOUSANDS if last_dot > last_comma else Comma.DECIMAL)
        elif commas > 1:
            proofs.add(Comma.THOUSANDS)
        elif points > 1 or (
            commas and (len(short) - last_comma != 4 or last_comma > 3 or short[0] in "0,")
        ):
            proofs.add(Comma.DECIMAL)
    if len(proofs) > 1:
        return None
    return next(iter(proofs), default)


def settle_order(texts: Iterable[str]) -> Order | None:
    """Return the one order in which all dates of a column are dates; none if several are left.

    Raises
    ------
    ValueError
        If one date proves one order, and another date proves another; the message names both.
    """
    left: dict[Order, None] = dict.fromkeys(Order)
    proofs: dict[frozenset[Order], str] = {}
    for text in texts:
        orders = possible_orders(text)
        if not orders:
            continue
        proofs.setdefault(orders, text)
        left = {order: None for order in left if order in orders}
        if not left:
            first, last = next(iter(proofs.values())), text
            for other, example in proofs.items():
                if not other & orders:
                    first = example
            raise ValueError(f"{first!r} and {last!r} are not written in one order")
    if not proofs:
        return None
    # Both readings of 03/03/2021 are the same day, so several orders may be left.
    return next(iter(left)) if len(left) == 1 else None


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
    unknown = [
        at
        for at, name in enumerate(names)
        if at not in known and plain_name(name) not in _NO_INSTRUMENT_NAMES
    ]
    if not unknown:
        return
    table = next(read_tables(layout, sorted((*unknown, time))), None)
    columns = {} if table is None else table.columns
    texts = {at: _texts(column.slice(0, _ROWS_INSPECTED)) for at, column in columns.items()}
    times = texts.pop(time, [])
    at = _column_of_instruments({at: (names[at], each) for at, each in texts.items()}, times)
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


# Columns that vary and name no instrument, by plain name.
_NO_INSTRUMENT_NAMES = frozenset(
    re.findall(
        r"\S+",
        """
        series sctysrs weekday dayofweek dayname day month monthname quarter year week period
        per timeframe interval resolution frequency currency ccy unit units source provider
        vendor signal action side direction trend position label comment comments note notes
        remark remarks flag flags bid mid paid status color colour candle pattern event events
        news headline split dividend type barcomplete updated lastupdated createdat updatedat
        insertedat created modified
        """,
    )
)
# Names of columns that number instruments, whatever the numbers look like.
_NAMES_OF_NUMBERS = re.compile(
    r"(?:.*(?:id|code|isin|cusip|sedol|figi|gvkey|permno|permco|wkn|token|conid|ticker|symbol))"
)
_EXCHANGE_CODES = range(1_000, 1_000_000)
"""Numbers of shares at exchanges that number them."""
_YEARS = frozenset(range(1900, 2100))
_NO_INSTRUMENTS = frozenset(
    re.findall(
        r"\S+",
        """
        mon tue wed thu fri sat sun monday tuesday wednesday thursday friday saturday sunday
        true false yes no y n t f up down buy sell long short flat bull bear bullish
        bearish
        """,
    )
) | {"hold"}


def _column_of_instruments(
    columns: Mapping[int, tuple[str, Sequence[str]]], times: Sequence[str]
) -> int | None:
    """Return the position of the column that seems to name instruments; None if none does.

    Parameters
    ----------
    columns
        Name and cells of columns of unknown meaning, by position.
    times
        The cells of the column of times, of the same rows.
    """
    suspects = [
        # A column of texts is named rather than one of numbers.
        (_is_counted(cells), not _NAMES_OF_NUMBERS.fullmatch(plain_name(name)), at)
        for at, (name, cells) in columns.items()
        if _may_name_instruments(name, cells, times)
    ]
    return min(suspects)[-1] if suspects else None


def _may_name_instruments(name: str, values: Sequence[str], times: Sequence[str]) -> bool:
    """Return whether a column may say which of several instruments a row is of."""
    distinct = set(values) - {""}
    if (
        len(distinct) < 2
        or {value.casefold() for value in distinct} <= _NO_INSTRUMENTS | EMPTY_CELLS
    ):
        return False
    together = len(times) - len(set(times))
    pairs = set(zip(times, values, strict=True))
    # Most dates have several rows, and this column distinguishes them.
    if together * 2 >= len(times) - together and len(pairs) > 0.9 * len(times):
        return _is_counted(values) or not _is_written(values)
    if _is_counted(values):
        return _numbers_instruments(name, values, times)
    if _is_written(values):
        return False
    # Free text is new on nearly every row; a symbol comes again, unless there are few rows.
    return len(distinct) * 2 <= len(values) or len(values) <= 20


def _numbers_instruments(name: str, values: Sequence[str], times: Sequence[str]) -> bool:
    """Return whether whole numbers are those of instruments whose dates do not overlap."""
    starts = [at for at in range(1, len(values)) if values[at] != values[at - 1]]
    numbers = [int(float(value)) for value in values if value]
    steps = {after - before for before, after in pairwise(numbers)}
    is_key = len(values) > 2 and len(steps) == 1 and abs(steps.pop()) == 1
    if is_key or len(starts) + 1 != len(set(values)):
        return False  # counted up, or not one stretch of rows for each
    has_zeros = any(len(value) > 1 and value[0] == "0" and value.isdigit() for value in values)
    are_codes = (
        len({len(str(number)) for number in numbers}) == 1
        and all(number in _EXCHANGE_CODES for number in numbers)
        and not _YEARS.issuperset(numbers)
    )
    if has_zeros or are_codes or _NAMES_OF_NUMBERS.fullmatch(plain_name(name)):
        return True
    # Each new number begins its own history: against the order in which dates run elsewhere.
    seconds = [read_time(text).seconds for text in times]
    later = [0, *(after - before for before, after in pairwise(seconds))]
    within = sum(1 if later[at] > 0 else -1 for at in set(range(1, len(later))) - set(starts))
    return len(values) >= 2 * len(set(values)) and any(later[at] * within < 0 for at in starts)


def _is_counted(values: Sequence[str]) -> bool:
    """Return whether all values are whole numbers, as codes are."""
    return all(re.fullmatch(r"\d{1,12}(\.0*)?", value) for value in values if value)


def _is_written(values: Sequence[str]) -> bool:
    """Return whether a column contains numbers, shares in percent or times, so no names."""
    return all(
        _has_digits_alone(value) or _is_date_or_time(value) for value in set(values) if value
    )


def _has_digits_alone(text: str) -> bool:
    try:
        read_volume(text.replace(",", ""))
    except ValueError:
        return any(map(str.isdigit, text)) and not any(map(str.isalpha, text))
    return True


def _is_date_or_time(text: str) -> bool:
    return (
        bool(re.fullmatch(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]m)?", text, re.IGNORECASE))
        or read_time(text).kind is not Kind.UNREADABLE
    )
