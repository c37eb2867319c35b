"""The rows of a feature table between two instants: all of them, or the newest of each key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import numpy as np
import pyarrow as pa

from ingestion.base.columns import Column
from ingestion.base.reading import reading_again
from ingestion.plugins.offline.files import Span
from ingestion.plugins.offline.instants import instant
from ingestion.plugins.offline.keys import KeyCodes
from ingestion.plugins.offline.lookup import NEVER, Integers
from ingestion.plugins.offline.prefetch import in_threads
from ingestion.plugins.offline.source import Piece, stacked
from ingestion.plugins.offline.table import FeatureTable, fetch, row_numbers

_LEAST_BATCH = 1 << 16
_NUMBER = "\0number"
"""A name that no column of a file has."""


def rows_between(table: FeatureTable, span: Span, *, refuse_unknown: bool = True) -> pa.Table:
    """Return all rows with events within a span, by file and place.

    Parameters
    ----------
    refuse_unknown
        Otherwise a feature whose column no file has is null.

    Raises
    ------
    CorruptPart
        If a file cannot be read, or the files do not agree on a column's type.
    InputError
        If no file has a feature's column.
    """

    def read() -> pa.Table:
        pieces = table.source.pieces(_touches(span))
        pieces.sort(key=lambda piece: (piece.file.number, piece.first_row))
        columns = (*table.keys, *table.features, *table.ranking)
        return stacked(
            [
                _empty(columns),
                *in_threads(lambda piece: _within(table, piece, columns, span)[0], pieces),
            ]
        )

    rows = reading_again(read)
    if refuse_unknown:
        table.source.refuse_unknown(table.features)
    return rows


def newest_between(table: FeatureTable, span: Span) -> pa.Table:
    """Return of each key the row with the newest event within a span, then the newest created.

    Rows whose key is null in part are left out; the features are read of the winners alone.

    Returns
    -------
    pa.Table
        Keys, features, event and created time; sorted by key.

    Raises
    ------
    CorruptPart
        If a file cannot be read, or the files do not agree on a column's type.
    InputError
        If no file has a feature's column.
    """

    def read() -> pa.Table:
        pieces = table.source.pieces(_touches(span))
        best = _empty(table.ranking).append_column(_NUMBER, pa.array([], pa.int64()))
        batch, size = [best], 0
        for rows in in_threads(lambda piece: _numbered(table, piece, span), pieces):
            batch.append(rows)
            size += rows.num_rows
            if size >= max(best.num_rows, _LEAST_BATCH):
                best = _newest(table, stacked(batch))
                batch, size = [best], 0
        best = _newest(table, stacked(batch))
        files = {piece.file.number: piece.file for piece in pieces}
        features = fetch(table.source, files, best[_NUMBER].to_numpy(), table.features)
        arrays = {column.name: best[column.name] for column in table.keys}
        arrays |= {c.name: values for c, values in zip(table.features, features, strict=True)}
        return pa.table(arrays | {c.name: best[c.name] for c in table.ranking})

    rows = reading_again(read)
    table.source.refuse_unknown(table.features)
    return rows


def newest_event(table: FeatureTable) -> datetime | None:
    """Return the newest event time of all rows; None if no row has one."""

    def read() -> int:
        newest = NEVER
        for piece in table.source.pieces(lambda *_: True):  # the newest last event first
            if piece.span[1] <= newest:
                break
            rows = table.source.read(piece, (table.event,))
            newest = max(newest, int(table.events(rows).max(initial=NEVER)))
        return newest

    newest = reading_again(read)
    return None if newest == NEVER else instant(newest)


def _touches(span: Span) -> Callable[[int, int], bool]:
    return lambda first, last: first <= span[1] and last >= span[0]


def _within(
    table: FeatureTable, piece: Piece, columns: tuple[Column, ...], span: Span
) -> tuple[pa.Table, Integers]:
    rows = table.source.read(piece, columns)
    events = table.events(rows)
    kept = (events >= span[0]) & (events <= span[1])
    numbers = row_numbers(piece, rows.num_rows)
    return (rows, numbers) if kept.all() else (rows.filter(pa.array(kept)), numbers[kept])


def _numbered(table: FeatureTable, piece: Piece, span: Span) -> pa.Table:
    rows, numbers = _within(table, piece, table.ranking, span)
    return rows.append_column(_NUMBER, pa.array(numbers))


def _newest(table: FeatureTable, rows: pa.Table) -> pa.Table:
    """Keep the best row of each key, sorted by key."""
    key = KeyCodes(table.key_columns(rows), rows.num_rows).codes
    order = np.lexsort((rows[_NUMBER].to_numpy(), table.creations(rows), table.events(rows), key))
    ranked = key[order]
    last = np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)]
    return rows.take(pa.array(order[last & (ranked >= 0)]))


def _empty(columns: tuple[Column, ...]) -> pa.Table:
    types = {column.name: column.type or pa.null() for column in columns}
    return pa.schema(list(types.items())).empty_table()
