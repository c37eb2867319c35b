"""What is asked of a feature table: its values as of many instants, or its rows between two.

The point-in-time values take two steps. First the columns that decide, of the files that can
matter, newest first and a piece at a time: they say which row answers each question (see ``join``),
and reading stops where no older row could. Then the features of the rows that won.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from ingestion.base.columns import Column
from ingestion.base.instants import from_micros, to_micros
from ingestion.base.reading import reading_again
from ingestion.plugins.offline.fetch import Chosen, FeatureTable, fetch, row_numbers
from ingestion.plugins.offline.files import SourceFile, Span
from ingestion.plugins.offline.join import Answers, AsOfJoin, Instants
from ingestion.plugins.offline.key_codes import KeyCodes
from ingestion.plugins.offline.lookup import FOREVER, NEVER, Integers, Rows
from ingestion.plugins.offline.source import Piece, stacked
from ingestion.plugins.offline.sweep import Decisions, Sweep


@dataclass(frozen=True)
class History:
    """What was known at the instants."""

    columns: list[pa.ChunkedArray]
    """The table's features, a value for each question."""
    matched: int
    """Questions that a row answers."""
    created_later: int | None
    """Those whose row was created after their instant; None without a created column."""


def point_in_time(
    table: FeatureTable,
    keys: KeyCodes,
    instants: Instants | Decisions,
    *,
    ttl: int | None,
    as_recorded: bool,
    read_once: bool = False,
) -> History:
    """Answer questions.

    Parameters
    ----------
    keys
        The questions' keys, in the types and the order of the table's, a key for each instant.
    ttl, as_recorded
        As in :class:`~ingestion.plugins.offline.join.AsOfJoin`.
    read_once
        Whether a date that is the newest at some instant is read with its features at once, as most
        of its rows will answer. These are in memory beside the answer, about as many as questions.

    Raises
    ------
    CorruptPart
        If a file cannot be read, or not in the declared types.
    InputError
        If no file has a feature's column.
    """
    as_recorded = as_recorded and table.created is not None

    def answers_of(files: dict[int, SourceFile], ahead: _Ahead) -> Answers:
        join = (
            Sweep(keys.codes, instants, ttl=ttl, as_recorded=as_recorded)
            if isinstance(instants, Decisions)
            else AsOfJoin(keys.codes, instants, ttl=ttl, as_recorded=as_recorded)
        )
        for rows, newest_to_come in _batches(table, keys, join, files, ahead):
            join.offer(rows, newest_to_come)
        return join.answers()

    def read() -> History:
        files: dict[int, SourceFile] = {}
        ahead = _Ahead(instants, len(keys.codes) if read_once else 0)
        answers = answers_of(files, ahead)
        chosen, created_later = Chosen(answers.row, answers.question), answers.created_later
        del answers  # the join's memory is free before values are fetched
        return History(
            columns=fetch(table.source, files, chosen, table.features, ahead.tables),
            matched=int(chosen.counts.sum()),
            created_later=None if table.created is None else created_later,
        )

    history = reading_again(read)
    table.source.refuse_unknown(table.features)
    return history


class _Ahead:
    """Features that are read before it is known which rows answer.

    Parameters
    ----------
    room
        About how many rows there may be.
    """

    def __init__(self, instants: Instants | Decisions, room: int) -> None:
        self._instants, self._room = instants, room
        self.tables: dict[int, pa.Table] = {}
        """By the number of the file, all of its rows."""

    def read(self, table: FeatureTable, pieces: Sequence[Piece], place: int) -> pa.Table:
        """Read what decides of a piece; its features too if there is room and it may answer."""
        piece, features = pieces[place], table.features
        if self._room <= 0 or not self._is_newest(pieces, place):
            return table.source.read(piece, table.ranking)
        rows = table.source.read(piece, (*table.ranking, *features))
        self._room -= rows.num_rows
        self.tables[piece.file.number] = rows.select([column.name for column in features])
        return rows.select([column.name for column in table.ranking])

    def _is_newest(self, pieces: Sequence[Piece], place: int) -> bool:
        """Return whether a piece is a date, and the newest one at some instant."""
        first = pieces[place].span[0]
        later = (piece.span[0] for piece in reversed(pieces[:place]) if piece.span[0] > first)
        is_date = pieces[place].row_group is None
        return is_date and self._instants.any_between(first, next(later, FOREVER) - 1)


def _batches(
    table: FeatureTable,
    keys: KeyCodes,
    join: AsOfJoin | Sweep,
    files: dict[int, SourceFile],
    ahead: _Ahead,
) -> Iterator[tuple[Rows, int]]:
    """Yield each piece's rows, and after what instant no row of a later one has its event."""
    pieces = table.source.pieces(join.needs)
    files.update((piece.file.number, piece.file) for piece in pieces)
    # Asked when its turn comes: by then, newer rows have answered more.
    needed = (place for place, piece in enumerate(pieces) if join.needs(*piece.span))
    read = table.source.at_once(lambda n: (n, ahead.read(table, pieces, n)), needed)
    waiting: list[tuple[int, pa.Table]] = []
    size = 0
    for place, rows in read:
        waiting.append((place, rows))
        size += rows.num_rows
        # To look keys up takes as long as there are keys that were asked for.
        if size >= keys.count:
            yield from _encoded(table, keys, pieces, waiting)
            waiting, size = [], 0
    yield from _encoded(table, keys, pieces, waiting)


def _encoded(
    table: FeatureTable, keys: KeyCodes, pieces: list[Piece], read: list[tuple[int, pa.Table]]
) -> Iterator[tuple[Rows, int]]:
    if not read:
        return
    together = pa.concat_tables([rows for _, rows in read])
    codes = keys.encode(table.key_columns(together), together.num_rows)
    begin = 0
    for place, rows in read:
        following = pieces[place + 1 : place + 2]
        key, created = codes[begin : begin + rows.num_rows], table.creations(rows)
        number = row_numbers(pieces[place], rows.num_rows)
        begin += rows.num_rows
        if not np.all(known := table.is_known(created)):
            key = np.where(known, key, -1)
        yield (
            Rows(key, table.events(rows), created, number),
            following[0].span[1] if following else NEVER,
        )


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
                *table.source.at_once(
                    lambda piece: _within(table, piece, columns, span)[0], pieces
                ),
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
        for rows in table.source.at_once(lambda piece: _numbered(table, piece, span), pieces):
            batch.append(rows)
            size += rows.num_rows
            if size >= max(best.num_rows, _LEAST_BATCH):
                best = _newest(table, stacked(batch))
                batch, size = [best], 0
        best = _newest(table, stacked(batch))
        files = {piece.file.number: piece.file for piece in pieces}
        features = fetch(table.source, files, Chosen(best[_NUMBER].to_numpy()), table.features)
        arrays = {column.name: best[column.name] for column in table.keys}
        arrays |= {c.name: values for c, values in zip(table.features, features, strict=True)}
        return pa.table(arrays | {c.name: best[c.name] for c in table.ranking})

    rows = reading_again(read)
    table.source.refuse_unknown(table.features)
    return rows


def span(start: datetime | None, end: datetime | None, *, nulls: bool = False) -> Span:
    """Return the span between two instants, either of which may be left out.

    Parameters
    ----------
    nulls
        Whether rows without an event time are in a span without either.

    Examples
    --------
    >>> span(datetime(1970, 1, 1), datetime(1970, 1, 2))
    (0, 86400000000)
    """
    everything = nulls and start is None and end is None
    first = NEVER if everything else NEVER + 1
    return (
        first if start is None else to_micros(start),
        FOREVER if end is None else to_micros(end),
    )


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
    return None if newest == NEVER else from_micros(newest)


def _touches(span: Span) -> Callable[[int, int], bool]:
    return lambda first, last: first <= span[1] and last >= span[0]


def _within(
    table: FeatureTable, piece: Piece, columns: tuple[Column, ...], span: Span
) -> tuple[pa.Table, Integers]:
    rows = table.source.read(piece, columns)
    events = table.events(rows)
    kept = (events >= span[0]) & (events <= span[1]) & table.is_known(table.creations(rows))
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
