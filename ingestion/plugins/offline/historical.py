"""What a historical retrieval asks of each entity row: some features of some views, as of then.

Nothing here imports Feast unless it raises an error of Feast's: an engine's workers start sooner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.errors import InputError
from ingestion.plugins.offline.entities import EVENT_TIMESTAMP, EntityRows, entity_rows_of
from ingestion.plugins.offline.fetch import FeatureTable
from ingestion.plugins.offline.join import Instants
from ingestion.plugins.offline.key_codes import KeyCodes
from ingestion.plugins.offline.queries import newest_between, point_in_time, rows_between, span


@dataclass(frozen=True)
class ViewTable:
    """A view, as much of it as is asked for."""

    name: str
    """Or its alias."""
    table: FeatureTable
    join_keys: tuple[str, ...]
    """What the entity rows call the table's keys."""
    outputs: dict[str, str]
    """By reference, what each of the table's features is called in the answer, in their order."""
    ttl: int | None
    """µs; None is without limit."""

    @property
    def keys(self) -> tuple[tuple[str, pa.DataType | None], ...]:
        """The entity rows' columns that are the table's keys, and of what type they are there."""
        types = (key.type for key in self.table.keys)
        return tuple(zip(self.join_keys, types, strict=True))


@dataclass(frozen=True)
class ViewCounts:
    """How a view answered."""

    matched: int
    """Entity rows that a row of the view is valid for."""
    created_later: int | None
    """Those whose row was created after the entity row's instant: knowable then by its event time,
    but recorded later. None if the view's source has no created column."""

    def __add__(self, other: ViewCounts) -> ViewCounts:
        if self.created_later is None or other.created_later is None:
            return ViewCounts(self.matched + other.matched, None)
        return ViewCounts(self.matched + other.matched, self.created_later + other.created_later)


@dataclass
class Retrieved:
    """What was read."""

    columns: pa.Table
    entities: EntityRows | None = None
    """The rows that the columns belong beside, if any."""
    counts: Mapping[str, ViewCounts] = field(default_factory=dict)
    """By view."""

    def table(self) -> pa.Table:
        """Return all columns as Arrow."""
        if self.entities is None:
            return self.columns
        table = self.entities.table()
        for name, column in zip(self.columns.column_names, self.columns.columns, strict=True):
            table = table.append_column(name, column)
        return table

    def frame(self) -> pd.DataFrame:
        """Return all columns as pandas; those that a frame was given with, unchanged.

        Doubles stay where they were read to, and the memory of each other column is free when
        pandas has it: what was read is used up.
        """
        read, self.columns = self.columns, pa.table({})
        pa.default_memory_pool().release_unused()  # of what was read by threads that have ended
        if self.entities is None:
            frame: pd.DataFrame = read.to_pandas(self_destruct=True)
            return frame
        names = read.column_names
        columns = {name: found for name in names if (found := _doubles(read[name])) is not None}
        others = read.drop_columns(list(columns))
        del read
        columns |= others.to_pandas(self_destruct=True).items()
        # Unlike `concat`, this leaves each column where it is.
        of_rows = dict(self.entities.frame().items())
        return pd.DataFrame(of_rows | {name: columns[name] for name in names}, copy=False)


def _doubles(column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """Return doubles in their own memory, nulls as not a number; None if that cannot be."""
    if column.type != pa.float64() or column.num_chunks != 1:
        return None
    array = column.chunk(0)
    bits, memory = array.buffers()
    if not memory.is_mutable:
        return None
    values = np.frombuffer(memory, np.float64)[array.offset : array.offset + len(array)]
    if array.null_count:
        valid = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
        values[valid[array.offset : array.offset + len(array)] == 0] = np.nan
    return values


@dataclass(frozen=True)
class Wanted:
    """The features that are asked for."""

    tables: Sequence[ViewTable]
    refs: Sequence[str]
    """In the order in which they were asked for."""
    as_recorded: bool
    """Whether only rows count that had been created by an entity row's instant as well."""

    @property
    def names(self) -> list[str]:
        """What the features are called in the answer, in the order of their references."""
        names = {ref: name for each in self.tables for ref, name in each.outputs.items()}
        return [names[ref] for ref in dict.fromkeys(self.refs) if ref in names]

    @property
    def join_keys(self) -> list[str]:
        """The columns of entity rows that say who is asked about."""
        return list(dict.fromkeys(key for each in self.tables for key in each.join_keys))

    def refuse(self, names: Sequence[str], event: str) -> None:
        """Refuse entity rows that cannot be joined.

        Parameters
        ----------
        names
            Their columns.
        event
            That of the instants.

        Raises
        ------
        InputError
            If a feature has the name of such a column or of another feature.
        FeastEntityDFMissingColumnsError
            If a join key is missing.
        """
        taken = set(names)
        if missing := set(self.join_keys) - taken:
            from feast.errors import FeastEntityDFMissingColumnsError

            raise FeastEntityDFMissingColumnsError({*self.join_keys, event}, missing)
        for each in self.tables:
            for ref, name in each.outputs.items():
                if name in taken:
                    raise InputError(
                        f"the feature {ref} would be a second column {name}: rename that of the "
                        "entity rows, or ask for full_feature_names"
                    )
                taken.add(name)

    def answer(self, entities: EntityRows, *, as_frame: bool) -> Retrieved:
        """Join each view, and put the features into the order in which they were asked for.

        Raises
        ------
        InputError
            If the entity rows cannot be joined, or a source cannot be read.
        """
        codes: dict[tuple[tuple[str, pa.DataType | None], ...], KeyCodes] = {}
        columns: dict[str, pa.ChunkedArray] = {}
        counts: dict[str, ViewCounts] = {}
        # Python's values become Arrow's on one core; instants are put in order on another.
        with ThreadPoolExecutor(1) as pool:
            ordered = pool.submit(Instants, entities.instants)
            for each in self.tables:
                if each.keys not in codes:
                    codes[each.keys] = KeyCodes(
                        [entities.encoded_key(*one) for one in each.keys], len(entities.times)
                    )
            instants = ordered.result()
        if as_frame:
            entities.forget_columns()
        for each in self.tables:
            history = point_in_time(
                each.table, codes[each.keys], instants, ttl=each.ttl, as_recorded=self.as_recorded
            )
            columns |= dict(zip(each.outputs.values(), history.columns, strict=True))
            counts[each.name] = ViewCounts(history.matched, history.created_later)
        features = {name: columns[name] for name in self.names}
        return Retrieved(pa.table(features), entities, counts)

    def found(self, start: datetime, end: datetime, *, each_event: bool) -> EntityRows:
        """Ask about each key that has an event between two instants, as of the later one.

        Parameters
        ----------
        each_event
            Whether each is asked about as of each of its events instead.
        """
        found, between = [], span(start, end)
        for each in self.tables:
            keys_alone = replace(each.table, features=())
            of_view = (rows_between if each_event else newest_between)(keys_alone, between)
            columns = [of_view[column.name] for column in each.table.keys]
            names = list(each.join_keys)
            if each_event:
                columns.append(of_view[each.table.event.name])
                names.append(EVENT_TIMESTAMP)
            found.append(pa.table(columns, names=names).drop_null())
        return entity_rows_of(found, end)
