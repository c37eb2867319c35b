"""One SQLite file, for many threads and forked processes.

SQLite's connections may not cross a fork, and share nothing well between threads: each thread of
each process opens its own. The file is in WAL mode, where readers see what was there when they
began, whatever is being written. A file that was deleted or replaced is opened anew.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ingestion.base.errors import FeastRepositoryError
from ingestion.base.locks import folder_lock

_BUSY_S = 30.0
_BESIDE = ("-wal", "-shm")

FileId = tuple[int, int]
"""Device and inode."""

_inherited: list[sqlite3.Connection] = []
"""Connections of a parent process: to close them, or to let them die, would be to use them."""


class Sqlite(sqlite3.Connection):
    """A connection that :class:`_Connection` closes, and that warns of nothing.

    From Python 3.13 on, the end of one that was not closed is a warning. Of a cycle of objects that
    nobody has any more, this one may end before the one that would close it.
    """

    def __del__(self) -> None:
        pass


class _Connection:
    """A connection, and what it was opened for; closed when nobody has it any more."""

    def __init__(self, path: Path, file: FileId | None) -> None:
        self.process = os.getpid()
        self.file = file
        self.sqlite = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",  # a missing file is made by _make alone
            uri=True,
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,  # the thread that lets go of it closes it
            factory=Sqlite,
        )
        self.sqlite.execute("PRAGMA synchronous = FULL")

    def serves(self, file: FileId | None) -> bool:
        return self.process == os.getpid() and self.file == file

    # Bound here: at the interpreter's exit the module's own names are gone.
    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        if not hasattr(self, "sqlite"):
            return
        if self.process == getpid():
            self.sqlite.close()
        else:
            _inherited.append(self.sqlite)


class Database:
    """A SQLite file that is made when it is first written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     database = Database(Path(folder) / "online.db")
    ...     with database.reading() as connection:
    ...         assert connection is None
    ...     with database.writing() as connection:
    ...         _ = connection.execute("CREATE TABLE prices (price REAL)")
    ...     with database.reading() as connection:
    ...         connection.execute("SELECT count(*) FROM prices").fetchone()
    (0,)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def file(self) -> FileId | None:
        """Return what distinguishes a file from another of its name; None if there is none.

        Raises
        ------
        FeastRepositoryError
            If nobody may look.
        """
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise FeastRepositoryError(
                f"the online store {self.path} cannot be reached: {error.strerror}"
            ) from error
        return status.st_dev, status.st_ino

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """See the file as it is at one instant; None if there is no file.

        Raises
        ------
        FeastRepositoryError
            If the file is locked for too long, or is no sound database.
        """
        file = self.file()
        if file is None:
            yield None
            return
        with self._transaction("BEGIN", file) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Change the file: wholly, or not at all if the block raises or the process dies.

        Raises
        ------
        FeastRepositoryError
            If the file cannot be made, is locked for too long, or is no sound database.
        """
        while True:
            self._make()
            file = self.file()
            with self._transaction("BEGIN IMMEDIATE", file, wal=True) as connection:
                if self.file() == file:  # else what is written would go with the deleted one
                    yield connection
                    return

    def drop(self, empty: Callable[[sqlite3.Connection], bool]) -> None:
        """Take things out, and delete the file and what SQLite keeps beside it if nothing is left.

        Parameters
        ----------
        empty
            Takes them out; returns whether nothing is left.

        Raises
        ------
        FeastRepositoryError
            If the file is locked for too long, or is no sound database.
        """
        if self.file() is None:
            return
        with folder_lock(self.path.parent):  # who makes the next one waits until all is gone
            file = self.file()
            if file is None:
                return
            with self._transaction("BEGIN IMMEDIATE", file, wal=True) as connection:
                if empty(connection):  # and nobody fills it before it is deleted
                    self._unlink(("", *_BESIDE))
            if self.file() is None:
                self._local = threading.local()

    @contextmanager
    def _transaction(
        self, begin: str, file: FileId | None, *, wal: bool = False
    ) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connection(file)
            if wal:
                _use_wal(connection)
            connection.execute(begin)
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error

    def _connection(self, file: FileId | None) -> sqlite3.Connection:
        current: _Connection | None = getattr(self._local, "connection", None)
        if current is None or not current.serves(file):
            self._local.connection = current = _Connection(self.path, file)
        return current.sqlite

    def _make(self) -> None:
        """Make the file, for its owner alone, and its folder, where they are missing."""
        if self.file() is not None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with folder_lock(self.path.parent):
                if self.file() is None:  # else another process was quicker
                    # What a deleted file left beside it, and a process that has that open still,
                    # share its name only: the new file would be read through the old one's index.
                    # They go first, for once the file has its name another writes beside it.
                    self._unlink(_BESIDE)
                    os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError as error:
            raise FeastRepositoryError(
                f"the online store {self.path} cannot be made: {error.strerror}"
            ) from error

    def _unlink(self, suffixes: Iterable[str]) -> None:
        for suffix in suffixes:
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def _told(self, error: sqlite3.Error) -> FeastRepositoryError:
        if _is_busy(error):
            return FeastRepositoryError(
                f"{self.path} has been locked by another process for {_BUSY_S:.0f} s: let that "
                "end, or end it, and try again"
            )
        if _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return FeastRepositoryError(
                f"{self.path} cannot be read ({error}): run `tvfeast rebuild`, or move it away and "
                "materialize again"
            )
        if _code(error) == sqlite3.SQLITE_CANTOPEN:
            return FeastRepositoryError(
                f"{self.path} cannot be opened: this user must be able to read it, and to write to "
                "its folder, where SQLite keeps files beside it"
            )
        if _code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return FeastRepositoryError(
                f"{self.path} cannot be written or read ({error}): is its disk full? What it held "
                "is there still; make room, and try again"
            )
        return FeastRepositoryError(f"{self.path} cannot be used: {error}")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Let readers read while this writes; the file remembers it."""
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if not _is_busy(error):
            raise
        # Somebody reads a file that is not in this mode yet: the next writer changes it.


def _is_busy(error: sqlite3.Error) -> bool:
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's code without its finer distinctions."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
