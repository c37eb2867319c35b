"""The point-in-time values of one feature table: Arrow in, Arrow out.

First the columns that decide, of the files that can matter, newest first and a piece at a time:
they say which row answers each question (see ``join``), and reading stops where no older row could.
Then the features of the rows that won, to the questions they answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from ingestion.base.reading import reading_again
from ingestion.plugins.offline.files import SourceFile
from ingestion.plugins.offline.join import Answers, AsOfJoin, Instants
from ingestion.plugins.offline.keys import KeyCodes
from ingestion.plugins.offline.lookup import NEVER, Rows
from ingestion.plugins.offline.prefetch import in_threads
from ingestion.plugins.offline.source import Piece
from ingestion.plugins.offline.table import FeatureTable, fetch, row_numbers


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
    table: FeatureTable, keys: KeyCodes, instants: Instants, *, ttl: int | None, as_recorded: bool
) -> History:
    """Answer questions.

    Parameters
    ----------
    keys
        The questions' keys, in the types and the order of the table's, a key for each instant.
    ttl, as_recorded
        As in :class:`~ingestion.plugins.offline.join.AsOfJoin`.

    Raises
    ------
    CorruptPart
        If a file cannot be read, or not in the declared types.
    InputError
        If no file has a feature's column.
    """
    as_recorded = as_recorded and table.created is not None

    def answers_of(files: dict[int, SourceFile]) -> Answers:
        join = AsOfJoin(keys.codes, instants, ttl=ttl, as_recorded=as_recorded)
        for rows, newest_to_come in _batches(table, keys, join, files):
            join.offer(rows, newest_to_come)
        return join.answers()

    def read() -> History:
        files: dict[int, SourceFile] = {}
        answers = answers_of(files)  # what the join held is free before values are fetched
        return History(
            columns=fetch(table.source, files, answers.number, table.features),
            matched=int((answers.number >= 0).sum()),
            created_later=None if table.created is None else answers.created_later,
        )

    history = reading_again(read)
    table.source.refuse_unknown(table.features)
    return history


def _batches(
    table: FeatureTable, keys: KeyCodes, join: AsOfJoin, files: dict[int, SourceFile]
) -> Iterator[tuple[Rows, int]]:
    """Yield each piece's rows, and after what instant no row of a later one has its event."""
    pieces = table.source.pieces(join.needs)
    files.update((piece.file.number, piece.file) for piece in pieces)
    # Asked when its turn comes: by then, newer rows have answered more.
    needed = (place for place, piece in enumerate(pieces) if join.needs(*piece.span))
    read = in_threads(lambda n: (n, table.source.read(pieces[n], table.ranking)), needed)
    waiting: list[tuple[int, pa.Table]] = []
    size = 0
    for place, rows in read:
        waiting.append((place, rows))
        size += rows.num_rows
        # Looking keys up costs a pass over all keys that were asked for.
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
        key = codes[begin : begin + rows.num_rows]
        number = row_numbers(pieces[place], rows.num_rows)
        begin += rows.num_rows
        yield (
            Rows(key, table.events(rows), table.creations(rows), number),
            following[0].span[1] if following else NEVER,
        )
