"""From a table of bars to arrays, sorted by symbol and time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.columns import INSTANT
from ingestion.base.errors import InputError
from ingestion.base.instants import MICROSECONDS
from ingestion.base.wording import counted

GAP = "missing_from"
COLUMNS = ("timestamp", "symbol", "open", "close", "split_ratio", "event_timestamp")


@dataclass(frozen=True)
class Series:
    """Checked bars as arrays of shape ``(n,)``, sorted by symbol and then time.

    Within a symbol both ``opened`` and ``closed`` ascend strictly.
    """

    codes: NDArray[np.int32]
    """Positions in ``names``, ascending."""
    names: pa.Array
    """The symbols, sorted."""
    opened: NDArray[np.int64]
    """Bar open, Unix µs."""
    closed: NDArray[np.int64]
    """Bar close, Unix µs."""
    open: NDArray[np.float64]
    """As traded."""
    close: NDArray[np.float64]
    """As traded."""
    split_ratio: NDArray[np.float64]
    """New shares for an old one on an ex-date, 1 on other days."""
    after_gap: NDArray[np.bool_]
    """Whether a session is missing between the symbol's bar before and this one."""
    high: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """As traded; empty unless asked for."""
    low: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """As traded; empty unless asked for."""

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def ends(self) -> NDArray[np.int64]:
        """For each bar, the row behind its symbol's last bar."""
        after = np.searchsorted(self.codes, np.arange(len(self.names)), side="right")
        ends: NDArray[np.int64] = after[self.codes]
        return ends

    def symbols(self, rows: NDArray[np.int64]) -> pa.Array:
        """Return the symbols of some rows, as strings."""
        return self.names.take(pa.array(self.codes[rows])).cast(pa.string())


def read_series(bars: pa.Table, more: Sequence[str] = ()) -> Series:
    """Check and sort a table of bars.

    Parameters
    ----------
    more
        Further prices that are needed: ``high``, ``low``.

    Raises
    ------
    InputError
        A column is missing, has another type, or has a null or non-finite value; a split ratio
        is not positive; a key is repeated; a bar closes before it opens, or not after the symbol's
        bar before it.

    Examples
    --------
    >>> day = pa.array([datetime(2026, 1, 5, 21, tzinfo=UTC)], INSTANT)
    >>> bars = {"timestamp": [1_767_623_400], "symbol": ["NYSE:A"], "open": [1.0], "close": [2.0]}
    >>> read_series(pa.table(bars | {"split_ratio": [1.0], "event_timestamp": day})).close.tolist()
    [2.0]
    """
    needed = (*COLUMNS, *more)
    if missing := [name for name in needed if name not in bars.column_names]:
        raise InputError(
            f"bars: missing column {', '.join(missing)}; needed are {', '.join(needed)}"
        )
    for name in needed:
        if nulls := bars[name].null_count:
            raise InputError(f"bars: column {name} is null in {counted(nulls, 'row')}")
    codes, names = _codes(bars["symbol"])
    opened = _typed(bars, "timestamp", pa.types.is_integer, pa.int64()) * MICROSECONDS
    closed = _typed(bars, "event_timestamp", pa.types.is_timestamp, INSTANT).view(np.int64)
    order = np.lexsort((opened, codes))
    after_gap = np.zeros(len(order), dtype=bool)
    if GAP in bars.column_names:
        after_gap = _typed(bars, GAP, pa.types.is_integer, pa.int64()) != 0
    series = Series(
        codes=codes[order],
        names=names,
        opened=opened[order],
        closed=closed[order],
        after_gap=after_gap[order],
        **{
            name: _typed(bars, name, _is_number, pa.float64())[order]
            for name in ("open", "close", "split_ratio", *more)
        },
    )
    _check(series, more)
    return series


def _check(series: Series, more: Sequence[str]) -> None:
    for name in ("open", "close", "split_ratio", *more):
        values: NDArray[np.float64] = getattr(series, name)
        _refuse(series, ~np.isfinite(values), f"{name} is not a finite number")
    _refuse(series, series.split_ratio <= 0, "split_ratio is not above 0")
    _refuse(series, series.closed < series.opened, "closes before it opens")
    follows = np.diff(series.codes, prepend=-1) == 0
    _refuse(series, follows & (np.diff(series.opened, prepend=0) == 0), "is there twice")
    # Two bars of one session would count as two sessions, and answer one decision twice.
    _refuse(
        series,
        follows & (np.diff(series.closed, prepend=0) <= 0),
        "does not close after the symbol's bar before it: two bars of one session",
    )


def _refuse(series: Series, bad: NDArray[np.bool_], problem: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        opened = datetime.fromtimestamp(int(series.opened[row]) // MICROSECONDS, UTC)
        raise InputError(
            f"bars: {series.names[int(series.codes[row])].as_py()}, the bar that opened at "
            f"{opened:%Y-%m-%dT%H:%M:%SZ}, {problem} ({int(bad.sum())} such bars)"
        )


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """Return each row's position among the sorted symbols, and those."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise InputError(f"bars: column symbol must be string, not {column.type}")
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # what no rows at all combine to
        encoded = pa.array([], column.type)
    by_name = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(by_name), dtype=np.int32)
    rank[by_name] = np.arange(len(by_name), dtype=np.int32)
    return rank[encoded.indices.to_numpy()], encoded.dictionary.take(pa.array(by_name))


def _typed(
    bars: pa.Table, name: str, is_kind: Callable[[pa.DataType], bool], target: pa.DataType
) -> NDArray[Any]:
    column = bars[name]
    if not is_kind(column.type):
        raise InputError(f"bars: column {name} must be {target}, not {column.type}")
    values: NDArray[Any] = column.cast(target).to_numpy()
    return values


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
