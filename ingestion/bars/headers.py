"""From a file's header to the columns of its instruments.

Most files have one line of names. Data frames with two levels of columns have two lines, of prices
and of symbols in either order, and often a third that names the index alone. Some write both in one
name: ``AAPL.Open``, ``Close_AAPL``, ``('Close', 'AAPL')``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingestion.bars.cells import EMPTY_CELLS
from ingestion.bars.vendors import PRICES, Role, plain, recognise, role_of


@dataclass(frozen=True)
class Series:
    """The columns of one instrument, or of many that a column of symbols tells apart."""

    columns: Mapping[Role, tuple[int, ...]]
    """Positions in the header; more than one where a name is repeated."""
    name: str | None = None
    """The vendor's name, where the header has it."""


@dataclass(frozen=True)
class Header:
    """What the names of a file's columns say."""

    names: tuple[str, ...]
    series: tuple[Series, ...]
    lines: int = 1
    """How many lines it has."""


_INDEX = re.compile(r"|unnamed\s*:?\s*0.*|index|level_0|__index_level_0__", re.IGNORECASE)
_LEVEL = frozenset({"", "price", "prices", "ticker", "tickers", "symbol", "symbols", "attributes"})
_TUPLE = re.compile(r"\(\s*['\"](.*?)['\"]\s*,\s*['\"](.*?)['\"]\s*\)")
_NO_SYMBOLS = frozenset(
    re.findall(
        r"\S+",
        """
        adj adjusted adjclose unadj unadjusted raw split splits price prices px last first prev
        previous next pre post after day daily week weekly month monthly year bid ask mid usd
        eur gbp jpy cny inr chf cad aud market mkt session trade total avg average mean norm log
        scaled stock shares opening closing intraday regular extended overnight high low open
        close volume range true heikin ha
        """,
    )
)
"""Words beside a price's name that are no instrument, and units below one."""


def one_line(names: Sequence[str]) -> Header:
    """Return what one line of names says; columns without a role are left out."""
    roles = recognise(names)
    # The index of a data frame is the first column of a CSV, and the last of a Parquet file.
    index = [at for at in (0, -1) if names and _INDEX.fullmatch(names[at].strip())]
    if Role.TIME not in roles and index:
        roles[Role.TIME] = (range(len(names))[index[0]],)
    if not all(price in roles for price in PRICES):
        series = _by_name([_in_two(name) for name in names], roles.get(Role.TIME))
        if series:
            return Header(tuple(names), series)
    return Header(tuple(names), (Series(roles),))


def two_lines(upper: Sequence[str], lower: Sequence[str]) -> Header | None:
    """Return what two lines say of prices and symbols; none if they are not such lines."""
    if len(upper) != len(lower) or list(upper) == list(lower):
        return None
    for prices, symbols in ((upper, lower), (lower, upper)):
        roles = recognise(prices)
        if not all(price in roles for price in PRICES) or plain(symbols[0]) not in _LEVEL | {
            "date"
        }:
            continue
        below = [symbols[at] for price in PRICES for at in roles[price]]
        # Beside a name of the level they cannot be a row's prices.
        by_number = bool(symbols[0].strip())
        if not all(_is_symbol(name, by_number) for name in below):
            continue
        names = tuple(
            f"{symbol} {price}".strip() for price, symbol in zip(prices, symbols, strict=True)
        )
        time = next(
            (
                at
                for at, name in enumerate(prices)
                if role_of(name) is Role.TIME and not symbols[at]
            ),
            0,
        )
        pairs = [
            (symbol, price) if _is_symbol(symbol, by_number) and at != time else None
            for at, (price, symbol) in enumerate(zip(prices, symbols, strict=True))
        ]
        if series := _by_name(pairs, (time,)):
            return Header(names, series, lines=2)
    return None


def names_index_alone(cells: Sequence[str]) -> bool:
    """Tell whether a line is the one below two levels of names that only names the index."""
    return role_of(cells[0]) is Role.TIME and all(
        not cell.strip() or cell.startswith("Unnamed") for cell in cells[1:]
    )


def _by_name(
    pairs: Sequence[tuple[str, str] | None], time: tuple[int, ...] | None
) -> tuple[Series, ...]:
    """Return the instruments that have all prices, from symbol and price of each column."""
    if time is None:
        return ()
    columns: dict[str, dict[int, str]] = {}
    for at, pair in enumerate(pairs):
        if pair is not None and at not in time:
            columns.setdefault(pair[0], {})[at] = pair[1]
    series = []
    for symbol, named in columns.items():
        roles = recognise(list(named.values()))
        if all(price in roles for price in PRICES):
            positions = list(named)
            found = {role: tuple(positions[at] for at in found) for role, found in roles.items()}
            series.append(Series({**found, Role.TIME: time}, symbol))
    return tuple(series)


def _in_two(name: str) -> tuple[str, str] | None:
    """Split a column's name into symbol and price."""
    if match := _TUPLE.fullmatch(name.strip()):
        first, last = match.groups()
        return (last, first) if role_of(first) in _ROLES else (first, last)
    for mark in ("_", ".", " ", "|", ":", "-"):
        for symbol, _, price in (name.rpartition(mark), name.partition(mark)[::-1]):
            if symbol and role_of(price) in _ROLES and _is_symbol(symbol):
                return symbol.strip(), price
    return None


_ROLES = (*PRICES, Role.VOLUME, Role.SPLIT_RATIO)


def _is_symbol(text: str, by_number: bool = False) -> bool:
    word = text.strip().casefold()
    if word in _NO_SYMBOLS | EMPTY_CELLS or word.startswith("unnamed"):
        return False
    return by_number or not re.fullmatch(r"[+-]?[\d.,]+(e[+-]?\d+)?%?", word)
