"""The answer being filled: values go from the rows of a file to the questions that they answer.

Questions are in no order that the files know. Each file is therefore read once, and its values,
which a core's cache holds, are written where they belong; no second copy is kept until then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo.stores.offline.lookup import Integers
from feature_repo.stores.offline.source import Column, stacked


class Scattered:
    """Columns of an answer.

    Parameters
    ----------
    answered
        The questions that get a row, shape ``(n,)``; the others are null.
    """

    def __init__(self, columns: Sequence[Column], answered: NDArray[np.bool_]) -> None:
        self._size = len(answered)
        self._columns = columns
        self._plain = {
            column.name: _Plain(column.type, answered)
            for column in columns
            if column.type is not None and _is_plain(column.type)
        }
        self._others = [column.name for column in columns if column.name not in self._plain]
        self._taken: list[tuple[Integers, pa.Table]] = []

    def put(self, questions: Integers, table: pa.Table, rows: Integers) -> None:
        """Give each question a row of a table; threads may at once, each to its own questions."""
        for name, column in self._plain.items():
            column.put(questions, table[name].combine_chunks(), rows)
        if self._others:
            self._taken.append((questions, table.select(self._others).take(pa.array(rows))))

    def columns(self) -> list[pa.ChunkedArray]:
        """Return each column's values, in the order of the questions.

        Raises
        ------
        CorruptPart
            If the tables do not agree on the type of a column that has none declared.
        """
        others = self._in_order() if self._taken else {}
        return [
            self._plain[column.name].values()
            if column.name in self._plain
            else others.get(column.name, _nulls(self._size, column.type))
            for column in self._columns
        ]

    def _in_order(self) -> dict[str, pa.ChunkedArray]:
        questions, tables = zip(*self._taken, strict=True)
        asked = np.concatenate(questions)
        places = np.full(self._size, -1)
        places[asked] = np.arange(len(asked))
        rows = stacked(tables).take(pa.array(places, mask=places < 0))
        return dict(zip(rows.column_names, rows.columns, strict=True))


class _Plain:
    """A column whose values are whole bytes, all of one width."""

    def __init__(self, kind: pa.DataType, answered: NDArray[np.bool_]) -> None:
        self._type = kind
        width = kind.bit_width // 8
        self._word = f"V{width}" if width > 8 else f"u{width}"
        self._words = np.empty(len(answered), self._word)
        # Bytes, since threads cannot share those of a bitmap.
        self._valid = answered.copy()

    def put(self, questions: Integers, array: pa.Array, rows: Integers) -> None:
        bits, words = array.buffers()
        begin, end = array.offset, array.offset + len(array)
        self._words[questions] = np.frombuffer(words, self._word)[begin:end].take(rows, mode="clip")
        if array.null_count:
            valid = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")[begin:end]
            self._valid[questions[valid.take(rows, mode="clip") == 0]] = False

    def values(self) -> pa.ChunkedArray:
        bits = np.packbits(self._valid, bitorder="little")
        buffers = [pa.py_buffer(bits), pa.py_buffer(self._words)]
        return pa.chunked_array([pa.Array.from_buffers(self._type, len(self._valid), buffers)])


def _is_plain(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind)
    )


def _nulls(size: int, kind: pa.DataType | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(size, kind or pa.null())])
