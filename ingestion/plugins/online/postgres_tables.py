"""The tables of an online store in PostgreSQL, as :class:`Tables` has them.

All are in one table of a schema, ``wide_rows``: ``number`` (``wide_layouts`` gives it to a table,
with its features), ``entity_key``, ``event_us``, ``created_us`` (microseconds since 1970 UTC), and
``packed``, the row as :mod:`ingestion.plugins.online.packed` has it. A table of their own could not
be dropped or changed while others read: the catalogue has no snapshots, rows have.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ingestion.base.errors import FeastRepositoryError
from ingestion.plugins.online.layout import Layout, layout_from_text
from ingestion.plugins.online.packed import pack_rows, unpack_rows
from ingestion.plugins.online.rows import NEVER, Read, Rows, TableContent, Window

_LOCK = 0x7766_6561_7374  # of writers among themselves; any number that others do not use
_OF_TABLE = "SELECT entity_key, event_us, created_us, packed FROM wide_rows WHERE number = %s"
_MISSING = (None, NEVER, NEVER, None)
_MORE_S = 2.0
"""How much longer than its own timeout the server is waited for: it may say what took so long."""

_NEWEST_WINS = """
INSERT INTO wide_rows AS stored (number, entity_key, event_us, created_us, packed)
SELECT DISTINCT ON (entity_key) %s, entity_key, event_us, created_us, packed FROM wide_load
ORDER BY entity_key, event_us DESC, created_us DESC, place DESC
ON CONFLICT (number, entity_key) DO UPDATE SET event_us = excluded.event_us,
    created_us = excluded.created_us, packed = excluded.packed
WHERE (excluded.event_us, excluded.created_us) > (stored.event_us, stored.created_us)
    OR (excluded.event_us, excluded.created_us) = (stored.event_us, stored.created_us)
    AND excluded.packed != stored.packed
"""


@dataclass(frozen=True)
class PostgresPlace:
    """Where the tables are, and how long they are waited for."""

    conninfo: str = ""
    """``host=… dbname=…`` or ``postgresql://…``, as libpq reads it, which takes what is missing
    from the environment (``PGHOST``, ``PGPASSWORD``, …)."""
    db_schema: str = "wide"
    """The schema of the tables; made if it is missing."""
    timeout_s: float = 30.0
    """How long a statement may take, and wait for others."""


class PostgresTables:
    """The tables of one schema of a database; nothing is asked before the first call."""

    def __init__(self, place: PostgresPlace) -> None:
        self._at = place
        self._local = threading.local()

    @property
    def place(self) -> str:
        """The database's address, without user and password."""
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict

            told = conninfo_to_dict(self._at.conninfo)
        except (ImportError, psycopg.ProgrammingError):
            return "of PostgreSQL"
        host = told.get("host") or os.environ.get("PGHOST", "localhost")
        port = told.get("port") or os.environ.get("PGPORT", "5432")
        name = told.get("dbname") or os.environ.get("PGDATABASE", "")
        return f"postgresql://{host}:{port}/{name}/{self._at.db_schema}"

    def read(self, reads: Sequence[Read]) -> list[Rows]:
        """Read in one transaction that sees one state."""
        try:
            with self._transaction(writes=False) as cursor:
                stored = self._stored(cursor)
                return [_rows(cursor, each, stored.get(each.table)) for each in reads]
        except _NoList:
            return [Rows.missing(len(each.keys or [])) for each in reads]

    def write(self, table: str, layout: Layout, rows: Rows) -> int:
        """Write in one transaction."""
        with self._writing() as cursor:
            number, current = self._make(cursor, table, layout)
            return _upsert(cursor, number, current, rows)

    def update(self, drop: Sequence[str], keep: Mapping[str, Layout]) -> None:
        """Change the tables in one transaction."""
        with self._writing() as cursor:
            self._drop(cursor, drop)
            for table, layout in keep.items():
                self._make(cursor, table, layout)

    def teardown(self, tables: Sequence[str]) -> None:
        """Drop tables; the schema and the list of tables stay."""
        with self._writing() as cursor:
            self._drop(cursor, tables)

    def refill(self, drop: Sequence[str], contents: Mapping[str, tuple[Layout, Rows]]) -> None:
        """Make tables anew in one transaction."""
        with self._writing() as cursor:
            self._drop(cursor, [*drop, *contents])
            for table, (layout, rows) in contents.items():
                number, current = self._make(cursor, table, layout)
                _upsert(cursor, number, current, rows)

    def look(self, windows: Mapping[str, Window]) -> dict[str, TableContent] | None:
        """Count rows; None if there is no list of tables yet."""
        try:
            with self._transaction(writes=False) as cursor:
                stored = self._stored(cursor)
                found = {}
                for table, window in windows.items():
                    if table in stored:
                        cursor.execute(
                            "SELECT count(*), max(event_us), "
                            "count(*) FILTER (WHERE event_us BETWEEN %s AND %s) "
                            "FROM wide_rows WHERE number = %s",
                            (*window, stored[table][0]),
                        )
                        found[table] = TableContent(*cursor.fetchone())
                return found
        except _NoList:
            return None

    def _stored(self, cursor: Any) -> dict[str, tuple[int, Layout]]:
        """Return the number and the layout of each table."""
        cursor.execute("SELECT name, number, layout FROM wide_layouts")
        return {
            name: (number, layout_from_text(layout)) for name, number, layout in cursor.fetchall()
        }

    def _make(self, cursor: Any, table: str, layout: Layout) -> tuple[int, Layout]:
        """Make a table, or let it have these features; what it can keep of its rows, it keeps."""
        stored = self._stored(cursor).get(table)
        if stored is None:
            cursor.execute(
                "INSERT INTO wide_layouts (name, layout) VALUES (%s, %s) RETURNING number",
                (table, layout.to_text()),
            )
            return cursor.fetchone()[0], layout
        number, current = stored
        if current.holds(layout):
            return stored
        rows = _rows(cursor, Read(table, list(current.type_of)), stored)
        cursor.execute("DELETE FROM wide_rows WHERE number = %s", (number,))
        cursor.execute(
            "UPDATE wide_layouts SET layout = %s WHERE number = %s", (layout.to_text(), number)
        )
        _upsert(cursor, number, layout, rows.laid_out(layout))
        return number, layout

    def _drop(self, cursor: Any, tables: Sequence[str]) -> None:
        stored = self._stored(cursor)
        for number in {stored[table][0] for table in tables if table in stored}:
            for name in ("wide_rows", "wide_layouts"):
                cursor.execute(f"DELETE FROM {name} WHERE number = %s", (number,))  # noqa: S608

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """Change the schema, one writer at a time, and readers see all of it or nothing."""
        with self._transaction(writes=True) as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            cursor.execute("SELECT to_regclass('wide_layouts') IS NOT NULL")
            if not cursor.fetchone()[0]:
                cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {self._quoted}")
                cursor.execute(
                    "CREATE TABLE wide_layouts (name text PRIMARY KEY, "
                    "number bigint GENERATED ALWAYS AS IDENTITY, layout text NOT NULL)"
                )
                cursor.execute(
                    "CREATE TABLE wide_rows (number bigint, entity_key bytea, event_us bigint "
                    "NOT NULL, created_us bigint NOT NULL, packed bytea NOT NULL, "
                    "PRIMARY KEY (number, entity_key))"
                )
                # Rows of numbers do not compress; to try costs more than the rest of a write.
                cursor.execute("ALTER TABLE wide_rows ALTER COLUMN packed SET STORAGE EXTERNAL")
            yield cursor

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Any]:
        """Work in one transaction: an error of it says its address and what to do.

        One that only reads sees one state; one that writes sees what the writer before it did.
        """
        try:
            import psycopg
        except ImportError as error:
            raise FeastRepositoryError(
                "an online store in PostgreSQL needs its client: pip install 'tvfeast[postgres]'"
            ) from error
        try:
            connection, levels = self._connection(psycopg), psycopg.IsolationLevel
            connection.read_only = not writes
            connection.isolation_level = levels.READ_COMMITTED if writes else levels.REPEATABLE_READ
            with connection.transaction(), connection.cursor(binary=True) as cursor:
                yield cursor
        except psycopg.Error as error:
            told = " ".join(str(error).split())
            is_new = isinstance(error, psycopg.errors.UndefinedTable)
            raise (_NoList if is_new else FeastRepositoryError)(
                f"the online store {self.place} did not do it ({told}): is the server running, is "
                "its address right, and may this user read and write?"
            ) from error

    @property
    def _quoted(self) -> str:
        return '"' + self._at.db_schema.replace('"', '""') + '"'

    def _connection(self, psycopg: Any) -> Any:
        """Return the connection of this thread of this process, opened anew if it broke."""
        connection: Any
        process, connection = getattr(self._local, "connection", (None, None))
        if process != os.getpid() or connection.closed or connection.broken:
            try:
                psycopg.conninfo.conninfo_to_dict(self._at.conninfo)
            except psycopg.ProgrammingError:  # what it says may have a password in it
                raise FeastRepositoryError(
                    "the conninfo of the online store is none of PostgreSQL's: it is "
                    "`host=… dbname=… user=…` or `postgresql://…`"
                ) from None
            connection = _class(psycopg).connect(
                self._at.conninfo,
                connect_timeout=min(10, max(2, round(self._at.timeout_s))),  # 2 is libpq's least
                autocommit=True,
                application_name="tvfeast",
            )
            connection.patience_s = self._at.timeout_s + _MORE_S
            millis = int(self._at.timeout_s * 1000)
            connection.execute(
                f"SET search_path TO {self._quoted}; SET statement_timeout TO {millis}; "
                f"SET lock_timeout TO {millis}"
            )
            self._local.connection = os.getpid(), connection
        return connection


class _NoList(FeastRepositoryError):
    """There is no list of tables: nobody has written anything yet."""


@cache
def _class(psycopg: Any) -> Any:
    """Return a class of connections that do not wait for ever, and are closed when nobody has them.

    One that a child process only inherits is the parent's to close.
    """
    of_class: Any = psycopg.Connection

    class Connection(of_class):
        patience_s: float | None = None

        def wait(self, generator: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            """Wait for the server, but not for one that is frozen or behind a cut cable."""
            began = time.monotonic()
            try:
                return super().wait(generator, interval, timeout or self.patience_s)
            except psycopg.OperationalError:
                if self.patience_s and time.monotonic() - began >= self.patience_s:
                    self.close()  # what it may still send answers no later question
                    raise psycopg.OperationalError(
                        f"no answer within {self.patience_s:g} s"
                    ) from None
                raise

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.process = os.getpid()

        # Bound here: at the interpreter's exit the module's own names are gone.
        def __del__(self, getpid: Any = os.getpid) -> None:
            if getattr(self, "process", None) == getpid():
                self.close()

    return Connection


def _upsert(cursor: Any, number: int, layout: Layout, rows: Rows) -> int:
    if not rows.keys:
        return 0
    cursor.execute(
        "CREATE TEMPORARY TABLE wide_load (place bigint, entity_key bytea, event_us bigint, "
        "created_us bigint, packed bytea) ON COMMIT DROP"
    )
    columns = zip(
        range(len(rows.keys)),
        rows.keys,
        rows.event_us.tolist(),
        rows.created_us.tolist(),
        pack_rows(layout, rows.values, len(rows.keys)),
        strict=True,
    )
    with cursor.copy("COPY wide_load FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["int8", "bytea", "int8", "int8", "bytea"])
        for row in columns:
            copy.write_row(row)
    cursor.execute(_NEWEST_WINS, (number,))
    changed: int = cursor.rowcount
    cursor.execute("DROP TABLE wide_load")
    return changed


def _rows(cursor: Any, read: Read, stored: tuple[int, Layout] | None) -> Rows:
    if stored is None:
        return Rows.missing(len(read.keys or []))
    number, layout = stored
    if read.keys is None:
        cursor.execute(f"{_OF_TABLE} ORDER BY entity_key", (number,))
        found = cursor.fetchall()
    else:
        wanted = list(dict.fromkeys(read.keys))
        cursor.execute(f"{_OF_TABLE} AND entity_key = ANY(%b)", (number, wanted))
        by_key = {row[0]: row for row in cursor.fetchall()}
        found = [by_key.get(key, _MISSING) for key in read.keys]
    keys, events, created, packed = list(zip(*found, strict=True)) or [()] * 4
    values = unpack_rows(layout, packed, read.names)
    return Rows(list(keys), np.array(events, np.int64), np.array(created, np.int64), values)
