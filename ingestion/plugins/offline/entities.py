"""The entity rows of a historical retrieval.

They are given as a frame or a table, or found in the sources.

They come back as they were given, in their order, with the features beside them. Instants without
a zone are UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from ingestion.base.columns import INSTANT
from ingestion.base.errors import InputError
from ingestion.plugins.offline.column_types import conform, microseconds
from ingestion.plugins.offline.key_codes import KEYS_AT_ONCE
from ingestion.plugins.offline.lookup import NEVER, Integers
from ingestion.plugins.offline.threads import blocks_of, in_threads

EVENT_TIMESTAMP = "event_timestamp"


@dataclass(frozen=True)
class EntityRows:
    """Who is asked about, and when."""

    given: pd.DataFrame | pa.Table
    event: str
    """The column with the instants."""
    times: pa.ChunkedArray
    """The instants, UTC."""
    _columns: dict[str, pa.ChunkedArray] = field(default_factory=dict)
    _encoded: dict[str, pa.ChunkedArray] = field(default_factory=dict)
    """Columns that are wanted as a key now, and as they are in the answer."""

    @classmethod
    def of(cls, given: object, event: str | None = None) -> EntityRows:
        """Check what a user gave.

        Parameters
        ----------
        event
            The column with the instants, where it is known.

        Raises
        ------
        EntityTimestampInferenceException
            If no column is named ``event_timestamp`` and not exactly one other is a timestamp.
        InputError
            If it is neither a frame nor a table, a column's name is there twice, or an instant
            cannot be read.
        """
        if not isinstance(given, (pd.DataFrame, pa.Table)):
            raise InputError(
                f"entity_df is a {type(given).__name__}: give a pandas DataFrame, a pyarrow Table, "
                "or the address of Parquet files"
            )
        names = _names(given)
        if other := [name for name in names if not isinstance(name, str)]:
            raise InputError(f"entity_df's column {other[0]!r} has no text for a name; rename it")
        if twice := {name for name in names if names.count(name) > 1}:
            raise InputError(f"entity_df has the column {min(twice)} more than once; rename one")
        event = event or event_column(given)
        return cls(given, event, _instants(given, event))

    @property
    def names(self) -> list[str]:
        """The given columns."""
        return _names(self.given)

    @property
    def instants(self) -> Integers:
        """Unix µs, shape ``(n,)``; ``NEVER`` where null."""
        return microseconds(self.times)

    @property
    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """The first and the last instant."""
        instants = self.instants[self.instants != NEVER]
        if not len(instants):
            return None, None
        first, last = pa.array([instants.min(), instants.max()]).view(INSTANT).to_pylist()
        return first, last

    def key(self, name: str, declared: pa.DataType | None) -> pa.ChunkedArray:
        """Return a join key's column in its declared type.

        Raises
        ------
        FeastEntityDFMissingColumnsError
            If there is none.
        InputError
            If its values are of another type.
        """
        if name not in self.names:
            from feast.errors import FeastEntityDFMissingColumnsError

            raise FeastEntityDFMissingColumnsError({name, self.event}, {name})
        try:
            return conform(self._column(name), declared)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"entity_df's column {name} cannot be read as {declared}, the type of that join "
                f"key: {error}"
            ) from None

    def encoded_key(self, name: str, declared: pa.DataType | None) -> pa.ChunkedArray:
        """Return what :meth:`key` does, as a dictionary of its distinct values if that is smaller.

        A frame's objects are converted a block at a time: as Arrow they take more memory than there
        is while values are fetched.
        """

        def encode(values: pa.ChunkedArray) -> tuple[pa.DataType, pa.ChunkedArray]:
            return values.type, conform(values, declared).dictionary_encode()

        if isinstance(self.given, pd.DataFrame) and name in self.names:
            objects = self.given[[name]]
            blocks = blocks_of(len(objects), KEYS_AT_ONCE)
            values = (_arrow(objects.iloc[block], name) for block in blocks)
            with suppress(InputError, TypeError, ValueError):  # the whole column says which
                encoded = [*in_threads(encode, values)]
                if len({kind for kind, _ in encoded}) == 1:
                    keys = pa.chunked_array([part for _, keys in encoded for part in keys.chunks])
                    if keys.type.value_type == encoded[0][0]:
                        self._encoded[name] = keys
                    return keys
        return self.key(name, declared)

    def table(self) -> pa.Table:
        """Return the given columns as Arrow, the instants as UTC microseconds."""
        arrays = {
            name: self.times if name == self.event else self._column(name) for name in self.names
        }
        return pa.table(arrays)

    def _column(self, name: str) -> pa.ChunkedArray:
        """Convert a column once: it is wanted as a key and in the answer."""
        if name not in self._columns:
            encoded = self._encoded.pop(name, None)
            self._columns[name] = (
                _arrow(self.given, name)
                if encoded is None
                else encoded.cast(encoded.type.value_type)
            )
        return self._columns[name]

    def forget_columns(self) -> None:
        """Free what was converted to Arrow: as pandas, the columns come back as they were given."""
        self._columns.clear()
        self._encoded.clear()
        pa.default_memory_pool().release_unused()

    def frame(self) -> pd.DataFrame:
        """Return the given columns as pandas, numbered from 0; a frame's dtypes are kept."""
        if isinstance(self.given, pa.Table):
            table: pd.DataFrame = self.table().to_pandas()
            return table
        frame = self.given.reset_index(drop=True)
        if not isinstance(frame[self.event].dtype, pd.DatetimeTZDtype):
            frame[self.event] = self.times.to_pandas()
        return frame


def entity_rows_of(tables: Sequence[pa.Table], end: datetime) -> EntityRows:
    """Ask about each distinct row of some tables; at one instant unless they have instants.

    Parameters
    ----------
    tables
        Their columns are join keys, and perhaps ``event_timestamp``; a key that a table lacks is
        null.
    end
        The instant.
    """
    rows = pa.concat_tables(tables, promote_options="permissive")
    if rows.num_columns:
        rows = rows.group_by(rows.column_names, use_threads=False).aggregate([])
    if EVENT_TIMESTAMP in rows.column_names:
        names = [name for name in rows.column_names if name != EVENT_TIMESTAMP]
        rows = rows.sort_by([(name, "ascending") for name in (EVENT_TIMESTAMP, *names)])
        times = rows[EVENT_TIMESTAMP].cast(INSTANT)
        rows = rows.select(names)
    else:
        count = rows.num_rows if rows.num_columns else 1
        times = pa.chunked_array([pa.repeat(pa.scalar(end, INSTANT), count)])
    arrays = dict(zip(rows.column_names, rows.columns, strict=True)) | {EVENT_TIMESTAMP: times}
    return EntityRows(pa.table(arrays), EVENT_TIMESTAMP, times)


def _names(given: pd.DataFrame | pa.Table) -> list[str]:
    if isinstance(given, pa.Table):
        return list(given.column_names)
    return list(given.columns)


def event_column(given: pd.DataFrame | pa.Table) -> str:
    """Return which column has the instants.

    Raises
    ------
    EntityTimestampInferenceException
        If none is named ``event_timestamp`` and not exactly one other is a timestamp.
    """
    names = _names(given)
    if EVENT_TIMESTAMP in names:
        return EVENT_TIMESTAMP
    if isinstance(given, pa.Table):
        times = [field.name for field in given.schema if pa.types.is_timestamp(field.type)]
    else:
        times = [n for n in names if pd.api.types.is_datetime64_any_dtype(given[n].dtype)]
    if len(times) != 1:
        from feast.errors import EntityTimestampInferenceException

        raise EntityTimestampInferenceException(EVENT_TIMESTAMP)
    return str(times[0])


def _instants(given: pd.DataFrame | pa.Table, event: str) -> pa.ChunkedArray:
    """Read the instants in whatever form."""
    column = _arrow(given, event)
    try:
        return conform(column, INSTANT)
    except TypeError as error:
        raise InputError(
            f"entity_df's {event} is {column.type} and cannot be read as timestamps: {error}"
        ) from None


def _arrow(given: pd.DataFrame | pa.Table, name: str) -> pa.ChunkedArray:
    if isinstance(given, pa.Table):
        return given[name]
    try:
        column = pa.array(given[name], from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, np.exceptions.DTypePromotionError) as error:
        raise InputError(f"entity_df's column {name} is not of one type: {error}") from None
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
