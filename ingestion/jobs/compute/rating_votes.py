"""The votes behind the differences of a rating, from the stored bars.

Only bars whose other columns agree are looked at: where those differ too, the bars do, and no rule
needs to have changed. Votes are computed anew, and only where a rating differs at all.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.arrow import codes_in
from ingestion.base.instants import DAY
from ingestion.formulas import BarFormula, Matrix, shift
from ingestion.formulas.panel import Panel, read_panel
from ingestion.formulas.ratings import RATINGS, Vote, Votes
from ingestion.jobs.compute.pairs import bar_keys
from ingestion.jobs.serve.targets import read_formula_bars
from ingestion.lakehouse import Lakehouse, utc_date
from ingestion.markets.symbols import exchange_of
from ingestion.quality.votes import VoteBreak, VoteRows, find_breaks

_WHOLE = 0.01
"""How far from a whole number a sum of votes may be."""
_WITHOUT_UNIT = {"RSI", "Stoch", "CCI20", "ADX", "W.R", "UO"}
_IN_MONEY = {"Stoch.RSI": 2}
"""Of votes that read both, how many of the first readings are prices."""
_MOST_READS = 4
"""Of a vote that reads more, the bar before is among them already."""
_HISTORY = timedelta(days=1_200)
"""How long before the first bar the stored ones are read.

What a vote then still lacks of an older bar decides it rarely, and such bars are left out.
"""


class RatedBars:
    """The votes of stored bars; those are read when first asked for."""

    def __init__(self, lakehouse: Lakehouse) -> None:
        self._lakehouse = lakehouse
        self._read: tuple[list[str], Panel] | None = None

    def breaks(self, formula: BarFormula, pairs: pa.Table) -> list[VoteBreak]:
        """Return which votes of a rating have followed another rule since when, by market.

        Parameters
        ----------
        pairs
            One row per bar: ``symbol``, ``bar_close``, ``known_at`` (Unix s), ``served``,
            ``recomputed`` and ``agrees``, whether the other columns do.
        """
        error = pc.abs(pc.subtract(pairs["served"], pairs["recomputed"]))
        compared = pc.and_(pairs["agrees"], pc.is_valid(error))
        if not pc.any(pc.and_(compared, pc.greater(error, _WHOLE))).as_py():
            return []
        panel = self._panel(pairs)
        pairs = pairs.filter(compared)
        names, rows = _rows(panel, RATINGS[formula], pairs)
        markets = np.array([exchange_of(name) for name in names.to_pylist()])[rows.symbol]
        differing = np.unique(markets[rows.difference != 0]).tolist()
        found = [
            broken
            for market in differing
            for broken in find_breaks(formula.name, market, rows[markets == market])
        ]
        # A vote that is seldom cast shows in several markets together what it does not in each.
        for pool in (differing, sorted({broken.market for broken in found})):
            if len(pool) > 1:
                together = find_breaks(formula.name, ", ".join(pool), rows[np.isin(markets, pool)])
                named = {name for each in together for name in each.votes}
                if named:
                    return [*together, *(each for each in found if not named & set(each.votes))]
        return found

    def _panel(self, pairs: pa.Table) -> Panel:
        """Return the bars of the symbols of some pairs, up to the last of those."""
        symbols = sorted(pairs["symbol"].unique().to_pylist())
        if self._read is None or self._read[0] != symbols:
            ends = pc.min_max(pairs["bar_close"])
            first, last = (utc_date(ends[end].as_py()) for end in ("min", "max"))
            bars = read_formula_bars(self._lakehouse, first - _HISTORY, last, symbols)
            seconds = pc.divide(bars["event_timestamp"].cast(pa.int64()), 1_000_000)
            bars = bars.drop_columns(["event_timestamp"])
            self._read = symbols, read_panel(bars.append_column("close_timestamp", seconds))
        return self._read[1]


def readings(name: str, vote: Vote, close: Matrix) -> list[Matrix]:
    """Return what a rule of a vote may read: what today's reads, and both a bar before.

    Money is divided by the close of the bar, so that the level of its prices does not show which
    symbol it is.
    """
    in_money = _IN_MONEY.get(name, 0 if name in _WITHOUT_UNIT else len(vote.reads))
    reads = [
        *vote.reads,
        *(shift(each, 1) for each in vote.reads if len(vote.reads) <= _MOST_READS),
    ]
    relative = (
        each / close if number % len(vote.reads) < in_money else each
        for number, each in enumerate(reads)
    )
    return [shift(vote.value.astype(np.float64), 1), *relative]


def _rows(panel: Panel, votes: Votes, pairs: pa.Table) -> tuple[pa.Array, VoteRows]:
    """Return the names of the symbols, and the votes of the bars."""
    encoded = pairs["symbol"].combine_chunks().dictionary_encode()
    names, codes = encoded.dictionary, encoded.indices.to_numpy().astype(np.int64)
    closes, served = pairs["bar_close"].to_numpy(), pairs["served"].to_numpy()
    keys = bar_keys(codes, closes)
    order = np.argsort(keys)
    day = pc.cast(pairs["known_at"], pa.int64()).to_numpy() // DAY
    # A symbol whose values cannot be compared has bars, and no name here.
    panel_keys = bar_keys(codes_in(names, panel.symbol), panel.closed)
    found: list[tuple[NDArray[np.int64], dict[str, Vote]]] = []
    befores: list[NDArray[np.float64]] = []
    for each in panel.blocks():
        by_row, block, rows = each.by_row, each.bars, each.rows
        at = np.searchsorted(keys[order], panel_keys[rows])
        at = np.minimum(at, len(keys) - 1)
        asked = keys[order][at] == panel_keys[rows]
        cut: dict[str, Vote] = {}
        sums = np.zeros(block.close.shape)
        for name, vote in votes(block):
            sums += vote.value
            cut[name] = Vote(
                by_row(vote.value.astype(np.int64))[asked].astype(np.int8),
                by_row(vote.defined.astype(np.int64))[asked].astype(np.bool_),
                tuple(by_row(each)[asked] for each in readings(name, vote, block.close)),
            )
        found.append((order[at[asked]], cut))
        befores.append(np.nan_to_num(by_row(shift(sums, 1))[asked]))
    place_of = np.concatenate([rows for rows, _ in found])
    cast = {
        name: np.concatenate([each[name].value for _, each in found]).astype(np.int64)
        for name in found[0][1]
    }
    count = sum(
        np.concatenate([each[name].defined for _, each in found]).astype(np.int64) for name in cast
    )
    total = sum(cast.values())
    difference = served[place_of] * count - total
    whole = np.rint(difference)
    is_whole = np.abs(difference - whole) < _WHOLE
    # Bars that were restated since the features were computed give other votes.
    stored = pairs["recomputed"].to_numpy()[place_of]
    is_whole &= np.abs(stored * count - total) < _WHOLE
    every = VoteRows(
        codes[place_of],
        day[place_of],
        whole.astype(np.int64),
        np.concatenate(befores).astype(np.int64) - total,
        cast,
        {
            name: [
                np.concatenate([each[name].reads[number] for _, each in found])
                for number in range(len(found[0][1][name].reads))
            ]
            for name in cast
        },
    )
    return names, every[is_whole]
