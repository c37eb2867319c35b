"""The tables of an online store in one SQLite file, as :class:`Tables` has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from ingestion.plugins.online.layout import Layout
from ingestion.plugins.online.rows import Read, Rows, TableContent, Window
from ingestion.plugins.online.sqlite_file import Database
from ingestion.plugins.online.sqlite_look import look
from ingestion.plugins.online.sqlite_tables import (
    drop_table,
    is_empty,
    make_table,
    stored_rows,
    upsert,
)


class SqliteTables:
    """The tables of one file; a file that is not there has none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = Database(path)

    @property
    def place(self) -> str:
        """The file's path."""
        return str(self._path)

    def read(self, reads: Sequence[Read]) -> list[Rows]:
        """Read in one transaction."""
        with self._database.reading() as connection:
            return [stored_rows(connection, *each) for each in reads]

    def write(self, table: str, layout: Layout, rows: Rows) -> int:
        """Write in one transaction."""
        with self._database.writing() as connection:
            return upsert(connection, table, make_table(connection, table, layout), rows)

    def update(self, drop: Sequence[str], keep: Mapping[str, Layout]) -> None:
        """Change the tables in one transaction."""
        with self._database.writing() as connection:
            for table in drop:
                drop_table(connection, table)
            for table, layout in keep.items():
                make_table(connection, table, layout)

    def teardown(self, tables: Sequence[str]) -> None:
        """Drop tables, and delete the file if nothing of anybody is left in it."""

        def empty(connection: sqlite3.Connection) -> bool:
            for table in tables:
                drop_table(connection, table)
            return is_empty(connection)

        self._database.drop(empty)

    def refill(self, drop: Sequence[str], contents: Mapping[str, tuple[Layout, Rows]]) -> None:
        """Make tables anew in one transaction."""
        with self._database.writing() as connection:
            for table in (*drop, *contents):
                drop_table(connection, table)
            for table, (layout, rows) in contents.items():
                upsert(connection, table, make_table(connection, table, layout), rows)

    def look(self, windows: Mapping[str, Window]) -> dict[str, TableContent] | None:
        """Count rows; no file is made or changed."""
        return look(self._path, windows)
