"""Which symbols could be chosen at a decision: those known to be active at its time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.datasets.series import INSTANT

_ALWAYS = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Universe:
    """When each symbol was active: parallel arrays of shape ``(n,)``, one row per change.

    Sorted by symbol and then time; a row is valid until its symbol's next. Before its first, a
    symbol was not active.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 5, 6)]
    >>> observed = {"symbol": ["NYSE:A"] * 2, "valid_from": days[:2], "active": [True, False]}
    >>> at = pa.array(days, INSTANT).cast(pa.int64()).to_numpy()
    >>> names, codes = pa.array(["NYSE:A"]), np.zeros(3, dtype=np.int64)
    >>> Universe.over_time(pa.table(observed)).was_active(names, codes, at).tolist()
    [True, False, False]
    >>> Universe.fixed(["NYSE:A"]).was_active(names, codes, at).tolist()
    [True, True, True]
    """

    names: pa.Array
    """The symbols, unique, in the order of ``codes``."""
    codes: NDArray[np.int64]
    """Position in ``names``, ascending."""
    since: NDArray[np.int64]
    """From when on, Unix µs, inclusive."""
    active: NDArray[np.bool_]

    @classmethod
    def over_time(cls, rows: pa.Table) -> Universe:
        """Take what was observed of the symbols.

        Parameters
        ----------
        rows
            ``symbol``, ``valid_from`` (timestamp), ``active``; unique on the first two.
        """
        rows = rows.sort_by([("symbol", "ascending"), ("valid_from", "ascending")])
        names = pc.unique(rows["symbol"])
        return cls(
            names=names,
            codes=pc.index_in(rows["symbol"], value_set=names).to_numpy().astype(np.int64),
            since=rows["valid_from"].cast(INSTANT).cast(pa.int64()).to_numpy(),
            active=rows["active"].to_numpy(),
        )

    @classmethod
    def fixed(cls, symbols: Iterable[str]) -> Universe:
        """Take symbols as active at all times, and no others."""
        names = pa.array(sorted(set(symbols)), pa.string())
        size = len(names)
        return cls(names, np.arange(size), np.full(size, _ALWAYS), np.ones(size, dtype=bool))

    def is_known(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return True for each time: what was not observed counts as not active."""
        return np.ones(len(times), dtype=bool)

    def was_active(
        self, names: pa.Array, codes: NDArray[np.integer], times: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which symbols were active at which times.

        Parameters
        ----------
        names
            Symbols, of whatever string type.
        codes
            Shape ``(n,)``: positions in ``names``.
        times
            Shape ``(n,)``: Unix µs.
        """
        if not len(self.codes):
            return np.zeros(len(codes), dtype=bool)
        found = pc.index_in(names.cast(pa.string()), value_set=self.names)
        own = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)[codes]
        instants = np.unique(self.since)
        # Ranks of times, so that (symbol, time) fits into one number to search for.
        ranks = np.searchsorted(instants, times, side="right")
        span = len(instants) + 1
        keys = self.codes * span + np.searchsorted(instants, self.since) + 1
        at = np.searchsorted(keys, own * span + ranks, side="right") - 1
        inside = np.maximum(at, 0)
        known = (own >= 0) & (at >= 0) & (self.codes[inside] == own)
        active: NDArray[np.bool_] = known & self.active[inside]
        return active
