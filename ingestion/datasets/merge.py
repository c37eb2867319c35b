"""Labels of consecutive date ranges, put together as if they had been made at once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.datasets.forward import DropReason, Labels


class LabelCollection:
    """Collects labels of one target and of disjoint date ranges; holds as little as it can."""

    def __init__(self) -> None:
        self.decisions = 0
        """Decisions so far."""
        self._target = ""
        self._dropped: Counter[DropReason] = Counter(dict.fromkeys(DropReason, 0))
        self._columns: dict[str, list[pa.ChunkedArray]] = {}

    def add(self, labels: Labels) -> None:
        """Take the labels of another range."""
        self.decisions += labels.decisions
        self._target = labels.target
        self._dropped.update(labels.dropped)
        for name in labels.table.column_names:
            column = labels.table[name]
            if name == "symbol":  # codes take a fraction of the memory
                column = column.dictionary_encode()
            self._columns.setdefault(name, []).append(column)

    def merge(self) -> Labels:
        """Return all labels, sorted by symbol and time; the collection is empty then."""
        symbols = self._take("symbol")
        times = self._take("event_timestamp")
        by_name = pc.sort_indices(symbols.dictionary).to_numpy()
        rank = np.empty(len(by_name), dtype=np.int32)
        rank[by_name] = np.arange(len(by_name), dtype=np.int32)
        keys = (times.view(pa.int64()).to_numpy(), rank[symbols.indices.to_numpy()])
        order = pa.array(np.lexsort(keys))
        del keys
        columns = {"symbol": symbols.take(order).cast(pa.string())}
        del symbols
        columns["event_timestamp"] = times.take(order)
        del times
        # One at a time: all columns twice would be one time too many.
        for name in list(self._columns):
            columns[name] = self._take(name).take(order)
        return Labels(self._target, pa.table(columns), self.decisions, dict(self._dropped))

    def _take(self, name: str) -> pa.Array:
        """Return a column in one piece, and forget the pieces."""
        pieces = self._columns.pop(name)
        chunks = [chunk for piece in pieces for chunk in piece.chunks]
        column = pa.chunked_array(chunks, pieces[0].type).unify_dictionaries()
        del pieces, chunks
        whole = column.combine_chunks()
        # What no rows at all combine to is still chunked.
        return pa.array([], column.type) if isinstance(whole, pa.ChunkedArray) else whole
