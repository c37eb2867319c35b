"""Whether a file that nothing in it names is of one instrument, as its name says.

Such a file takes its symbol from its name. If a column that is not known varies as symbols do, that
would make one symbol of several instruments, so the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice, pairwise

import pyarrow as pa

from ingestion.bars.cells import EMPTY_CELLS, Kind, read_time, read_volume
from ingestion.bars.layout import SPELLINGS, Layout, Role, plain_name
from ingestion.bars.tables import read_tables
from ingestion.base.errors import InputError

_ROWS = 50_000
"""Rows that are looked at: more than the days of any instrument."""

# Columns that vary and name no instrument, by plain_name name.
_NO_NAMES = frozenset(
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
_NUMBERS_INSTRUMENTS = re.compile(
    r"(?:.*(?:id|code|isin|cusip|sedol|figi|gvkey|permno|permco|wkn|token|conid|ticker|symbol))"
)
_CODES = (1_000, 999_999)
"""Between which exchanges number their shares, all with as many digits."""
_YEARS = frozenset(range(1900, 2100))
_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
        mon tue wed thu fri sat sun monday tuesday wednesday thursday friday saturday sunday
        true false yes no y n t f up down buy sell hold long short flat bull bear bullish
        bearish
        """,
    )
)


def demand_one_instrument(layout: Layout) -> None:
    """Refuse a file without symbols in which several instruments seem to be.

    Raises
    ------
    InputError
        Naming the column that seems to tell them apart.
    """
    (series, *others) = layout.series
    if others or series.name is not None or Role.SYMBOL in series.columns:
        return
    known = {at for found in series.columns.values() for at in found}
    unknown = [
        at
        for at, name in enumerate(layout.header.names)
        if at not in known and plain_name(name) not in _NO_NAMES
    ]
    if not unknown:
        return
    time = series.columns[Role.TIME][0]
    columns: dict[int, list[str]] = {at: [] for at in (*unknown, time)}
    for table in islice(read_tables(layout, sorted(columns)), 1):
        for at, column in table.columns.items():
            columns[at] = _texts(column.slice(0, _ROWS))
    times = columns.pop(time)
    names = layout.header.names
    suspects = [at for at in unknown if _tells_apart(names[at], columns[at], times)]
    if suspects:
        # Text says more than a number.
        at = min(
            suspects,
            key=lambda at: (
                _is_counted(columns[at]),
                not _NUMBERS_INSTRUMENTS.fullmatch(plain_name(names[at])),
                at,
            ),
        )
        few = ", ".join(list(dict.fromkeys(filter(None, columns[at])))[:3])
        spelled = ", ".join(SPELLINGS[Role.SYMBOL][:2])
        raise InputError(
            f"{layout.path}: its column {names[at].strip() or at + 1!r} ({few}, …) varies as the "
            f"symbols of several instruments do: call it {spelled} if it names them, else remove it"
        )


def _tells_apart(name: str, values: Sequence[str], times: Sequence[str]) -> bool:
    """Tell whether a column may say which of several instruments a row is of."""
    distinct = set(values) - {""}
    if len(distinct) < 2 or {value.casefold() for value in distinct} <= _WORDS | EMPTY_CELLS:
        return False
    together = len(times) - len(set(times))
    pairs = set(zip(times, values, strict=True))
    # Several rows on most dates, and this column is what makes a difference among them.
    if together * 2 >= len(times) - together and len(pairs) > 0.9 * len(times):
        return _is_counted(values) or not _is_written(values)
    if _is_counted(values):
        return _numbers_instruments(name, values, times)
    if _is_written(values):
        return False
    # Free text is new on nearly every row; a symbol comes again, unless there are few rows.
    return len(distinct) * 2 <= len(values) or len(values) <= 20


def _numbers_instruments(name: str, values: Sequence[str], times: Sequence[str]) -> bool:
    """Tell whether whole numbers are those of instruments whose dates do not overlap."""
    starts = [at for at in range(1, len(values)) if values[at] != values[at - 1]]
    numbers = [int(float(value)) for value in values if value]
    steps = {after - before for before, after in pairwise(numbers)}
    is_key = len(values) > 2 and len(steps) == 1 and abs(steps.pop()) == 1
    if is_key or len(starts) + 1 != len(set(values)):
        return False  # counted up, or not one stretch of rows for each
    has_zeros = any(len(value) > 1 and value[0] == "0" and value.isdigit() for value in values)
    are_codes = len({len(str(number)) for number in numbers}) == 1 and _CODES[0] <= min(numbers)
    are_codes = are_codes and max(numbers) <= _CODES[1] and not _YEARS.issuperset(numbers)
    if has_zeros or are_codes or _NUMBERS_INSTRUMENTS.fullmatch(plain_name(name)):
        return True
    # Each new number begins its own history: against the order in which dates run elsewhere.
    seconds = [_seconds(text) for text in times]
    later = [0, *(after - before for before, after in pairwise(seconds))]
    within = sum(1 if later[at] > 0 else -1 for at in set(range(1, len(later))) - set(starts))
    return len(values) >= 2 * len(set(values)) and any(later[at] * within < 0 for at in starts)


def _seconds(text: str) -> int:
    return read_time(text).seconds


def _is_counted(values: Sequence[str]) -> bool:
    """Tell whether all values are whole numbers, as codes are."""
    return all(re.fullmatch(r"\d{1,12}(\.0*)?", value) for value in values if value)


def _is_written(values: Sequence[str]) -> bool:
    """Tell whether a column holds numbers, shares in percent or times, so no names."""
    return all(_is_number(value) or _is_time(value) for value in set(values) if value)


def _is_number(text: str) -> bool:
    try:
        read_volume(text.replace(",", ""))
    except ValueError:
        return any(map(str.isdigit, text)) and not any(map(str.isalpha, text))
    return True


def _is_time(text: str) -> bool:
    return (
        bool(re.fullmatch(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]m)?", text, re.IGNORECASE))
        or read_time(text).kind is not Kind.UNREADABLE
    )


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Return a column as texts; of lists, structures and the like none."""
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        return [""] * len(column)
    return ["" if value is None else str(value).strip() for value in column.to_pylist()]
