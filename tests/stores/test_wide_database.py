"""One SQLite file, for many threads and processes."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from ingestion.base.errors import FeastRepositoryError
from ingestion.plugins.online import sqlite_file as online_database
from ingestion.plugins.online.layout import Layout, Values
from ingestion.plugins.online.sqlite_file import Database
from ingestion.plugins.online.sqlite_tables import (
    Rows,
    is_empty,
    make_table,
    read_all,
    read_keys,
    stored_layout,
    upsert,
)
from tests.meanwhile import Meanwhile

ROOT = Path(__file__).resolve().parent.parent.parent

LAYOUT = Layout.of([("a", "DOUBLE"), ("b", "DOUBLE"), ("c", "STRING")])
KEYS = [f"k{at:04d}".encode() for at in range(2000)]


def version(number: int) -> Rows:
    """Make rows of one version: every value of every row tells which."""
    at = np.full(len(KEYS), number)
    values = {
        "a": Values.of("DOUBLE", [float(number)] * len(KEYS)),
        "b": Values.of("DOUBLE", [float(number)] * len(KEYS)),
        "c": Values.of("STRING", [str(number)] * len(KEYS)),
    }
    return Rows(KEYS, at, at, values)


def write(database: Database, number: int) -> None:
    with database.writing() as connection:
        upsert(connection, "t", make_table(connection, "t", LAYOUT), version(number))


def versions(database: Database) -> set[tuple[object, ...]]:
    """Return the distinct rows that one read sees, keys aside."""
    with database.reading() as connection:
        assert connection is not None
        rows = read_all(connection, "t", LAYOUT, LAYOUT.type_of)
    assert len(rows.keys) == len(KEYS)
    values = [each.to_list() for each in rows.values.values()]
    return set(zip(rows.event_us.tolist(), *values, strict=True))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "some" / "folder" / "online.db")


def test_the_file_and_its_folder_are_made_by_the_first_write_alone(database: Database):
    with database.reading() as connection:
        assert connection is None
    assert not database.path.parent.exists()
    write(database, 1)
    assert versions(database) == {(1, 1.0, 1.0, "1")}


def test_the_files_are_their_owners_alone(database: Database):
    write(database, 1)
    names = {path.name for path in database.path.parent.iterdir()}
    assert names == {"online.db", "online.db-wal", "online.db-shm"}
    for path in database.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_name_that_means_something_in_an_address_is_a_name(tmp_path: Path):
    database = Database(tmp_path / "a?mode=ro#b%20c" / "online.db")
    write(database, 1)
    assert versions(database) == {(1, 1.0, 1.0, "1")}


def test_a_file_that_was_deleted_or_replaced_is_opened_anew(database: Database, tmp_path: Path):
    write(database, 1)
    for name in ("online.db", "online.db-wal", "online.db-shm"):
        (database.path.parent / name).unlink()
    with database.reading() as connection:
        assert connection is None
    write(database, 2)
    assert versions(database) == {(2, 2.0, 2.0, "2")}


def test_what_a_deleted_file_left_beside_it_is_not_read(database: Database):
    write(database, 1)
    write(database, 2)
    database.path.unlink()  # the log and its index stay, and a connection that has them open
    other = Database(database.path)
    write(other, 3)
    assert versions(other) == versions(database) == {(3, 3.0, 3.0, "3")}
    write(database, 4)
    assert versions(other) == {(4, 4.0, 4.0, "4")}


class Other:
    """Another process: it writes in the midst of one's work, and keeps the file open."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self._database = Database(database.path)
        self._open: list[object] = []
        self._meanwhile = Meanwhile(monkeypatch)
        self.ended = self._meanwhile.ended

    def writes(self, number: int) -> None:
        def work() -> None:
            write(self._database, number)
            self._open.append(self._database._local.connection)  # else it ends with its thread

        self._meanwhile(work)


@pytest.mark.parametrize(
    ("doer", "step", "when"),
    [(Path, "mkdir", "after"), (Path, "unlink", "before"), (os, "open", "after")],
)
def test_what_another_commits_while_the_file_is_made_is_kept(
    database: Database, monkeypatch, doer, step: str, when: str
):
    other, real = Other(database, monkeypatch), getattr(doer, step)

    def beside_the_other(path, *args, **kwargs):
        if step != "mkdir" and Path(path).parent != database.path.parent:
            return real(path, *args, **kwargs)
        monkeypatch.setattr(doer, step, real)
        if when == "before":
            other.writes(1)
        done = real(path, *args, **kwargs)
        if when == "after":
            other.writes(1)
        return done

    monkeypatch.setattr(doer, step, beside_the_other)
    with database.writing() as connection:
        make_table(connection, "mine", LAYOUT)
    other.ended()
    for number in (1, 2):
        for each in (database, Database(database.path)):
            assert versions(each) == {(number, float(number), float(number), str(number))}
            with each.reading() as connection:
                assert connection is not None
                assert stored_layout(connection, "mine") == LAYOUT
        other.writes(2)
        other.ended()


def test_what_another_commits_while_the_file_is_removed_is_kept(database: Database, monkeypatch):
    write(database, 1)
    other, unlink = Other(database, monkeypatch), Path.unlink

    def then_the_other(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        monkeypatch.setattr(Path, "unlink", unlink)
        other.writes(2)

    monkeypatch.setattr(Path, "unlink", then_the_other)
    database.drop(nothing_is_left)
    other.ended()
    assert versions(database) == versions(Database(database.path)) == {(2, 2.0, 2.0, "2")}


def nothing_is_left(connection: sqlite3.Connection) -> bool:
    connection.execute("DROP TABLE t")
    return is_empty(connection)


def test_nobody_fills_a_file_that_was_found_empty_before_it_is_deleted(
    database: Database, monkeypatch
):
    write(database, 1)
    unlink = Path.unlink

    def refused_before(path: Path, missing_ok: bool = False) -> None:
        monkeypatch.setattr(Path, "unlink", unlink)
        with pytest.raises(FeastRepositoryError, match="locked by another process"):
            write(Database(database.path), 2)
        unlink(path, missing_ok)

    monkeypatch.setattr(online_database, "_BUSY_S", 0)
    monkeypatch.setattr(Path, "unlink", refused_before)
    database.drop(nothing_is_left)
    assert database.file() is None


def test_a_writer_that_looked_before_the_file_was_deleted_writes_to_the_next_one(
    database: Database, monkeypatch
):
    write(database, 1)
    other, connect = Database(database.path), Database._connection

    def deleted_meanwhile(self, file):
        monkeypatch.setattr(Database, "_connection", connect)
        opened = connect(self, file)
        database.drop(nothing_is_left)
        return opened

    monkeypatch.setattr(Database, "_connection", deleted_meanwhile)
    write(other, 2)
    assert versions(database) == versions(Database(database.path)) == {(2, 2.0, 2.0, "2")}


def test_a_failed_write_leaves_what_was_there(database: Database):
    write(database, 1)

    def fail_at_the_end() -> None:
        with database.writing() as connection:
            upsert(connection, "t", LAYOUT, version(2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_at_the_end()
    assert versions(database) == {(1, 1.0, 1.0, "1")}


def test_a_file_that_is_no_database_is_told_with_its_path_and_the_remedy(database: Database):
    database.path.parent.mkdir(parents=True)
    database.path.write_bytes(b"\xff" * 5000)
    with (
        pytest.raises(FeastRepositoryError, match=r"online.db cannot be read.*materialize"),
        database.reading() as connection,
    ):
        stored_layout(connection, "t")


def test_a_locked_file_is_told_as_such(database: Database, monkeypatch):
    write(database, 1)
    monkeypatch.setattr(online_database, "_BUSY_S", 0.01)
    holder = sqlite3.connect(database.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(FeastRepositoryError, match=r"online.db has been locked"):
        write(Database(database.path), 2)
    assert versions(Database(database.path)) == {(1, 1.0, 1.0, "1")}
    holder.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FeastRepositoryError, match="cannot be made"):
        write(Database(tmp_path / "file" / "online.db"), 1)


def test_a_place_where_nobody_may_look_is_told(tmp_path: Path):
    database = Database(tmp_path / ("long" * 100))
    for look in (database.file, database.reading().__enter__, database.writing().__enter__):
        with pytest.raises(FeastRepositoryError, match="cannot be reached: File name too long"):
            look()


def test_threads_read_the_old_rows_or_the_new_ones_while_one_writes(database: Database):
    write(database, 0)
    seen: list[set[tuple[object, ...]]] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(versions(database))

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 8):
        write(database, number)
    done.set()
    for reader in readers:
        reader.join()
    whole = [{(n, float(n), float(n), str(n))} for n in range(8)]
    assert seen
    assert all(rows in whole for rows in seen)
    assert versions(database) == whole[-1]


def only(rows: Rows, key: bytes) -> Rows:
    """Return the first of some rows, under another key."""
    values = {name: Values(v.type, v.data[:1], v.valid[:1]) for name, v in rows.values.items()}
    return Rows([key], rows.event_us[:1], rows.created_us[:1], values)


def in_child(database: Database, number: int) -> None:
    with database.reading() as connection:
        assert connection is not None
        rows = read_keys(connection, "t", LAYOUT, ["c"], KEYS)
    assert rows.values["c"].to_list() == ["1"] * len(KEYS)
    with database.writing() as connection:
        upsert(connection, "t", LAYOUT, only(version(number), f"child{number}".encode()))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_processes_use_the_store_their_parent_has_open(database: Database):
    write(database, 1)
    with database.reading() as connection:  # in the midst of a transaction
        assert connection is not None
        assert stored_layout(connection, "t") == LAYOUT
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=in_child, args=(database, n)) for n in (5, 6)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0, 0]
        before = read_keys(connection, "t", LAYOUT, ["c"], [b"child5", KEYS[3]])
    assert before.keys == [None, KEYS[3]]
    with database.reading() as connection:
        assert connection is not None
        after = read_keys(connection, "t", LAYOUT, ["c"], [b"child5", b"child6", KEYS[3]])
    assert after.values["c"].to_list() == ["5", "6", "1"]


_WRITE_FOR_EVER = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
import test_wide_database as test
database = test.Database(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    test.write(database, number)
    print(number, flush=True)
"""


@pytest.mark.parametrize("after", [1, 3])
def test_a_writer_killed_at_any_instant_leaves_one_whole_version(database: Database, after: int):
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITE_FOR_EVER, str(database.path), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    with writer:
        assert writer.stdout is not None
        for _ in range(after):
            told = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
    ((number, *values),) = versions(database)
    assert values == [float(number), float(number), str(number)]
    assert number >= told
    write(database, number + 1)
    assert versions(database) == {(number + 1, number + 1.0, number + 1.0, str(number + 1))}


def test_connections_that_nobody_has_any_more_are_closed_in_whatever_order_they_go(tmp_path: Path):
    """From Python 3.13 on, one that is not is told; a subprocess, as its exit is looked at too."""
    script = (
        "import gc, os, sys\n"
        "from pathlib import Path\n"
        "from ingestion.plugins.online.sqlite_file import Database\n"
        "class Holder: pass\n"
        "path = Path(sys.argv[1]) / 'online.db'\n"
        "for made in range(2):\n"
        "    holder = Holder()\n"
        "    holder.itself, holder.database = holder, Database(path)\n"
        "    with holder.database.writing() as connection:\n"
        "        connection.execute('CREATE TABLE IF NOT EXISTS t (x)')\n"
        "    del connection, holder\n"
        "    gc.collect()\n"
        "(path.parent / 'folder').mkdir()\n"
        "try:\n"
        "    Database(path.parent / 'folder').reading().__enter__()\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
        "inherited = Database(path)\n"
        "with inherited.reading():\n"
        "    pass\n"
        "sys.stdout.flush()\n"
        "child = os.fork()\n"
        "with inherited.reading() as own:\n"
        "    print(own.execute('SELECT count(*) FROM t').fetchone(), flush=True)\n"
        "child and os.waitpid(child, 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tmp_path)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["FeastRepositoryError", "(0,)", "(0,)"]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_connection_is_closed_as_soon_as_nobody_has_it_any_more(database: Database):
    """Not at the next garbage collection: until then it reads what it has in its cache."""
    write(database, 1)
    log = database.path.with_name("online.db-wal")
    assert log.exists()
    gc.disable()
    try:
        database._local = threading.local()
        assert not log.exists()  # SQLite deletes it with the last connection
    finally:
        gc.enable()
