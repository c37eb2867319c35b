"""From which date to which each symbol has rows of a dataset: the caches ``symbol_spans``.

Who looks for a symbol that has no row, or none for years, would open every date. A file per dataset
says outside of which dates there is none. It names the parts that it was made from
(:class:`~ingestion.lakehouse.seen.SeenParts`); those that are new are read and added, so nothing is
said of a part that nobody has looked into. Of parts that are gone it says too much, never too
little.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.arrow import strings
from ingestion.base.instants import date_of_day, day_of_date
from ingestion.catalog import Dataset
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.caches import CacheFile, CacheReader, CacheWriter, UnreadableCache, keep
from ingestion.lakehouse.parts import Part, read_part
from ingestion.lakehouse.seen import SeenParts

_LAYOUT = 1
_NO_DAY = np.iinfo(np.int32).max


class Span(NamedTuple):
    """The dates outside of which a symbol has no row."""

    first: date
    last: date


def span_of(lakehouse: Lakehouse, dataset: Dataset, symbol: str) -> Span | None:
    """Return between which partition dates all rows of a symbol are; None if there is none.

    Reads the parts that were not there when somebody asked last.

    Raises
    ------
    CorruptPart
        If a part that has to be read cannot be.
    FileNotFoundError
        If one is gone since it was listed; see :mod:`ingestion.base.reading`.
    """
    file = CacheFile(f"symbol_spans.{dataset.name}.zip", lakehouse)
    try:
        with CacheReader(file) as reader:
            before = reader.document(_seen_of)
            spans = _Spans(
                reader.table("symbols")["symbol"].to_pylist(),
                reader.array("days", np.int32, (2, -1)),
            )
    except UnreadableCache:
        before, spans = SeenParts({}), _Spans([], np.empty((2, 0), np.int32))
    seen = SeenParts.look(lakehouse, dataset, before)
    new = seen.new_since(before)
    if new:
        spans.add(new, dataset)

        def write(writer: CacheWriter) -> None:
            writer.table("symbols", pa.table({"symbol": strings(spans.numbers)}))
            writer.array("days", *spans.days)
            writer.document({"layout": _LAYOUT, "seen": seen.document()})

        keep(lakehouse, file.name, write)
    return spans.of(symbol)


def _seen_of(document: dict[str, object]) -> SeenParts:
    if document["layout"] != _LAYOUT:
        raise ValueError("another version wrote it")
    return SeenParts.of_document(document["seen"])  # type: ignore[arg-type]


class _Spans:
    """The first and the last day of each symbol, by number."""

    def __init__(self, names: list[str], days: NDArray[np.int32]) -> None:
        self.numbers, self.days = {name: at for at, name in enumerate(names)}, days

    def add(self, parts: Iterable[Part], dataset: Dataset) -> None:
        """Take the symbols of further parts."""
        last, codes = None, np.empty(0, np.int64)
        for part in parts:
            names = read_part(part, dataset, ["symbol"])["symbol"]
            if last is None or not names.equals(last):  # most dates have those of the date before
                last, numbers = names, self.numbers
                codes = np.array(
                    [numbers.setdefault(name, len(numbers)) for name in names.to_pylist()], np.int64
                )
                none = np.full((2, len(numbers) - self.days.shape[1]), _NO_DAY, np.int32)
                none[1] = -_NO_DAY
                self.days = np.concatenate([self.days, none], axis=1)
            day = day_of_date(part.date)
            self.days[0, codes] = np.minimum(self.days[0, codes], day)
            self.days[1, codes] = np.maximum(self.days[1, codes], day)

    def of(self, symbol: str) -> Span | None:
        """Return those of one symbol; None if it is not among them."""
        if (at := self.numbers.get(symbol)) is None:
            return None
        return Span(*map(date_of_day, self.days[:, at].tolist()))
