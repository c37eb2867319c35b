"""Rows of a data set as questions; those of near decisions together, however the rows are sorted.

A slice of questions reads the dates of the lakehouse that it needs. The rows of a training set are
mostly sorted by symbol, so each slice of them would read all dates: they are brought together by
their times, by way of files, and only a slice is in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.arrow import codes_in, from_numpy, to_numpy
from ingestion.base.columns import INSTANT
from ingestion.base.spill import Spill
from ingestion.datasets.questions import SLICE, Slice

NUMBER = "\0number"
"""Column of a row's number in its set, from 0; no other column has such a name."""
_DAY = 86_400_000_000
_DAYS_TOGETHER = 16
"""Of one pile; piles are put together until they have a slice of rows."""


def numbered(batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield tables with the numbers of their rows."""
    count = 0
    for rows in batches:
        yield rows.append_column(NUMBER, from_numpy(np.arange(count, count + rows.num_rows)))
        count += rows.num_rows


def near(batches: Iterable[pa.Table], size: int = SLICE) -> Iterator[pa.Table]:
    """Yield the rows of some tables, those of near decisions together, with their numbers.

    Parameters
    ----------
    batches
        With ``symbol`` and ``event_timestamp`` at least.
    size
        Most rows of a table.
    """
    with TemporaryDirectory(prefix="tvfeast-") as folder, Spill(Path(folder, "rows")) as piles:
        for rows in numbered(batches):
            micros = to_numpy(instants(rows).cast(pa.int64()))
            piles.scatter(rows, micros // (_DAYS_TOGETHER * _DAY))
        waiting: list[pa.Table] = []
        for _, pile in piles.drain():
            waiting.append(pile)
            if sum(each.num_rows for each in waiting) >= size:
                yield from _cut(pa.concat_tables(waiting), size)
                waiting = []
        if waiting:
            yield from _cut(pa.concat_tables(waiting), size)


def _cut(rows: pa.Table, size: int) -> Iterator[pa.Table]:
    for start in range(0, rows.num_rows, size):
        yield rows.slice(start, size).combine_chunks()


def in_order(answers: Iterable[pa.Table], lengths: list[int]) -> Iterator[pa.Table]:
    """Yield the rows of tables in the order of their numbers, which are left out.

    Parameters
    ----------
    lengths
        How many rows each yielded table has.
    """
    ends = np.cumsum(lengths)
    with TemporaryDirectory(prefix="tvfeast-") as folder, Spill(Path(folder, "rows")) as piles:
        for rows in answers:
            numbers = to_numpy(rows[NUMBER])
            piles.scatter(rows, np.searchsorted(ends, numbers, side="right"))
        for _, pile in piles.drain():
            yield pile.take(from_numpy(np.argsort(to_numpy(pile[NUMBER])))).drop_columns(NUMBER)


def instants(rows: pa.Table) -> pa.ChunkedArray:
    """Return the decisions of a set's rows, whatever a label file had given them as."""
    times = rows["event_timestamp"]
    if pa.types.is_timestamp(times.type):
        return times.cast(INSTANT)
    from ingestion.jobs.serve.training_set import instants_of

    series = instants_of("the set", times.to_pandas())
    return pa.chunked_array([pa.array(series)]).cast(INSTANT)


def asked(rows: pa.Table) -> Slice:
    """Return a set's rows as questions."""
    symbols = rows["symbol"].cast(pa.string()).combine_chunks().dictionary_encode()
    micros = to_numpy(instants(rows).cast(pa.int64())).astype(np.int64)
    return Slice(to_numpy(symbols.indices), micros, symbols.dictionary)


class Places:
    """Where a symbol's decision is among rows.

    Parameters
    ----------
    rows
        ``symbol`` and ``event_timestamp``, in any order; no two have both in common.
    """

    def __init__(self, rows: pa.Table) -> None:
        questions = asked(rows)
        self._names = questions.names
        self._times = np.unique(questions.instants)
        keys = self._keys(questions.codes.astype(np.int64), questions.instants)
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]

    def of(self, rows: pa.Table) -> NDArray[np.intp]:
        """Return the place of each of some rows; -1 where there is none."""
        questions = asked(rows)
        own = codes_in(self._names, questions.names)[questions.codes]
        at = np.searchsorted(self._times, questions.instants)
        known = np.append(self._times, -1)[at] == questions.instants
        keys = self._keys(own, questions.instants)
        found = np.searchsorted(self._sorted, keys)
        there = known & (own >= 0) & (np.append(self._sorted, -1)[found] == keys)
        return np.where(there, np.append(self._order, -1)[found], -1)

    def _keys(self, codes: NDArray[np.integer], instants: NDArray[np.int64]) -> NDArray[np.int64]:
        return codes * (len(self._times) + 1) + np.searchsorted(self._times, instants)
