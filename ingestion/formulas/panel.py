"""From a table of bars to matrices and back.

Bars are checked, sorted, and handed out in blocks of whole symbols. In a block, row k is the
k-th bar of each symbol, whatever its date: a formula counts bars, and a gap in one market's
calendar is no bar. Blocks are bounded in size, so memory beyond input and output does not grow
with the universe.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.arrow import from_numpy, to_numpy
from ingestion.base.errors import InputError
from ingestion.base.instants import DAY
from ingestion.base.ordered import stable_order
from ingestion.formulas.declaration import NO_GAP, NONE_MISSING, Bars

Number = TypeVar("Number", np.float64, np.int64)

PRICES = ("open", "high", "low", "close")
REQUIRED = ("timestamp", "symbol", *PRICES, "volume")

BLOCK_CELLS = 1 << 17
"""Bars times symbols of a block: 1 MiB a matrix, and tens of matrices at a time.

Larger blocks fall out of the processor's cache, smaller ones pay the loop over bars too often.
"""


@dataclass(frozen=True)
class Block:
    """What formulas give for some of a panel's symbols."""

    at: NDArray[np.intp]
    """Where in the table that the panel was read from each bar is, shape (bars, symbols); -1 behind
    a symbol's last bar."""
    values: Mapping[str, NDArray[np.float64]]
    """Matrices by name; NaN or infinite where a value is undefined."""

    def by_date(
        self, day: NDArray[np.int64]
    ) -> tuple[NDArray[np.intp], dict[str, NDArray[np.float64]]]:
        """Return the block's rows by date, those of one date in the order of the symbols.

        The values of symbols that have bars of the same dates are not even copied.

        Parameters
        ----------
        day
            Of each row of the table.

        Returns
        -------
        NDArray of intp
            Where in the table they are.
        dict of str to NDArray
            Their values by name.
        """
        flat = {name: matrix.reshape(-1) for name, matrix in self.values.items()}
        if self.at.size and self.at.min() >= 0:
            days = day.take(self.at)
            if (days == days[:, :1]).all() and (days[1:, 0] > days[:-1, 0]).all():
                return self.at.reshape(-1), flat
        cells = np.arange(self.at.size).reshape(self.at.shape).T[self.at.T >= 0]
        rows = self.at.reshape(-1).take(cells)
        order = stable_order(day.take(rows))
        cells = cells.take(order)
        return rows.take(order), {name: each.take(cells) for name, each in flat.items()}


class BarBlock(NamedTuple):
    """The bars of some of a panel's symbols."""

    symbols: pa.StringArray
    """In order."""
    rows: slice
    """The panel's rows that they are."""
    at: NDArray[np.intp]
    """As :attr:`Block.at`."""
    bars: Bars
    """Their matrices."""

    def by_row(self, matrix: NDArray[Number]) -> NDArray[Number]:
        """Return the values of a matrix by row: one symbol after the other."""
        return matrix.T[self.at.T >= 0]


@dataclass(frozen=True)
class Panel:
    """Checked bars; by symbol and timestamp, on both of which they are unique, in their order."""

    symbols: pa.StringArray
    """Those that have bars, in order."""
    starts: NDArray[np.int64]
    """First row of each symbol, and the number of rows at the end."""
    sorted_rows: NDArray[np.intp] | None
    """Where in the table each row is; None if it has all symbols' bars by date, in their order."""
    values: dict[str, NDArray[np.float64]]
    """As the table has them: they are put in order once, when they become matrices."""
    times: dict[str, NDArray[np.int64]]
    """Likewise, ``opened``, ``closed`` and, if it was given, ``missing_from``."""

    @property
    def size(self) -> int:
        """How many bars there are."""
        return int(self.starts[-1])

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Where in the table each row is."""
        if self.sorted_rows is not None:
            return self.sorted_rows
        return np.arange(self.size).reshape(-1, len(self.symbols)).T.reshape(-1)

    @cached_property
    def symbol(self) -> pa.DictionaryArray:
        """The symbol of each row."""
        codes = np.repeat(np.arange(len(self.symbols), dtype=np.int32), np.diff(self.starts))
        return pa.DictionaryArray.from_arrays(from_numpy(codes), self.symbols)

    @cached_property
    def closed(self) -> NDArray[np.int64]:
        """When each row's bar closed, Unix s."""
        return self.times["closed"].take(self.order)

    def blocks(self, before: Mapping[str, NDArray[Any]] | None = None) -> Iterator[BarBlock]:
        """Yield the bars of some symbols after the other.

        Parameters
        ----------
        before
            ``split_before`` and ``gap_before`` of :class:`Bars`, in the order of the symbols: the
            bars go on from others, and all of them are one block.
        """
        for symbols in self._blocks() if before is None else [slice(0, len(self.symbols))]:
            rows = slice(int(self.starts[symbols.start]), int(self.starts[symbols.stop]))
            at = self._at(symbols, rows)
            yield BarBlock(self.symbols[symbols], rows, at, self._bars(symbols, at, before or {}))

    def table(self, values: Mapping[str, NDArray[np.float64]]) -> pa.Table:
        """Return a column per name beside the rows' keys; null where a value is not finite."""
        columns = {name: pa.array(each, mask=~np.isfinite(each)) for name, each in values.items()}
        timestamp = pa.array(self.times["opened"].take(self.order))
        keys = {"timestamp": timestamp, "symbol": self.symbol.cast(pa.string())}
        return pa.table({**keys, **columns})

    def _blocks(self) -> Iterator[slice]:
        """Yield the symbols of each block."""
        first = 0
        while first < len(self.symbols):
            last = self._end_of_block(first)
            yield slice(first, last)
            first = last

    def _end_of_block(self, first: int) -> int:
        longest, last = 0, first
        while last < len(self.symbols):
            longest = max(longest, int(self.starts[last + 1] - self.starts[last]))
            if last > first and longest * (last + 1 - first) > BLOCK_CELLS:
                break
            last += 1
        return last

    def _at(self, symbols: slice, rows: slice) -> NDArray[np.intp]:
        if self.sorted_rows is None:
            first = np.arange(0, self.size, len(self.symbols))
            return first[:, None] + np.arange(symbols.start, symbols.stop)
        lengths = np.diff(self.starts[symbols.start : symbols.stop + 1])
        at = np.full((int(lengths.max(initial=0)), len(lengths)), -1, dtype=np.intp)
        at.T[np.arange(len(at)) < lengths[:, None]] = self.sorted_rows[rows]
        return at

    def _bars(
        self, symbols: slice, at: NDArray[np.intp], before: Mapping[str, NDArray[Any]]
    ) -> Bars:
        def matrix(values: NDArray[Number], behind: float) -> NDArray[Number]:
            if self.sorted_rows is None:  # they lie as in a matrix of all symbols
                own = values.reshape(-1, len(self.symbols))[:, symbols]
                return np.ascontiguousarray(own) if values.dtype == np.float64 else own
            cells = values.take(at)
            cells[at < 0] = behind
            return cells

        missing = self.times.get("missing_from")
        if missing is None and before and (before["gap_before"] < NO_GAP).any():
            missing = np.full(self.size, NONE_MISSING)
        elif missing is not None and not before and not missing.take(at[at >= 0]).any():
            missing = None
        return Bars(
            **{name: matrix(each, np.nan) for name, each in self.values.items()},
            opened=matrix(self.times["opened"], np.iinfo(np.int64).max),
            closed=matrix(self.times["closed"], 0),
            missing_from=None if missing is None else matrix(missing, NONE_MISSING),
            split_before=before.get("split_before"),
            gap_before=before.get("gap_before"),
        )


def read_panel(bars: pa.Table) -> Panel:
    """Check and sort a table of bars.

    Raises
    ------
    InputError
        A column is missing, has another type or contains a null or non-finite value; a key is
        repeated; a split ratio is not positive; a bar closes before it opens, or a session that is
        missing before a bar opens after it.

    Examples
    --------
    >>> one = pa.array([1.0])
    >>> panel = read_panel(pa.table({"timestamp": [0], "symbol": ["X:A"], "open": one, "high": one,
    ...                           "low": one, "close": one, "volume": one}))
    >>> [(block.rows, block.bars.close.tolist()) for block in panel.blocks()]
    [(slice(0, 1, None), [[1.0]])]
    """
    missing = [name for name in REQUIRED if name not in bars.column_names]
    if missing:
        raise InputError(
            f"bars: missing column {', '.join(missing)}; needed are {', '.join(REQUIRED)}"
        )
    opened = _integers(bars, "timestamp")
    keys = _Keys.of(opened, _symbols(bars))

    values = {name: keys.finite(name, _numbers(bars, name)) for name in (*PRICES, "volume")}
    if "split_ratio" in bars.column_names:
        ratios = keys.finite("split_ratio", _numbers(bars, "split_ratio"))
        keys.refuse(ratios <= 0, "split_ratio", ratios, "a split ratio is above 0")
    else:
        ratios = np.ones(bars.num_rows)
    if "close_timestamp" in bars.column_names:
        closed = _integers(bars, "close_timestamp")
        keys.refuse(closed < opened, "close_timestamp", closed, "a bar opens, then closes")
    else:
        closed = opened + DAY
    times = {"opened": opened, "closed": closed}
    if "missing_from" in bars.column_names:
        since = times["missing_from"] = _integers(bars, "missing_from")
        keys.refuse(since >= opened, "missing_from", since, "it is before the bar")
    symbols, starts = keys.by_symbol()
    return Panel(
        symbols=symbols,
        starts=starts,
        sorted_rows=keys.sorted_rows,
        values={**values, "split_ratio": ratios},
        times=times,
    )


@dataclass(frozen=True)
class _Keys:
    """Symbol and timestamp of each row of a table, and their order."""

    timestamp: NDArray[np.int64]
    codes: NDArray[np.int32]
    """Into the names."""
    names: pa.StringArray
    """In order; there may be others among them."""
    sorted_rows: NDArray[np.intp] | None = None
    """As :attr:`Panel.sorted_rows`."""

    @classmethod
    def of(
        cls, timestamp: NDArray[np.int64], symbols: tuple[NDArray[np.int32], pa.StringArray]
    ) -> _Keys:
        """Put a table's keys in order, none of which may be repeated; mostly they come by date."""
        codes, names = symbols
        if _are_by_date(timestamp, codes, len(names)):
            return cls(timestamp, codes, names)
        order = _in_order(codes)
        own, times = codes.take(order), timestamp.take(order)
        same = own[1:] == own[:-1]
        if (same & (times[1:] < times[:-1])).any():
            order = np.lexsort((timestamp, codes))
            times = timestamp.take(order)
        keys = cls(timestamp, codes, names, order)
        twice = same & (times[1:] == times[:-1])
        if twice.any():
            raise InputError(
                f"bars: {int(twice.sum())} repeated (symbol, timestamp), the first at "
                f"{keys.row(order[np.argmax(twice)])}; pass one bar per symbol and timestamp"
            )
        return keys

    def by_symbol(self) -> tuple[pa.StringArray, NDArray[np.int64]]:
        """Return the symbols that have rows, and the bounds of these rows."""
        if self.sorted_rows is None:
            rows, symbols = len(self.codes), len(self.names)
            return self.names, np.arange(symbols + 1) * (rows // symbols)
        own = self.codes.take(self.sorted_rows)
        first = np.flatnonzero(np.diff(own, prepend=-1))
        return self.names.take(from_numpy(own[first])), np.append(first, len(own))

    def row(self, row: int) -> str:
        """Return what to call a row of the table."""
        seconds = int(self.timestamp[row])
        try:
            when = f"{seconds} ({datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ})"
        except (ValueError, OverflowError, OSError):
            when = str(seconds)
        return f"symbol {self.names[int(self.codes[row])].as_py()}, timestamp {when}"

    def finite(self, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        # A finite sum has finite summands only, and takes a third of the time.
        with np.errstate(over="ignore", invalid="ignore"):
            is_finite = math.isfinite(values.sum())
        if not is_finite:
            self.refuse(~np.isfinite(values), name, values, "every value must be a finite number")
        return values

    def refuse(
        self, bad: NDArray[np.bool_], name: str, values: NDArray[np.generic], rule: str
    ) -> None:
        """Raise an error that names the first of the rows of the table that are bad."""
        if bad.any():
            order = np.lexsort((self.timestamp, self.codes))
            row = int(order[np.argmax(bad[order])])
            raise InputError(
                f"bars: column {name} is {values[row]} at {self.row(row)} "
                f"({int(bad.sum())} such rows); {rule}"
            )


def _in_order(codes: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return the places of codes in their order, which mostly is theirs."""
    is_in_order = not (codes[1:] < codes[:-1]).any()
    return np.arange(len(codes)) if is_in_order else stable_order(codes)


def _are_by_date(timestamp: NDArray[np.int64], codes: NDArray[np.int32], symbols: int) -> bool:
    """Return whether so many symbols' rows come by date, and each date has all, in their order."""
    if not symbols or len(codes) % symbols:
        return False
    times = timestamp.reshape(-1, symbols)
    is_date = codes.reshape(times.shape) == np.arange(symbols, dtype=codes.dtype)
    return bool(is_date.all() and (times[1:] > times[:-1]).all())


def _symbols(bars: pa.Table) -> tuple[NDArray[np.int32], pa.StringArray]:
    column = bars.column("symbol")
    if column.null_count:
        raise InputError(f"bars: column symbol is null in {column.null_count} rows")
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise InputError(f"bars: column symbol must be string, not {column.type}")
    encoded = column.unify_dictionaries().combine_chunks()
    if not isinstance(encoded, pa.DictionaryArray) or not _is_plain(encoded.dictionary):
        encoded = encoded.cast(pa.string()).dictionary_encode()
    by_name = to_numpy(pc.sort_indices(encoded.dictionary))
    if (by_name[1:] > by_name[:-1]).all():
        return to_numpy(encoded.indices).astype(np.int32, copy=False), encoded.dictionary
    rank = np.empty(len(by_name), dtype=np.int32)
    rank[by_name] = np.arange(len(by_name), dtype=np.int32)
    codes = to_numpy(encoded.indices)
    return rank[codes], encoded.dictionary.take(from_numpy(by_name.astype(np.int64)))


def _is_plain(names: pa.Array) -> bool:
    """Return whether names are all different and strings as we write them."""
    different = pc.count_distinct(names).as_py()  # nulls do not count
    return bool(names.type == pa.string() and different == len(names))


def _integers(bars: pa.Table, name: str) -> NDArray[np.int64]:
    column = bars.column(name)
    if not pa.types.is_integer(column.type):
        raise InputError(f"bars: column {name} must be int64 Unix seconds, not {column.type}")
    if column.null_count:
        raise InputError(f"bars: column {name} is null in {column.null_count} rows")
    return to_numpy(column.cast(pa.int64()))


def _numbers(bars: pa.Table, name: str) -> NDArray[np.float64]:
    """Return a column as float64, NaN for null, so that both are refused with their row."""
    column = bars.column(name)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise InputError(f"bars: column {name} must be double, not {column.type}")
    column = column.cast(pa.float64())
    values: NDArray[np.float64] = column.to_numpy() if column.null_count else to_numpy(column)
    return values
