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
from typing import Any, TypeVar

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
class Layout:
    """Where the rows of some symbols, one symbol after the other, are in matrices [bar, symbol]."""

    lengths: NDArray[np.int64]
    """How many rows each symbol has."""

    def matrix(self, values: NDArray[Number], behind: float) -> NDArray[Number]:
        """Return the values of rows as a matrix.

        Parameters
        ----------
        behind
            What stands behind a symbol's last bar.
        """
        if self.is_even:
            return np.ascontiguousarray(values.reshape(len(self.lengths), -1).T)
        shape = (int(self.lengths.max()), len(self.lengths))
        matrix = np.full(shape, behind, dtype=values.dtype)
        matrix.reshape(-1)[self.cells] = values
        return matrix

    def rows(self, matrix: NDArray[Number]) -> NDArray[Number]:
        """Return the values of a matrix by row."""
        return matrix.T.reshape(-1) if self.is_even else matrix.reshape(-1)[self.cells]

    @property
    def size(self) -> int:
        """How many cells a matrix has."""
        return int(self.lengths.max(initial=0)) * len(self.lengths)

    @cached_property
    def is_even(self) -> bool:
        """Whether all symbols have as many rows."""
        return bool(len(self.lengths) and (self.lengths == self.lengths[0]).all())

    @cached_property
    def cells(self) -> NDArray[np.int64]:
        """Where in a matrix, flattened, each row is."""
        symbols, starts = len(self.lengths), np.cumsum(self.lengths) - self.lengths
        column = np.repeat(np.arange(symbols), self.lengths)
        bar = np.arange(len(column)) - starts[column]
        return bar * symbols + column


@dataclass(frozen=True)
class Block:
    """What formulas give for some of a panel's symbols."""

    rows: NDArray[np.intp]
    """Where in the table that the panel was read from the block's rows are, by symbol and time."""
    values: Mapping[str, NDArray[np.float64]]
    """Matrices by name; NaN or infinite where a value is undefined."""
    layout: Layout

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
        if self.layout.is_even:
            rows = self.layout.matrix(self.rows, 0)
            days = day.take(rows)
            if (days == days[:, :1]).all() and (days[1:, 0] > days[:-1, 0]).all():
                return rows.reshape(-1), flat
        order = stable_order(day.take(self.rows))
        cells = self.layout.cells.take(order)
        return self.rows.take(order), {name: each.take(cells) for name, each in flat.items()}


@dataclass(frozen=True)
class Panel:
    """Checked bars, sorted by symbol and timestamp, unique on both."""

    timestamp: NDArray[np.int64]
    symbol: pa.DictionaryArray
    starts: NDArray[np.int64]
    """First row of each symbol, and the number of rows at the end."""
    order: NDArray[np.intp]
    """Where in the table each row is."""
    values: dict[str, NDArray[np.float64]]
    """As the table has them: they are put in order once, when they become matrices."""
    times: dict[str, NDArray[np.int64]]
    """Likewise, ``opened``, ``closed`` and, if it was given, ``missing_from``."""

    @cached_property
    def closed(self) -> NDArray[np.int64]:
        """When each row's bar closed, Unix s."""
        return self.times["closed"].take(self.order)

    def blocks(self) -> Iterator[tuple[slice, Bars, Layout]]:
        """Yield the panel's rows block by block.

        Yields
        ------
        slice
            The panel's rows that are in the block.
        Bars
            Their matrices.
        Layout
            Where in a matrix each of those rows is.
        """
        first = 0
        while first < len(self.starts) - 1:
            last = self._end_of_block(first)
            rows = slice(int(self.starts[first]), int(self.starts[last]))
            layout = Layout(np.diff(self.starts[first : last + 1]))
            yield rows, self._block(rows, layout, {}), layout
            first = last

    def going_on(self, before: Mapping[str, NDArray[Any]]) -> tuple[Bars, Layout]:
        """Return all rows as one block that goes on from other bars, and where each row is.

        Parameters
        ----------
        before
            ``split_before`` and ``gap_before`` of :class:`Bars`, in the order of the symbols.
        """
        layout = Layout(np.diff(self.starts))
        return self._block(slice(0, len(self.timestamp)), layout, before), layout

    def symbols_of(self, rows: slice) -> pa.StringArray:
        """Return the symbols of some rows, in order."""
        codes = to_numpy(self.symbol.indices)[rows]
        is_first = np.append(True, codes[1:] != codes[:-1])[: len(codes)]
        return self.symbol.dictionary.take(from_numpy(codes[is_first]))

    def table(self, values: Mapping[str, NDArray[np.float64]]) -> pa.Table:
        """Return a column per name beside the rows' keys; null where a value is not finite."""
        columns = {name: pa.array(each, mask=~np.isfinite(each)) for name, each in values.items()}
        keys = {"timestamp": pa.array(self.timestamp), "symbol": self.symbol.cast(pa.string())}
        return pa.table({**keys, **columns})

    def _end_of_block(self, first: int) -> int:
        longest, last = 0, first
        while last < len(self.starts) - 1:
            longest = max(longest, int(self.starts[last + 1] - self.starts[last]))
            if last > first and longest * (last + 1 - first) > BLOCK_CELLS:
                break
            last += 1
        return last

    def _block(self, rows: slice, layout: Layout, before: Mapping[str, NDArray[Any]]) -> Bars:
        own = self.order[rows]
        at = layout.matrix(own, 0) if layout.is_even else own[:0]
        lies_so = bool(at.size) and bool((np.diff(at.reshape(-1)) == 1).all())

        def matrix(values: NDArray[Number], behind: float) -> NDArray[Number]:
            # Rows that lie by date are read as they lie.
            if lies_so:
                return values[int(at[0, 0]) :][: at.size].reshape(at.shape)
            return values.take(at) if at.size else layout.matrix(values.take(own), behind)

        missing = self.times.get("missing_from")
        if missing is None and before and (before["gap_before"] < NO_GAP).any():
            missing = np.full(len(self.timestamp), NONE_MISSING)
        elif missing is not None and not before and not missing.take(own).any():
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
    >>> [(rows, block.close.tolist()) for rows, block, _ in panel.blocks()]
    [(slice(0, 1, None), [[1.0]])]
    """
    missing = [name for name in REQUIRED if name not in bars.column_names]
    if missing:
        raise InputError(
            f"bars: missing column {', '.join(missing)}; needed are {', '.join(REQUIRED)}"
        )
    keys = _Keys.of(_integers(bars, "timestamp"), _symbols(bars))
    keys.demand_unique()

    values = {name: keys.finite(name, _numbers(bars, name)) for name in (*PRICES, "volume")}
    if "split_ratio" in bars.column_names:
        ratios = keys.finite("split_ratio", _numbers(bars, "split_ratio"))
        keys.refuse(ratios <= 0, "split_ratio", ratios, "a split ratio is above 0")
    else:
        ratios = np.ones(bars.num_rows)
    opened = _integers(bars, "timestamp")
    if "close_timestamp" in bars.column_names:
        closed = _integers(bars, "close_timestamp")
        keys.refuse(closed < opened, "close_timestamp", closed, "a bar opens, then closes")
    else:
        closed = opened + DAY
    times = {"opened": opened, "closed": closed}
    if "missing_from" in bars.column_names:
        since = times["missing_from"] = _integers(bars, "missing_from")
        keys.refuse(since >= opened, "missing_from", since, "it is before the bar")
    first_rows = np.flatnonzero(np.diff(keys.codes, prepend=-1))
    return Panel(
        timestamp=keys.timestamp,
        symbol=pa.DictionaryArray.from_arrays(from_numpy(keys.codes), keys.names),
        starts=np.append(first_rows, len(keys.timestamp)),
        order=keys.of_table,
        values={**values, "split_ratio": ratios},
        times=times,
    )


@dataclass(frozen=True)
class _Keys:
    """Symbol and timestamp of each row, in order, and the words to name a row in an error."""

    timestamp: NDArray[np.int64]
    codes: NDArray[np.int32]
    """Into the names."""
    names: pa.StringArray
    """Of the symbols, in order."""
    of_table: NDArray[np.intp]
    """Where in the table each row is."""

    @classmethod
    def of(
        cls, timestamp: NDArray[np.int64], symbols: tuple[NDArray[np.int32], pa.StringArray]
    ) -> _Keys:
        """Put a table's keys in order; rows mostly come in it, or by date."""
        codes, names = symbols
        order = _by_symbol(codes, len(names))
        keys = cls(timestamp.take(order), codes.take(order), names, order)
        earlier = keys.timestamp[1:] < keys.timestamp[:-1]
        if (earlier & (keys.codes[1:] == keys.codes[:-1])).any():
            order = np.lexsort((timestamp, codes))
            keys = cls(timestamp.take(order), codes.take(order), names, order)
        return keys

    def row(self, row: int) -> str:
        seconds = int(self.timestamp[row])
        try:
            when = f"{seconds} ({datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ})"
        except (ValueError, OverflowError, OSError):
            when = str(seconds)
        return f"symbol {self.names[int(self.codes[row])].as_py()}, timestamp {when}"

    def demand_unique(self) -> None:
        same = (np.diff(self.codes) == 0) & (np.diff(self.timestamp) == 0)
        if same.any():
            raise InputError(
                f"bars: {int(same.sum())} repeated (symbol, timestamp), the first at "
                f"{self.row(int(np.argmax(same)))}; pass one bar per symbol and timestamp"
            )

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
            row = int(np.argmax(bad[self.of_table]))
            raise InputError(
                f"bars: column {name} is {values[self.of_table[row]]} at {self.row(row)} "
                f"({int(bad.sum())} such rows); {rule}"
            )


def _by_symbol(codes: NDArray[np.int32], symbols: int) -> NDArray[np.intp]:
    """Return where rows are that are put in the order of their symbols; those of one as they are.

    Parameters
    ----------
    codes
        Numbers of so many symbols, by row.
    """
    order = np.arange(len(codes))
    if not (codes[1:] < codes[:-1]).any():
        return order
    if len(codes) % symbols == 0:
        dates = order.reshape(-1, symbols)
        if (codes.reshape(dates.shape) == dates[0]).all():  # each date has all of them
            return dates.T.reshape(-1)
    return stable_order(codes)


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
