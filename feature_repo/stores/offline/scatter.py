"""Values of the rows that answer, on their way from the files to the questions.

Questions are in no order that the files know: to bring each value straight to its question is to
write where no cache has been. Values of one width, as features are, therefore go in two steps:

1. Out of a file into the block of questions where each belongs, behind what is there already: a few
   places in memory, each written from its beginning to its end.
2. When all are there, within each block, which a core's cache holds, to their questions.

They lie in the answer itself meanwhile; no second copy of it is made. Values of other types stay in
Arrow's hands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from feature_repo.stores.offline.ahead import in_threads
from feature_repo.stores.offline.instants import one_chunk
from feature_repo.stores.offline.lookup import Integers
from feature_repo.stores.offline.source import Column, stacked

_BLOCK_BITS = 15
"""32,768 questions: a quarter of a megabyte for a column of theirs."""


class Scattered:
    """Columns of an answer.

    Parameters
    ----------
    asked
        The questions that get a row, in the order of the files that have it, shape ``(n,)``.
    size
        How many questions there are; those that get no row are null.
    """

    def __init__(self, columns: Sequence[Column], asked: Integers, size: int) -> None:
        self._columns, self._asked, self._size = columns, asked, size
        self._blocks = _Blocks(asked)
        self._plain = {
            column.name: _Plain(column.type, size)
            for column in columns
            if column.type is not None and _is_plain(column.type)
        }
        self._others = [column.name for column in columns if column.name not in self._plain]
        self._taken: list[tuple[Integers, pa.Table]] = []

    def put(self, which: Integers, table: pa.Table, rows: Integers) -> None:
        """Give some of the asked, by their place among them, a row of a table each.

        Threads may at once, each to others.
        """
        places = self._blocks.places[which]
        for name, column in self._plain.items():
            column.put(places, one_chunk(table[name]), rows)
        if self._others:
            taken = table.select(self._others).take(pa.array(rows))
            self._taken.append((self._asked[which], taken))

    def columns(self) -> list[pa.ChunkedArray]:
        """Return each column's values, in the order of the questions; to be called once, at last.

        Raises
        ------
        CorruptPart
            If the tables do not agree on the type of a column that has none declared.
        """
        answered = np.zeros(self._size, dtype=bool)
        answered[self._asked] = True
        plain = in_threads(
            lambda column: column.values(self._blocks, answered), self._plain.values()
        )
        columns = dict(zip(self._plain, plain, strict=True))
        if self._taken:
            columns |= self._in_order()
        return [
            columns.get(column.name, _nulls(self._size, column.type)) for column in self._columns
        ]

    def _in_order(self) -> dict[str, pa.ChunkedArray]:
        questions, tables = zip(*self._taken, strict=True)
        asked = np.concatenate(questions)
        places = np.full(self._size, -1)
        places[asked] = np.arange(len(asked))
        rows = stacked(tables).take(pa.array(places, mask=places < 0))
        return dict(zip(rows.column_names, rows.columns, strict=True))


class _Blocks:
    """Blocks of questions, and where in them values wait."""

    def __init__(self, asked: Integers) -> None:
        block = asked >> _BLOCK_BITS
        # Integers of one or two bytes are sorted by radix.
        order = np.argsort(block.astype(np.min_scalar_type(block.max(initial=0))), kind="stable")
        self._questions = asked[order]
        counts = np.bincount(block)
        self._ends = np.cumsum(counts)
        first = (np.arange(len(counts)) << _BLOCK_BITS) - (self._ends - counts)
        self.places = np.empty_like(asked)
        """For each of the asked, in the order given: its block's next place, shape ``(n,)``."""
        self.places[order] = np.arange(len(asked)) + np.repeat(first, counts)

    def settle(self, values: np.ndarray) -> None:
        """Move values from where they wait to their questions."""
        begin = 0
        for block, end in enumerate(self._ends.tolist()):
            first = block << _BLOCK_BITS
            waiting = values[first : first + end - begin].copy()
            values[self._questions[begin:end]] = waiting
            begin = end


class _Plain:
    """A column whose values are whole bytes, all of one width."""

    def __init__(self, kind: pa.DataType, size: int) -> None:
        self._type = kind
        width = kind.bit_width // 8
        self._word = f"V{width}" if width > 8 else f"u{width}"
        self._words = np.empty(size, self._word)
        # Bytes, since threads cannot share those of a bitmap.
        self._null = np.zeros(size, dtype=bool)

    def put(self, places: Integers, array: pa.Array, rows: Integers) -> None:
        bits, words = array.buffers()
        begin, end = array.offset, array.offset + len(array)
        self._words[places] = np.frombuffer(words, self._word)[begin:end].take(rows, mode="clip")
        if array.null_count:
            valid = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")[begin:end]
            self._null[places[valid.take(rows, mode="clip") == 0]] = True

    def values(self, blocks: _Blocks, answered: np.ndarray) -> pa.ChunkedArray:
        blocks.settle(self._words)
        if self._null.any():
            blocks.settle(self._null)
        valid = pa.py_buffer(np.packbits(answered & ~self._null, bitorder="little"))
        buffers = [valid, pa.py_buffer(self._words)]
        return pa.chunked_array([pa.Array.from_buffers(self._type, len(answered), buffers)])


def _is_plain(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind)
    )


def _nulls(size: int, kind: pa.DataType | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(size, kind or pa.null())])
