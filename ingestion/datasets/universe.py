"""Which symbols could be chosen at a decision: those known to be active at its time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.arrow import codes_in, strings, to_numpy
from ingestion.base.columns import INSTANT
from ingestion.base.ordered import last_before

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
            codes=to_numpy(pc.index_in(rows["symbol"], value_set=names)).astype(np.int64),
            since=to_numpy(rows["valid_from"].cast(INSTANT)),
            active=to_numpy(rows["active"]),
        )

    @classmethod
    def fixed(cls, symbols: Iterable[str]) -> Universe:
        """Take symbols as active at all times, and no others."""
        names = strings(sorted(set(symbols)))
        size = len(names)
        return cls(names, np.arange(size), np.full(size, _ALWAYS), np.ones(size, dtype=bool))

    def is_known(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return True for each time: what was not observed counts as not active."""
        return np.ones(len(times), dtype=bool)

    def was_active(
        self, names: pa.Array, codes: NDArray[np.integer], times: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which symbols were active, as :class:`~ingestion.datasets.choice.Choice` says."""
        own = codes_in(self.names, names)
        if self.active.all() and (self.since == _ALWAYS).all():
            fixed: NDArray[np.bool_] = (own >= 0)[codes]
            return fixed
        at = last_before(self.codes, self.since, own[codes], times)
        active: NDArray[np.bool_] = (at >= 0) & np.append(self.active, False)[at]
        return active
