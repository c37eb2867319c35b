"""A look into an online store's file that leaves no trace there."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from ingestion.base.errors import FeastRepositoryError
from ingestion.plugins.online.rows import TableContent, Window
from ingestion.plugins.online.sqlite_tables import count_events, stored_layout

_BUSY_S = 5.0
_LOOKS = 5


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
        raise FeastRepositoryError(f"the online store {path} cannot be read ({error})") from error
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
