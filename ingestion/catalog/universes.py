"""Universes: which symbols a run is about, and a training set draws from.

One file of a project's ``feature_repo/universes/`` declares one, under the file's name, by exactly
one of three ways::

    symbols = "candidates.json"      # a file of symbols, beside this one or in the project's folder

    symbolset = "SYML:SP;SPX"        # the members of an index, in TradingView's terms

    [scan]                           # what the scanner finds
    market = "america"
    filter = [{left = "type", operation = "equal", right = "stock"}]
    sort = {by = "market_cap_basic", order = "desc"}
    limit = 500

``max_age`` says how long what was found counts as known (``7d``), ``meaning`` what it is.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from ingestion.base.errors import CatalogError
from ingestion.base.wording import counted, did_you_mean
from ingestion.catalog.scanner_vocabulary import (
    COLUMN_AND_PERCENT,
    GLOBAL,
    LIST,
    MARKETS,
    NOTHING,
    NUMBER,
    OPERATIONS,
    TEXT,
    TEXTS,
    VALUE,
    columns,
    is_column,
    is_symbolset,
)

Value = str | int | float | bool

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_AGE = re.compile(r"([1-9][0-9]{0,3})([dh])")
_HOURS = {"d": 24, "h": 1}
_WAYS = ("scan", "symbols", "symbolset")
_MOST = 100_000
"""Symbols of the largest universe; the largest market has some 60,000."""


@dataclass(frozen=True)
class Condition:
    """One condition of a filter, in the scanner's own terms."""

    left: str
    operation: str
    right: Value | tuple[Value, ...] | None = None
    """None where the operation needs none."""

    def body(self) -> dict[str, Any]:
        """Return its JSON.

        Examples
        --------
        >>> Condition("close", "in_range", (5, 10)).body()
        {'left': 'close', 'operation': 'in_range', 'right': [5, 10]}
        """
        body: dict[str, Any] = {"left": self.left, "operation": self.operation}
        if self.right is not None:
            body["right"] = list(self.right) if isinstance(self.right, tuple) else self.right
        return body


@dataclass(frozen=True)
class Listing:
    """What is asked of the scanner: which symbols of a market, and in which order."""

    market: str = GLOBAL
    filter: tuple[Condition, ...] = ()
    """Every condition must be fulfilled."""
    sort_by: str = "name"
    descending: bool = False
    limit: int | None = None
    """How many of them, the first in that order; all if None."""
    symbolset: str | None = None
    """Only the members of this index."""


@dataclass(frozen=True)
class Universe:
    """A set of symbols that changes with time.

    Examples
    --------
    >>> Universe("sp500", Listing(symbolset="SYML:SP;SPX")).summary
    'the symbols of SYML:SP;SPX'
    """

    name: str
    source: Listing | Path
    """What the scanner is asked, or the file that contains the symbols."""
    max_age: timedelta = timedelta(days=7)
    """How long what was found counts as known."""
    meaning: str = ""
    place: str = field(default="", compare=False)
    """The file that declares it, and the line of what is asked."""

    @property
    def summary(self) -> str:
        """Where its symbols come from, for people."""
        if isinstance(self.source, Path):
            return f"the symbols of {self.source.name}"
        if self.source.symbolset is not None:
            return f"the symbols of {self.source.symbolset}"
        by = f" by {self.source.sort_by}" if self.source.limit else ""
        first = f"the first {self.source.limit}{by}" if self.source.limit else "all"
        count = len(self.source.filter)
        conditions = counted(count, "condition")
        return f"{first} of the market {self.source.market}, {conditions}"


def is_universe_name(name: str) -> bool:
    """Return whether a universe can have a name: ``--universe`` also takes a market's.

    Examples
    --------
    >>> is_universe_name("sp500"), is_universe_name("america"), is_universe_name("S&P 500")
    (True, False, False)
    """
    return _NAME.fullmatch(name) is not None and name not in MARKETS


def load_universes(
    folders: Collection[Path], own_columns: Collection[str] = ()
) -> tuple[Universe, ...]:
    """Read the universes of some folders; a file replaces one of the same name in a folder before.

    Parameters
    ----------
    own_columns
        Columns that the project's groups ask the scanner for: they count as known.

    Raises
    ------
    CatalogError
        If any file is wrong: for each its path, and its line where that is known.

    Examples
    --------
    >>> load_universes([Path("no/such/folder")])
    ()
    """
    files = {path.name: path for folder in folders for path in sorted(folder.glob("*.toml"))}
    found: list[Universe] = []
    wrong: list[str] = []
    for path in files.values():
        if not path.name.startswith(("_", ".")):
            try:
                found.append(read_universe_file(path, own_columns))
            except CatalogError as error:
                wrong.append(str(error))
    if wrong:
        raise CatalogError("; ".join(wrong))
    return tuple(sorted(found, key=lambda universe: universe.name))


def read_universe_file(path: Path, own_columns: Collection[str] = ()) -> Universe:
    """Read one file.

    Raises
    ------
    CatalogError
        If it is wrong: path, line where that is known, and what to write.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "sp500.toml"
    ...     _ = path.write_text('symbolset = "SYML:SP;SPX"')
    ...     read_universe_file(path).summary
    'the symbols of SYML:SP;SPX'
    """
    return _File(path, own_columns).universe()


class _File:
    """One file, which is checked word by word."""

    def __init__(self, path: Path, own_columns: Collection[str]) -> None:
        self._path, self._own = path, own_columns
        try:
            self._text = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise self._error(f"it cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise self._error("it is not UTF-8: write it in that encoding") from None
        try:
            self._document = tomllib.loads(self._text)
        except (ValueError, RecursionError) as error:  # ValueError also for a year of no calendar
            at = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
            lines = len(self._text.splitlines()) or 1
            line = (int(at[1]) if at[1] else lines) if at else None
            reason = str(error)[: at.start()] if at else str(error)
            raise self._error(f"this is not TOML: {reason}", line=line) from None

    def universe(self) -> Universe:
        name = self._path.stem
        if not is_universe_name(name):
            raise self._error(
                f"{name!r} cannot be a universe's name: use a-z, 0-9 and _, and no market's name"
            )
        self._only_known(self._document, (*_WAYS, "max_age", "meaning"), "a universe")
        ways = [way for way in _WAYS if way in self._document]
        if len(ways) != 1:
            has = " and ".join(ways) if ways else "none of them"
            raise self._error(
                f"a universe has exactly one of [scan], symbols and symbolset; this has {has}",
                ways[-1] if ways else None,
            )
        source = getattr(self, f"_{ways[0]}")(self._document[ways[0]])
        meaning = self._text_of(self._document, "meaning") if "meaning" in self._document else ""
        return Universe(name, source, self._max_age(), meaning, self._place(ways[0]))

    def _symbols(self, value: Any) -> Path:
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise self._error('symbols is the name of a file: symbols = "symbols.json"', "symbols")
        beside = (self._path.parent / value).absolute()
        in_project = (self._path.parent / ".." / ".." / value).resolve()
        return in_project if in_project.is_file() and not beside.is_file() else beside

    def _symbolset(self, value: Any) -> Listing:
        if not isinstance(value, str) or not is_symbolset(value):
            raise self._error(
                f"{value!r} is no set of symbols: write it as SYML:SP;SPX", "symbolset"
            )
        return Listing(symbolset=value)

    def _scan(self, scan: Any) -> Listing:
        if not isinstance(scan, dict):
            raise self._error("scan is a table: [scan], and its keys below it", "scan")
        self._only_known(scan, ("market", "filter", "sort", "limit"), "[scan]")
        if "market" not in scan:
            raise self._error('[scan] has no market: market = "america"', "scan")
        market = self._text_of(scan, "market")
        if market not in MARKETS:
            raise self._error(
                f"{market!r} is no market of the scanner{did_you_mean(market, MARKETS)}", market
            )
        by, descending = self._sort(scan["sort"], market) if "sort" in scan else ("name", False)
        limit = scan.get("limit")
        if limit is not None and (type(limit) is not int or not 1 <= limit <= _MOST):
            raise self._error(f"limit is a number from 1 to {_MOST:,}, not {limit!r}", "limit")
        conditions = self._filter(scan.get("filter", []), market)
        return Listing(market, conditions, by, descending, limit)

    def _filter(self, conditions: Any, market: str) -> tuple[Condition, ...]:
        if not isinstance(conditions, list) or not all(isinstance(one, dict) for one in conditions):
            raise self._error(
                'filter is a list of tables: [{left = "close", operation = "greater", right = 5}]',
                "filter",
            )
        return tuple(self._condition(one, market) for one in conditions)

    def _condition(self, one: dict[str, Any], market: str) -> Condition:
        self._only_known(one, ("left", "operation", "right"), "a condition")
        for key in ("left", "operation"):
            if key not in one:
                raise self._error(f"a condition has no {key}: {one}", "filter")
        left, operation = self._text_of(one, "left"), self._text_of(one, "operation")
        self._column(left, market)
        if operation not in OPERATIONS:
            raise self._error(
                f"{operation!r} is no operation of the scanner"
                f"{did_you_mean(operation, OPERATIONS)}",
                operation,
            )
        wanted, right = OPERATIONS[operation], one.get("right")
        if not _RIGHT_SIDES[wanted](right):
            given = "nothing" if right is None else repr(right)
            raise self._error(f"right of {operation} is {wanted}, not {given}", operation)
        named = right[0] if wanted == COLUMN_AND_PERCENT and right else right
        if wanted in (NUMBER, COLUMN_AND_PERCENT) and isinstance(named, str):
            self._column(named, market)
        return Condition(left, operation, tuple(right) if isinstance(right, list) else right)

    def _sort(self, sort: Any, market: str) -> tuple[str, bool]:
        if not isinstance(sort, dict):
            raise self._error('sort is a table: sort = {by = "close", order = "desc"}', "sort")
        self._only_known(sort, ("by", "order"), "sort")
        if "by" not in sort:
            raise self._error('sort does not say by what: sort = {by = "close"}', "sort")
        by = self._text_of(sort, "by")
        self._column(by, market)
        order = sort.get("order", "asc")
        if order not in ("asc", "desc"):
            raise self._error(f"order is asc or desc, not {order!r}", "order")
        return by, order == "desc"

    def _column(self, name: str, market: str) -> None:
        if name in self._own:
            return
        known = columns()
        if market == GLOBAL and name.partition("|")[0] in known:
            return
        if market == GLOBAL or not is_column(name, market):
            raise self._error(
                f"the scanner is not known to have the column {name!r} in the market {market}"
                f"{did_you_mean(name, known)}",
                name,
            )

    def _max_age(self) -> timedelta:
        text = self._document.get("max_age", "7d")
        match = _AGE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise self._error(f"max_age is days or hours, as 7d or 36h, not {text!r}", "max_age")
        return timedelta(hours=int(match[1]) * _HOURS[match[2]])

    def _text_of(self, table: Mapping[str, Any], key: str) -> str:
        value = table[key]
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise self._error(f"{key} is a text of one line, not {value!r}", key)
        return value

    def _only_known(self, table: Mapping[str, Any], known: Collection[str], what: str) -> None:
        for key in table:
            if key not in known:
                raise self._error(
                    f"{what} has no key {key!r}{did_you_mean(key, known)}; it may have "
                    f"{', '.join(known)}",
                    key,
                )

    def _error(
        self, text: str, word: str | None = None, *, line: int | None = None
    ) -> CatalogError:
        """Return an error with the path, and the line of a word or of what the parser said."""
        if line is None and word is not None:
            line = self._line_of(word)
        text = " ".join(text.split())
        return CatalogError(f"{self._place(line)}: {text}")

    def _place(self, at: str | int | None) -> str:
        """Return the path with a line: that of a word, or its number."""
        line = self._line_of(at) if isinstance(at, str) else at
        return str(self._path) if line is None else f"{self._path}, line {line}"

    def _line_of(self, word: str) -> int | None:
        """Return the first line that has a word: the parser does not say where it found it."""
        lines = [line.partition("#")[0] for line in self._text.splitlines()]
        whole = re.compile(rf"(?<![\w.|]){re.escape(word)}(?![\w.|])")
        for is_there in (whole.search, lambda line: word in line):
            for number, line in enumerate(lines, start=1):
                if is_there(line):
                    return number
        return None


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _is_value(value: Any) -> bool:
    return isinstance(value, str | bool) or _is_number(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list_of(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) > 0 and all(map(kind, value))


def _is_column_and_percent(value: Any) -> bool:
    return (
        _is_list_of(_is_value)(value) and _is_text(value[0]) and _is_list_of(_is_number)(value[1:])
    )


_RIGHT_SIDES: Mapping[str, Callable[[Any], bool]] = {
    NUMBER: lambda right: _is_number(right) or _is_text(right),
    VALUE: _is_value,
    TEXT: _is_text,
    TEXTS: lambda right: _is_text(right) or _is_list_of(_is_text)(right),
    LIST: _is_list_of(_is_value),
    COLUMN_AND_PERCENT: _is_column_and_percent,
    NOTHING: lambda right: right is None,
}
"""By what the right side of a condition must be, whether a value of TOML is that."""
