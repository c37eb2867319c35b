"""Whether a column of a file without symbols distinguishes several instruments.

A file that names no instrument is one instrument's, unless a column varies as symbols do: it
distinguishes the rows of one date, or its values come again and are neither numbers nor times, or
its whole numbers look like an exchange's codes, each with a stretch of dates of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from ingestion.bars.cell_numbers import EMPTY_CELLS, read_volume
from ingestion.bars.cell_times import Kind, read_time
from ingestion.bars.header import plain_name

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


def may_name(name: str) -> bool:
    """Return whether a column of this name may name instruments."""
    return plain_name(name) not in _NO_INSTRUMENT_NAMES


def column_of_instruments(
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
