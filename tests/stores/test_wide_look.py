"""A look into the online store's file: what it finds, and that it leaves no trace."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ingestion.base.errors import FeastRepositoryError
from ingestion.plugins.online.layout import Layout, Values
from ingestion.plugins.online.rows import Rows, TableContent
from ingestion.plugins.online.sqlite_look import look
from ingestion.plugins.online.sqlite_tables import make_table, upsert

LAYOUT = Layout.of([("RSI", "DOUBLE")])
EVENTS = [10, 20, 30]


def write(connection: sqlite3.Connection, events: list[int], table: str = "wide_p_v") -> None:
    make_table(connection, table, LAYOUT)
    keys = [f"key {event}".encode() for event in events]
    instants = np.array(events, np.int64)
    values = {"RSI": Values.nulls("DOUBLE", len(events))}
    upsert(connection, table, LAYOUT, Rows(keys, instants, instants, values))
    connection.commit()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store" / "online.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        write(connection, EVENTS)
    assert [each.name for each in path.parent.iterdir()] == ["online.db"]
    return path


@pytest.mark.parametrize(
    ("window", "inside"), [((10, 30), 3), ((11, 30), 2), ((10, 29), 2), ((31, 40), 0)]
)
def test_rows_are_counted_and_no_file_is_made(path: Path, window: tuple[int, int], inside: int):
    before = path.read_bytes()
    assert look(path, {"wide_p_v": window}) == {"wide_p_v": TableContent(3, 30, inside)}
    assert [each.name for each in path.parent.iterdir()] == ["online.db"]
    assert path.read_bytes() == before


def test_a_table_that_is_not_there_is_left_out(path: Path):
    assert look(path, {"wide_p_other": (0, 1)}) == {}


def test_an_empty_table_has_no_newest_event(path: Path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM wide_p_v")
        connection.commit()
    assert look(path, {"wide_p_v": (0, 99)}) == {"wide_p_v": TableContent(0, None, 0)}


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path):
    assert look(tmp_path / "none" / "online.db", {"wide_p_v": (0, 1)}) is None
    assert look(tmp_path / "online.db", {"wide_p_v": (0, 1)}) is None
    assert list(tmp_path.iterdir()) == []


def test_what_a_process_has_written_and_not_merged_yet_is_seen(path: Path):
    with closing(sqlite3.connect(path)) as connection:
        write(connection, [40])
        beside = sorted(each.name for each in path.parent.iterdir())
        assert beside == ["online.db", "online.db-shm", "online.db-wal"]
        assert look(path, {"wide_p_v": (0, 99)}) == {"wide_p_v": TableContent(4, 40, 4)}
        assert sorted(each.name for each in path.parent.iterdir()) == beside


def test_a_writer_in_the_midst_of_it_is_not_waited_for(path: Path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM wide_p_v")
        assert look(path, {"wide_p_v": (0, 99)}) == {"wide_p_v": TableContent(3, 30, 3)}


def test_a_copy_with_its_log_alone_is_read_whole(path: Path, tmp_path: Path):
    """As a backup of the two files is, or what a killed writer left after its index was removed."""
    copy = tmp_path / "copy" / "online.db"
    copy.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        write(connection, [40])
        for name in ("online.db", "online.db-wal"):
            shutil.copy(path.parent / name, copy.parent / name)
    assert look(copy, {"wide_p_v": (0, 99)}) == {"wide_p_v": TableContent(4, 40, 4)}
    assert sorted(each.name for each in copy.parent.iterdir()) == ["online.db", "online.db-wal"]


def test_a_read_only_folder_is_enough(path: Path):
    path.parent.chmod(0o500)
    try:
        assert look(path, {"wide_p_v": (0, 99)}) == {"wide_p_v": TableContent(3, 30, 3)}
    finally:
        path.parent.chmod(0o700)


@pytest.mark.parametrize("content", [b"no database at all, but some text" * 100, b"\0" * 4096])
def test_what_is_no_database_is_refused(path: Path, content: bytes):
    path.write_bytes(content)
    with pytest.raises(FeastRepositoryError, match="cannot be read"):
        look(path, {"wide_p_v": (0, 1)})


def test_an_empty_file_has_no_tables(path: Path):
    path.write_bytes(b"")
    assert look(path, {"wide_p_v": (0, 1)}) == {}
