"""Reading an online store without Feast: what it serves.

This module and those that it imports (``keys``, ``layout``, ``rows``) need NumPy and the standard
library alone. So a command that only reads does not wait seconds for the import of Feast, pandas
and Arrow. The Feast plug-ins read through the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingestion.base.instants import to_micros
from ingestion.plugins.online.layout import Values, convert
from ingestion.plugins.online.rows import NEVER, Read, Rows, Tables

PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE = 1, 3, 4
"""The status of a row, in the numbers of Feast's ``FieldStatus``."""


class View(NamedTuple):
    """What a reader must know of a feature view."""

    table: str
    """The table of its rows; see :func:`table_name`."""
    ttl: timedelta | None
    """How long a row is valid after its event; None or zero for ever."""


def table_name(project: str, view: str) -> str:
    """Return the table of a view of a Feast project.

    Examples
    --------
    >>> table_name("tvfeast", "local_1d")
    'wide_tvfeast_local_1d'
    """
    return f"wide_{project}_{view}"


@dataclass(frozen=True)
class Answer:
    """Features of one view, one row for each key that was asked for.

    Attributes
    ----------
    values
        By feature; null unless the row is valid.
    event_us
        int64, microseconds since 1970 UTC; 0 where the key is unknown.
    status
        Of every feature of the row: ``PRESENT``, though the value may be null, ``NOT_FOUND`` for an
        unknown key, or ``OUTSIDE_MAX_AGE`` for a row that has expired or is of the future.
    """

    values: dict[str, Values]
    event_us: NDArray[np.int64]
    status: NDArray[np.int64]

    def prefixed(self, prefix: str) -> Answer:
        """Return the same answer under longer names."""
        values = {prefix + name: values for name, values in self.values.items()}
        return replace(self, values=values)


class Asked(NamedTuple):
    """What is asked of one view."""

    view: View
    types: Mapping[str, str]
    """The features, each with the name of its Feast type: ``DOUBLE``, ``INT64``, ``BOOL``,
    ``STRING``, ``UNIX_TIMESTAMP``, … A feature that the table does not have is null, and so is a
    stored number that its type cannot represent exactly."""
    keys: Sequence[bytes]
    """As :func:`~ingestion.plugins.online.keys.encode_keys` gives them; they may repeat."""


def read_views(tables: Tables, asked: Sequence[Asked], at: datetime) -> list[Answer]:
    """Read features of some keys, as they are served at an instant.

    Parameters
    ----------
    tables
        Of any store. All views are read as they are there at one instant.
    at
        UTC if it has no zone.

    Raises
    ------
    FeastRepositoryError
        If the store cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ingestion.plugins.online.keys import encode_keys
    >>> from ingestion.plugins.online.layout import Layout
    >>> from ingestion.plugins.online.sqlite import SqliteTables
    >>> keys = encode_keys({"symbol": ("STRING", ["NASDAQ:AAPL", "NASDAQ:MSFT"])})
    >>> view = View(table_name("demo", "daily"), ttl=timedelta(days=4))
    >>> event = np.array([to_micros(datetime(2026, 1, 16, 21))])
    >>> rows = Rows(keys[:1], event, event, {"RSI": Values.of("DOUBLE", [61.5])})
    >>> asked = Asked(view, {"RSI": "DOUBLE"}, keys)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tables = SqliteTables(Path(folder) / "online.db")
    ...     changed = tables.write(view.table, Layout.of([("RSI", "DOUBLE")]), rows)
    ...     (answer,) = read_views(tables, [asked], datetime(2026, 1, 17))
    >>> answer.values["RSI"].to_objects(), answer.status.tolist() == [PRESENT, NOT_FOUND]
    ([61.5, None], True)
    """
    found = tables.read([Read(each.view.table, list(each.types), each.keys) for each in asked])
    return [
        served(rows, each.view, each.types, at) for rows, each in zip(found, asked, strict=True)
    ]


def served(rows: Rows, view: View, types: Mapping[str, str], at: datetime) -> Answer:
    """Keep only the values of rows that are valid at an instant.

    A row is valid if its event is not after the instant, and at most the TTL before it.

    Parameters
    ----------
    types
        The features to keep, in the order of the answer; see :class:`Asked`.

    Examples
    --------
    >>> event = np.array([to_micros(datetime(2026, 1, 16))])
    >>> rows = Rows([b"key"], event, event, {"RSI": Values.of("DOUBLE", [61.5])})
    >>> view, types = View("table", timedelta(days=4)), {"RSI": "DOUBLE"}
    >>> for day in (15, 16, 20, 21):
    ...     served(rows, view, types, datetime(2026, 1, day)).values["RSI"].to_list()
    [None]
    [61.5]
    [61.5]
    [None]
    """
    now_us = to_micros(at)
    found = rows.event_us != NEVER
    event_us = np.where(found, rows.event_us, 0)
    valid = found & (event_us <= now_us)
    if view.ttl:
        valid &= now_us - event_us <= to_micros(view.ttl)
    values = {}
    for name, value_type in types.items():
        stored = rows.values.get(name)
        if stored is None:
            stored = Values.nulls(value_type, len(found))
        values[name] = stored if stored.type == value_type else convert(stored, value_type)
    if valid.all():  # as most are: a read of one row takes longer for each look at it
        return Answer(values, event_us, np.full(len(valid), PRESENT))
    if (found != valid).any():
        values = {name: stored.where(valid) for name, stored in values.items()}
    status = np.where(valid, PRESENT, np.where(found, OUTSIDE_MAX_AGE, NOT_FOUND))
    return Answer(values, event_us, status)
