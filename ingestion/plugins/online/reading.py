"""Reading the online store without Feast: what it serves, and what is in its file.

This module and those that it imports (``database``, ``keys``, ``layout``, ``tables``) need NumPy
and the standard library alone. So a command that only reads does not wait seconds for the import of
Feast, pandas and Arrow. The Feast plug-in reads through the same functions.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingestion.base.errors import FeastRepositoryError
from ingestion.base.instants import from_micros, to_micros
from ingestion.plugins.online.layout import Values, convert
from ingestion.plugins.online.tables import (
    NEVER,
    Rows,
    count_events,
    stored_layout,
    stored_rows,
)

PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE = 1, 3, 4
"""The status of a row, in the numbers of Feast's ``FieldStatus``."""

_BUSY_S = 5.0
_LOOKS = 5

Window = tuple[int, int]
"""First and last event that count, microseconds since 1970 UTC."""


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


def read_rows(
    connection: sqlite3.Connection | None,
    view: View,
    keys: Sequence[bytes],
    types: Mapping[str, str],
    at: datetime,
) -> Answer:
    """Read features of some keys, as they are served at an instant.

    Parameters
    ----------
    connection
        What ``Database(path).reading()`` gives. Reads of several views in one such block see the
        file as it was at one instant. None, for a file that does not exist, knows no key.
    keys
        As :func:`~ingestion.plugins.online.keys.encode_keys` gives them; they may repeat.
    types
        The features, each with the name of its Feast type: ``DOUBLE``, ``INT64``, ``BOOL``,
        ``STRING``, ``UNIX_TIMESTAMP``, … A feature that the table does not have is null, and so is
        a stored number that its type cannot represent exactly.
    at
        UTC if it has no zone.

    Raises
    ------
    FeastRepositoryError
        From the block around it, if the file cannot be read.

    Examples
    --------
    >>> from ingestion.plugins.online.database import Database
    >>> from ingestion.plugins.online.keys import encode_keys
    >>> from ingestion.plugins.online.layout import Layout
    >>> from ingestion.plugins.online.tables import make_table, upsert
    >>> keys = encode_keys({"symbol": ("STRING", ["NASDAQ:AAPL", "NASDAQ:MSFT"])})
    >>> view = View(table_name("demo", "daily"), ttl=timedelta(days=4))
    >>> layout = Layout.of([("RSI", "DOUBLE")])
    >>> event = np.array([to_micros(datetime(2026, 1, 16, 21))])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     database = Database(Path(folder) / "online.db")
    ...     with database.writing() as connection:
    ...         _ = make_table(connection, view.table, layout)
    ...         rsi = {"RSI": Values.of("DOUBLE", [61.5])}
    ...         _ = upsert(connection, view.table, layout, Rows(keys[:1], event, event, rsi))
    ...     with database.reading() as connection:
    ...         answer = read_rows(connection, view, keys, {"RSI": "DOUBLE"}, datetime(2026, 1, 17))
    >>> answer.values["RSI"].to_objects(), answer.status.tolist() == [PRESENT, NOT_FOUND]
    ([61.5, None], True)
    """
    return served(stored_rows(connection, view.table, types, keys), view, types, at)


def served(rows: Rows, view: View, types: Mapping[str, str], at: datetime) -> Answer:
    """Keep only the values of rows that are valid at an instant.

    A row is valid if its event is not after the instant, and at most the TTL before it.

    Parameters
    ----------
    types
        The features to keep, in the order of the answer; see :func:`read_rows`.

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


@dataclass(frozen=True)
class TableContent:
    """What a view's table has."""

    rows: int
    newest_us: int | None
    """Event of its newest row; None without one."""
    inside: int
    """Rows whose event lies in the window that was asked about."""

    @property
    def newest(self) -> datetime | None:
        """Event of its newest row, as an instant in UTC."""
        return None if self.newest_us is None else from_micros(self.newest_us)


def look(path: Path, windows: Mapping[str, Window]) -> dict[str, TableContent] | None:
    """Count the rows in the tables of an online store; no file is made or changed.

    SQLite itself makes files beside a database in WAL mode, even where it is only read. So a
    database that nobody has open, which is whole in its one file, is read as one that cannot
    change; one that somebody has open has those files already.

    Parameters
    ----------
    path
        The store's file.
    windows
        By table, the events to count.

    Returns
    -------
    dict[str, TableContent] | None
        By table, without those that do not exist; None if there is no file.

    Raises
    ------
    FeastRepositoryError
        If the file cannot be read, or is no sound database.

    Examples
    --------
    >>> look(Path("no/such/online.db"), {"wide_tvfeast_local_1d": (0, 0)}) is None
    True
    """
    try:
        for _ in range(_LOOKS):
            before = _file_id(path)
            if before is None:
                return None
            try:
                with _opened(path) as connection:
                    found = {
                        table: count_events(connection, table, *window)
                        for table, window in windows.items()
                        if stored_layout(connection, table) is not None
                    }
            except sqlite3.DatabaseError:
                if _file_id(path) == before:  # else somebody wrote to what could not change
                    raise
            else:
                if _file_id(path) == before:
                    return {table: TableContent(*counts) for table, counts in found.items()}
    except (sqlite3.DatabaseError, OSError) as error:
        raise FeastRepositoryError(f"{path} cannot be read ({error})") from error
    raise FeastRepositoryError(f"{path} cannot be read: it is being written without a pause")


def _file_id(path: Path) -> tuple[int, int, int] | None:
    """Identify a state of the main file."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    log, index = (path.with_name(f"{path.name}-{each}") for each in ("wal", "shm"))
    if not log.exists() or not log.stat().st_size:
        with _connection(path, "mode=ro&immutable=1") as connection:
            yield connection
    elif index.exists():
        with _connection(path, "mode=ro") as connection:
            yield connection
    else:  # put back from a backup, say: nobody has it open
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            shutil.copy(path, copy)
            shutil.copy(log, copy.with_name(log.name))
            with _connection(copy, "mode=rw") as connection:
                yield connection


@contextmanager
def _connection(path: Path, how: str) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?{how}"
    with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S)) as connection:
        connection.execute("BEGIN")
        yield connection
