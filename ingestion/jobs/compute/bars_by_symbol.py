"""Bars laid out by symbol: the cache ``ohlcv_1d_by_symbol``.

Bars lie by date, so that to read a symbol's is to read everything. This has them once more, a file
per month that is over, some symbols after the other: ``_caches/ohlcv_1d_by_symbol/2021-03.zip``. It
may be deleted at any time; what it lacks is read by date, and the next run makes it anew.

A file says which parts it was made from (:class:`~ingestion.lakehouse.seen.SeenParts`). Rows that
were written since are read beside it, and dates of which a part is gone instead of it; so the bars
of the current month, and whatever happens to old ones, are never a reason to write it again at
once. A run writes the few months again that have most of that.

A row's prices and volume are kept as they are; its other columns once for all rows that have the
same, for most symbols open and close together, and few are split. That takes 46 bytes per bar.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.bars.arrays import PRICES_AND_VOLUME, close_seconds
from ingestion.base.arrow import empty_table, from_numpy, strings, to_numpy
from ingestion.base.instants import DAY, day_of_date
from ingestion.base.ordered import distinct, runs
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import (
    CacheFile,
    Lakehouse,
    Part,
    SeenParts,
    arrow_schema,
    by_date,
    current,
    read_current,
    read_current_of,
    read_unseen,
)
from ingestion.lakehouse.caches import CacheReader, CacheWriter, UnreadableCache, cache_files

FOLDER = "ohlcv_1d_by_symbol"
_LAYOUT = 4
_SYMBOLS_AT_ONCE = 512
"""Symbols whose bars of a month are read together."""
_MANY = 12
"""Parts beside a month's file, or gone, from which on it is made again."""
_SCHEMA = arrow_schema(OHLCV_1D)
_NAMES = _SCHEMA.names
_NUMBERS = [*PRICES_AND_VOLUME]
_SHARED = [name for name in _NAMES if name not in {*_NUMBERS, "symbol"}]


class BarsBySymbol:
    """The bars of a lakehouse; the caller has locked it.

    Parameters
    ----------
    seen
        All parts of bars, as they are now.
    scratch
        A folder of this run, below the lakehouse's root; made when it is needed.
    """

    def __init__(self, lakehouse: Lakehouse, seen: SeenParts, scratch: Path) -> None:
        self._lakehouse, self._seen, self._scratch = lakehouse, seen, scratch
        self._months = {month: list(each) for month, each in groupby(seen.parts, _month)}
        self._over = set(list(self._months)[:-1])
        self._unreadable: set[str] = set()

    def months(self, parts: Iterable[Part], symbols: Sequence[str] | None) -> Iterator[pa.Table]:
        """Yield the current bars of some parts, and withdrawn ones, by month.

        Parameters
        ----------
        parts
            All of each date, by date.
        symbols
            In order; None for all, and then what a month lacks is made on the way.
        """
        for month, each in groupby(parts, _month):
            of_month = list(each)
            if month not in self._over or len(of_month) < len(self._months[month]):
                yield read_by_date(of_month, symbols)
                continue
            rows, is_stale = self._read(month, symbols)
            if symbols is None and is_stale:
                rows = _joined(rows)
                self._write(month, rows)
            yield rows

    def refresh(self, changed: Iterable[Part], at_most: int) -> None:
        """Make some of the months that there are not, or that have much beside them.

        Those that could not be read are made too.

        Parameters
        ----------
        changed
            Parts that are new.
        at_most
            How many months; reading all bars makes the others, or the next runs.
        """
        there = {file.name for file in cache_files(self._lakehouse, FOLDER)}
        wanted = {month for month in self._over if _name(month) not in there} | self._unreadable
        looked_at = (self._over & {_month(part) for part in changed}) - wanted
        wanted |= {month for month in looked_at if self._is_stale(month)}
        for month in sorted(wanted, reverse=True)[:at_most]:
            self._write(month, read_by_date(self._months[month], None))
        gone = there - {_name(month) for month in self._over}
        if gone:
            folder = CacheFile(FOLDER, self._lakehouse).key
            self._lakehouse.remove(folder, {name.rpartition("/")[2] for name in gone})

    def _read(self, month: str, symbols: Sequence[str] | None) -> tuple[pa.Table, bool]:
        """Return a month's bars, and whether its file should be made again."""
        parts = self._months[month]
        try:
            with CacheReader(CacheFile(_name(month), self._lakehouse)) as reader:
                before = reader.document(_seen_of)
                rows = _rows(reader, symbols)
        except UnreadableCache:
            self._unreadable.add(month)
            return read_by_date(parts, symbols), True
        gone, news = self._changes(month, before)
        if gone or news:
            rows = _with_changes(rows, parts, gone, news, before, symbols)
        return rows, len(gone) + len(news) >= _MANY

    def _is_stale(self, month: str) -> bool:
        try:
            with CacheReader(CacheFile(_name(month), self._lakehouse)) as reader:
                gone, news = self._changes(month, reader.document(_seen_of))
        except UnreadableCache:
            return True
        return len(gone) + len(news) >= _MANY

    def _changes(self, month: str, before: SeenParts) -> tuple[set[date], list[Part]]:
        """Return dates of which parts are gone since, and other parts with rows that are new."""
        gone = self._seen.gone_since(before)
        new = (part for part in self._months[month] if self._seen.is_new(part, before))
        return gone, [part for part in new if part.date not in gone]

    def _write(self, month: str, rows: pa.Table) -> None:
        """Make a month's file."""
        code, symbols = _encoded(rows["symbol"])
        by_name = pc.sort_indices(symbols)
        rank = np.empty(len(by_name), dtype=np.int32)
        rank[to_numpy(by_name)] = np.arange(len(by_name), dtype=np.int32)
        blocks, places = np.divmod(rank, _SYMBOLS_AT_ONCE)
        block, place = blocks.take(code), places.astype(np.uint16).take(code)
        code, shared = _coded(rows.select(_SHARED))
        numbers = [to_numpy(rows[name]) for name in _NUMBERS]
        # Inside a block the rows stay by date; of a date, most lie side by side.
        by_block = sorted(runs(block))
        self._scratch.mkdir(parents=True, exist_ok=True)
        path = self._scratch / "by_symbol.zip"
        with CacheWriter(path) as writer:
            writer.table("symbols", pa.table({"symbol": symbols.take(by_name)}))
            writer.table("shared", shared)
            for at, own in groupby(by_block, itemgetter(0)):
                pieces = [slice(start, end) for _, start, end in own]

                def of_block(column: NDArray[Any], pieces: list[slice] = pieces) -> NDArray[Any]:
                    return np.concatenate([column[piece] for piece in pieces])

                writer.array(f"{at}.numbers", *map(of_block, numbers))
                writer.array(f"{at}.shared", of_block(code))
                writer.array(f"{at}.place", of_block(place))
            seen = self._seen.of(self._months[month])
            writer.document({"layout": _LAYOUT, "seen": seen.document()})
        CacheFile(_name(month), self._lakehouse).put(path)
        self._unreadable.discard(month)
        self._scratch.rmdir()


def has_month(lakehouse: Lakehouse, month: str) -> bool:
    """Return whether there is a file of a month, such as ``2021-03``."""
    return CacheFile(_name(month), lakehouse).exists()


def read_month(lakehouse: Lakehouse, days: Sequence[date], symbols: Sequence[str]) -> pa.Table:
    """Read the current bars of some symbols in one month, and withdrawn ones; without a lock.

    Parameters
    ----------
    days
        All partition dates of the month, in their order.
    """
    month = month_of(days[0])
    try:
        with CacheReader(CacheFile(_name(month), lakehouse)) as reader:
            before = reader.document(_seen_of)
    except UnreadableCache:
        before = None
    seen = SeenParts.look(lakehouse, OHLCV_1D, before, days)
    if not seen.parts:  # all of its parts are gone
        return empty_table(_SCHEMA)
    rows, _ = BarsBySymbol(lakehouse, seen, lakehouse.scratch_folder(""))._read(month, symbols)
    return rows


def _month(part: Part) -> str:
    return month_of(part.date)


def month_of(day: date) -> str:
    """Return the month of a date as files are named by it: ``2021-03``."""
    return day.isoformat()[:7]


def _name(month: str) -> str:
    return f"{FOLDER}/{month}.zip"


def _seen_of(document: dict[str, object]) -> SeenParts:
    if document["layout"] != _LAYOUT:
        raise ValueError("another version wrote it")
    return SeenParts.of_document(document["seen"])  # type: ignore[arg-type]


def read_by_date(parts: list[Part], symbols: Sequence[str] | None) -> pa.Table:
    """Read the current bars of some symbols, or of all, and withdrawn ones, from their dates."""
    tables = [
        read_current(of_day, OHLCV_1D, _NAMES, withdrawn=True)
        if symbols is None
        else read_current_of(of_day, OHLCV_1D, symbols, _NAMES, withdrawn=True)
        for of_day in by_date(parts).values()
    ]
    return pa.concat_tables([empty_table(_SCHEMA), *tables])


def _rows(reader: CacheReader, symbols: Sequence[str] | None) -> pa.Table:
    """Return the rows of some symbols, or of all."""
    names = reader.table("symbols")["symbol"].combine_chunks()
    shared = reader.table("shared")
    is_wanted = np.ones(len(names), dtype=bool)
    if symbols is not None:
        found = pc.index_in(strings(symbols), value_set=names).drop_null()
        is_wanted[:] = False
        is_wanted[to_numpy(found)] = True
    tables = [empty_table(_SCHEMA)]
    for block in distinct(np.flatnonzero(is_wanted) // _SYMBOLS_AT_ONCE).tolist():
        numbers = reader.array(f"{block}.numbers", np.float64, (len(_NUMBERS), -1))
        code = reader.array(f"{block}.shared", np.int32)
        number = reader.array(f"{block}.place", np.uint16).astype(np.int64)
        number += block * _SYMBOLS_AT_ONCE
        at = np.flatnonzero(is_wanted[number])
        if len(at) < len(code):
            numbers, code, number = numbers[:, at], code[at], number[at]
        columns = dict(zip(_NUMBERS, map(from_numpy, numbers), strict=True))
        columns["symbol"] = names.take(from_numpy(number))
        rest = shared.take(from_numpy(code))
        columns |= {name: rest[name] for name in _SHARED}
        tables.append(pa.table([columns[name] for name in _NAMES], schema=_SCHEMA))
    return pa.concat_tables(tables)


def _joined(rows: pa.Table) -> pa.Table:
    """Return rows with each column of numbers in one piece, so that it is put together once."""
    for at, field in enumerate(rows.schema):
        if not pa.types.is_string(field.type):
            rows = rows.set_column(at, field, rows[at].combine_chunks())
    return rows


def _with_changes(
    rows: pa.Table,
    parts: list[Part],
    gone: set[date],
    news: list[Part],
    before: SeenParts,
    symbols: Sequence[str] | None,
) -> pa.Table:
    """Return rows with what was written since; dates of which parts are gone are read anew."""
    day, of_day = close_seconds(rows) // DAY, by_date(news)
    again = [part for part in parts if part.date in gone]
    others = ~np.isin(day, [day_of_date(each) for each in {*gone, *of_day}])
    tables = [rows.filter(from_numpy(others)), read_by_date(again, symbols)]
    for each, new in of_day.items():
        own = rows.filter(from_numpy(day == day_of_date(each)))
        further = pa.concat_tables(read_unseen(part, OHLCV_1D, _NAMES, before) for part in new)
        if symbols is not None:
            further = further.filter(pc.is_in(further["symbol"], value_set=strings(symbols)))
        tables.append(current(pa.concat_tables([own, further])))
    return pa.concat_tables(tables)


def _encoded(texts: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.StringArray]:
    """Return the number of each text among the different ones, and these.

    Most dates have the texts of the date before, which are looked at once.
    """
    different: list[pa.StringArray] = []
    at = []
    for chunk in texts.iterchunks():
        if not different or not chunk.equals(different[-1]):
            different.append(chunk)
        at.append(len(different) - 1)
    encoded = pa.chunked_array(different, texts.type).combine_chunks().dictionary_encode()
    code = to_numpy(encoded.indices)
    bounds = list(pairwise(np.cumsum([0, *map(len, different)]).tolist()))
    codes = [code[slice(*bounds[each])] for each in at]
    return np.concatenate([np.empty(0, np.int32), *codes]), encoded.dictionary


def _coded(rows: pa.Table) -> tuple[NDArray[np.int32], pa.Table]:
    """Return the number of each row among the different ones, and these."""
    columns = [
        # By their bits: a number is to come back as it is.
        _encoded(column)[0] if pa.types.is_string(column.type) else to_numpy(column).view(np.int64)
        for column in rows.columns
    ]
    begins = np.zeros(rows.num_rows, dtype=bool)
    begins[:1] = True
    for column in columns:  # neighbours are mostly alike
        begins[1:] |= column[1:] != column[:-1]
    heads = np.flatnonzero(begins)
    code = np.zeros(len(heads), dtype=np.int64)
    for column in columns:
        encoded = from_numpy(column[heads]).dictionary_encode()
        code = code * len(encoded.dictionary) + to_numpy(encoded.indices)
        code = to_numpy(from_numpy(code).dictionary_encode().indices)  # small again
    first = np.empty(int(code.max(initial=-1)) + 1, dtype=np.int64)
    first[code[::-1]] = heads[::-1]
    lengths = np.diff(np.append(heads, len(begins)))
    return np.repeat(code.astype(np.int32), lengths), rows.take(from_numpy(first))
