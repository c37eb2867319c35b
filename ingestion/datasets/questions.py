"""Who is asked about and when: each member of a choice, at each decision of a schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.arrow import from_numpy
from ingestion.base.columns import INSTANT
from ingestion.datasets.choice import Choice
from ingestion.datasets.schedule import Schedule
from ingestion.markets.sessions import by_hours

SLICE = 1 << 17
"""Questions of a slice. Of four times as many, the answers take twice the memory, and a sixth more
time: what is freed with one slice serves the next."""
_MANY = 1 << 10
"""Questions at each decision, on average, from which on each has a chunk of its own."""


class Slice(NamedTuple):
    """Questions that follow each other in time, by instant and then by symbol."""

    codes: NDArray[np.int32]
    """Positions of the symbols among all, shape ``(n,)``."""
    instants: NDArray[np.int64]
    """The decisions, Unix µs, shape ``(n,)``, ascending."""
    names: pa.Array
    """All symbols."""

    @property
    def symbols(self) -> pa.ChunkedArray:
        """The symbols, as codes of a dictionary."""
        return pa.chunked_array(
            [pa.DictionaryArray.from_arrays(from_numpy(self.codes), self.names)]
        )

    def keys(self) -> dict[str, pa.ChunkedArray]:
        """Return the columns that identify a row of the answer."""
        times = pa.chunked_array([from_numpy(self.instants).cast(INSTANT)])
        return {"symbol": self._texts(), "event_timestamp": times}

    def _texts(self) -> pa.ChunkedArray:
        """Return the symbols, the same chunk for decisions that have the same ones."""
        begins = np.append(0, np.flatnonzero(self.instants[1:] != self.instants[:-1]) + 1)
        if len(begins) * _MANY > len(self.codes):
            return self.symbols.cast(pa.string())
        chunks: list[pa.Array] = []
        before = self.codes[:0]
        for codes in np.split(self.codes, begins[1:]):
            same = np.array_equal(codes, before)
            chunks.append(chunks[-1] if same else self.names.take(from_numpy(codes)))
            before = codes
        return pa.chunked_array(chunks).cast(pa.string())


@dataclass(frozen=True)
class Questions:
    """The questions of a panel.

    Examples
    --------
    >>> from datetime import date
    >>> from ingestion.datasets import Universe
    >>> names = ["BINANCE:BTCUSDT", "NYSE:KO"]
    >>> weekend = Schedule(date(2021, 3, 6), date(2021, 3, 8))
    >>> asked = Questions(pa.array(names), weekend, Universe.fixed(names), until=2**62)
    >>> [pa.table(each.keys()).to_pylist()[-1]["symbol"] for each in asked.slices()]
    ['NYSE:KO']
    >>> sum(len(each.codes) for each in asked.slices())  # three midnights and Monday's close
    4
    """

    names: pa.Array
    """The symbols that may be asked about, sorted, each once."""
    schedule: Schedule
    choice: Choice
    """Who is asked about when; at times when that is not known, nobody is."""
    until: int
    """No decision is later, Unix µs."""

    def decisions(self) -> NDArray[np.int64]:
        """Return the instants of all decisions, ascending, each once."""
        of_hours = (self._decisions(key) for key in by_hours(self.names.to_pylist()))
        return np.unique(np.concatenate([np.empty(0, np.int64), *of_hours]))

    def unknown(self) -> int:
        """Return at how many decisions it is not known who could be chosen."""
        return int(np.count_nonzero(~self.choice.is_known(self.decisions())))

    def slices(self, size: int = SLICE) -> Iterator[Slice]:
        """Yield the questions, in the order of time, about ``size`` at a time; none without any."""
        groups = by_hours(self.names.to_pylist())
        decisions = self.decisions()
        asked = np.array([np.isin(decisions, self._decisions(key)) for key in groups], dtype=bool)
        places = list(groups.values())
        together: dict[bytes, NDArray[np.int32]] = {}
        codes: list[NDArray[np.int32]] = []
        instants: list[int] = []
        count = 0
        for number, instant in enumerate(decisions.tolist()):
            who = asked[:, number]
            if (key := who.tobytes()) not in together:
                found = np.concatenate([places[n] for n in np.flatnonzero(who)])
                together[key] = np.sort(found).astype(np.int32)
            codes.append(together[key])
            instants.append(instant)
            count += len(codes[-1])
            if count >= size:
                yield from self._chosen(codes, instants)
                codes, instants, count = [], [], 0
        yield from self._chosen(codes, instants)

    def _chosen(self, codes: list[NDArray[np.int32]], instants: list[int]) -> Iterator[Slice]:
        if not codes:
            return
        times = np.repeat(np.array(instants, np.int64), [len(each) for each in codes])
        whole = np.concatenate(codes)
        kept = self.choice.was_active(self.names, whole, times) & self.choice.is_known(times)
        if kept.all():
            yield Slice(whole, times, self.names)
        elif kept.any():
            yield Slice(whole[kept], times[kept], self.names)

    def _decisions(self, key: str) -> NDArray[np.int64]:
        decisions = self.schedule.decisions(key)
        return decisions[decisions <= self.until]
