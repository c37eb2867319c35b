"""Merged parts: the same answers, the same rows, the same origins, at every instant."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion.base.errors import CorruptPart
from ingestion.base.reading import reading_again
from ingestion.catalog import SYMBOLS
from ingestion.lakehouse import (
    LocalDisk,
    append_part,
    arrow_schema,
    lakehouse_lock,
    list_parts,
    newest_known,
    read_current,
    read_file,
)
from ingestion.lakehouse.compact import merge_parts
from ingestion.lakehouse.ledger import Ledger
from ingestion.lakehouse.origins import Origin, merged_metadata, read_provenance
from ingestion.lakehouse.parts import replaced_parts
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.technicals import EVENING, technicals

FOLDER = f"{GROUP.storage}/date=2026-01-16"
NAMES = ["A:A", "B:B", "C:C", "中:国"]


def merge(root: Path, run_id: str = "merge") -> Path:
    return (
        root
        / merge_parts(
            LocalDisk(root), GROUP, EVENING.date(), Ledger.read(LocalDisk(root)), run_id
        ).part
    )


def all_rows(root: Path) -> Counter[tuple]:
    """Every version of every row, with the run that it came from, as Parquet's metadata tell."""
    rows: Counter[tuple] = Counter()
    for part in list_parts(LocalDisk(root), GROUP):
        table = read_file(part)
        name = part.path.relative_to(root).as_posix()
        told = read_provenance(table.schema.metadata, name, table.num_rows)
        for number, row in enumerate(table.to_pylist()):
            rows[(told.run_of(number), *row.values())] += 1
    return rows


# Of each part: minute of the event, minutes until it was written, and values by symbol.
histories = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 3),
        st.dictionaries(st.sampled_from(NAMES), st.none() | st.floats(0, 100), min_size=1),
    ),
    min_size=2,
    max_size=5,
)


def write(root: Path, number: int, minute: int, later: int, values: dict) -> None:
    event = EVENING + timedelta(minutes=minute)
    # No two runs write at the same microsecond.
    created = event + timedelta(minutes=later, microseconds=number)
    rows = technicals(list(values), event, created, RSI=list(values.values()))
    append_part(LocalDisk(root), GROUP, rows, f"run-{number}")


def answers(root: Path) -> list[object]:
    """What our readers say, at several times."""
    parts = list_parts(LocalDisk(root), GROUP)
    instants = [EVENING + timedelta(minutes=m) for m in range(7)]
    return [
        read_current(parts, GROUP).to_pylist(),
        [newest_known(LocalDisk(root), GROUP, at, set(NAMES)) for at in instants],
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories, st.data())
def test_no_answer_changes_and_every_row_keeps_its_run(history, data):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        root = Path(folder)
        between = data.draw(st.integers(2, len(history)))
        for number, part in enumerate(history):
            if number == between:  # a merged part is merged again
                merge(root, "first")
            write(root, number, *part)
        before, rows = answers(root), all_rows(root)
        merge(root)
        assert answers(root) == before
        assert all_rows(root) == rows
        assert len(list_parts(LocalDisk(root), GROUP)) == 1


def test_the_joins_see_what_they_saw(tmp_path: Path):
    """The as-of join of the offline store, on rows that were restated twice."""
    for number in range(4):
        write(tmp_path, number, number % 2, number, {"A:A": 1.0 + number, "B:B": None})
    query = (
        "SELECT * EXCLUDE (rank) FROM (SELECT *, row_number() OVER (PARTITION BY symbol "
        "ORDER BY event_timestamp DESC, created_timestamp DESC) AS rank FROM "
        f"read_parquet('{tmp_path / GROUP.storage}/*/*.parquet', hive_partitioning = false) "
        "WHERE event_timestamp <= ?) WHERE rank = 1 ORDER BY symbol"
    )

    def joined() -> list[tuple]:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(query, [EVENING + timedelta(seconds=90)]).fetchall()

    before = joined()
    assert {row[5] for row in before} == {4.0, None}
    merge(tmp_path)
    assert joined() == before


def test_a_merged_part_is_sorted_and_says_what_it_was_merged_from(tmp_path: Path):
    for number, symbols in enumerate((["B:B", "A:A"], ["A:A", "C:C"], ["A:A"])):
        write(tmp_path, number, 0, 0, dict.fromkeys(symbols, 1.0))
    hashes = {each.part: each.sha256 for each in Ledger.read(LocalDisk(tmp_path))}
    part = merge(tmp_path)
    table = pq.ParquetFile(part).read()
    assert part == tmp_path / FOLDER / "part-3.parquet"
    assert table["symbol"].to_pylist() == ["A:A", "A:A", "A:A", "B:B", "C:C"]
    told = read_provenance(table.schema.metadata, "", table.num_rows)
    assert told.run_id == "merge"
    assert [told.run_of(row) for row in range(5)] == ["run-0", "run-1", "run-2", "run-0", "run-1"]
    assert {origin.part: origin.sha256 for origin in told.origins} == hashes
    assert table.schema.equals(arrow_schema(GROUP))


def test_the_ledger_says_what_a_merged_part_replaces(tmp_path: Path):
    for number in range(2):
        write(tmp_path, number, 0, 0, {"A:A": 1.0})
    merge(tmp_path)
    (entry,) = (each for each in Ledger.read(LocalDisk(tmp_path)) if each.run_id == "merge")
    assert entry.part == f"{FOLDER}/part-2.parquet"
    assert entry.replaces == (f"{FOLDER}/part-0.parquet", f"{FOLDER}/part-1.parquet")
    assert entry.confirmed


def test_the_next_part_takes_a_number_that_none_ever_had(tmp_path: Path):
    for number in range(2):
        write(tmp_path, number, 0, 0, {"A:A": 1.0})
    merge(tmp_path)
    write(tmp_path, 2, 0, 0, {"A:A": 1.0})
    assert [part.number for part in list_parts(LocalDisk(tmp_path), GROUP)] == [2, 3]


def test_a_dataset_with_another_key_is_merged_too(tmp_path: Path):
    for number, active in enumerate((True, False)):
        row = {"symbol": "A:A", "active": active, "valid_from": EVENING + timedelta(hours=number)}
        rows = pa.Table.from_pylist([row], schema=arrow_schema(SYMBOLS))
        append_part(LocalDisk(tmp_path), SYMBOLS, rows, f"run-{number}")
    merged = merge_parts(
        LocalDisk(tmp_path), SYMBOLS, EVENING.date(), Ledger.read(LocalDisk(tmp_path)), "merge"
    )
    assert pq.ParquetFile(tmp_path / merged.part).read()["active"].to_pylist() == [True, False]


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [f"tvfeast.{name}" for name in ("run_id", "origins", "origin_of_row", "lacks")]
        ),
        st.binary(max_size=40)
        | st.sampled_from([b"1", b"run", b"[]", b"../up", b"eJxjYGBgAAAABAAB"]),
    ),
    st.integers(0, 3),
)
def test_metadata_that_say_anything_end_in_an_answer_or_a_value_error(metadata, rows: int):
    try:
        told = read_provenance({k.encode(): v for k, v in metadata.items()}, "part", rows)
    except ValueError:
        return
    assert "/" not in told.run_id
    assert sum(origin.rows for origin in told.origins) == rows


def test_a_number_of_no_origin_is_refused_before_it_is_counted():
    origins = [Origin("run", "part", None, 1)]
    told = merged_metadata("run", origins, np.array([4_000_000_000], dtype=np.uint32))
    with pytest.raises(ValueError, match="which run its rows came from"):
        read_provenance({k.encode(): v.encode() for k, v in told.items()}, "part", 1)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def change_a_value(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    place = table.column_names.index("RSI")
    pq.write_table(table.set_column(place, "RSI", pa.array([99.0])), path)


@pytest.mark.parametrize("damage", [truncate, change_a_value])
def test_what_is_damaged_is_not_merged(tmp_path: Path, damage: Callable[[Path], None]):
    for number in range(2):
        write(tmp_path, number, 0, 0, {"A:A": 1.0})
    damage(tmp_path / FOLDER / "part-1.parquet")
    before = {path.name: path.read_bytes() for path in (tmp_path / FOLDER).iterdir()}
    with pytest.raises(CorruptPart, match=r"part-1\.parquet"):
        merge(tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / FOLDER).iterdir()} == before


def test_a_file_that_is_no_part_stays_where_it_is(tmp_path: Path):
    for number in range(2):
        write(tmp_path, number, 0, 0, {"A:A": 1.0})
    (tmp_path / FOLDER / "notes.txt").write_text("mine")
    merge(tmp_path)
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"notes.txt", "part-2.parquet"}


class Killed(BaseException):
    """As by SIGKILL: nothing that follows is done."""


@pytest.mark.parametrize("removed", range(4))
def test_a_merge_that_was_killed_changes_no_answer_and_is_finished_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: int
):
    for number in range(3):
        write(tmp_path, number, number % 2, number, dict.fromkeys(NAMES, 1.0 + number))
    before, rows, count = answers(tmp_path), all_rows(tmp_path), by_the_store(tmp_path)
    unlink, left = Path.unlink, [removed]

    def deadly(path: Path, missing_ok: bool = False) -> None:
        if path.parent == tmp_path / FOLDER:
            if not left[0]:
                raise Killed
            left[0] -= 1
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", deadly)
        patch.setattr("shutil.rmtree", kill)
        with pytest.raises(Killed):
            merge(tmp_path)
    stayed = [f"part-{number}.parquet" for number in range(removed, 3)]
    assert [part.path.name for part in replaced_parts(LocalDisk(tmp_path), GROUP)] == stayed
    assert (answers(tmp_path), all_rows(tmp_path)) == (before, rows)
    assert by_the_store(tmp_path) == count == 3 * len(NAMES)
    with lakehouse_lock(LocalDisk(tmp_path), "next"):
        pass
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["part-3.parquet"]
    assert (answers(tmp_path), all_rows(tmp_path)) == (before, rows)


def kill(*_: object, **__: object) -> None:
    raise Killed


def test_a_date_is_merged_again_after_a_killed_merge(tmp_path: Path, monkeypatch):
    for number in range(2):
        write(tmp_path, number, 0, number, dict.fromkeys(NAMES, 1.0))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", kill)
        with pytest.raises(Killed):
            merge(tmp_path, "killed")
    write(tmp_path, 2, 1, 0, dict.fromkeys(NAMES, 2.0))
    before, rows = answers(tmp_path), all_rows(tmp_path)
    merge(tmp_path, "again")
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["part-4.parquet"]
    assert (answers(tmp_path), all_rows(tmp_path)) == (before, rows)


Read = Callable[[Path], int]


def by_our_own(root: Path) -> int:
    def read() -> int:
        return sum(
            read_file(part, ["symbol"]).num_rows for part in list_parts(LocalDisk(root), GROUP)
        )

    return reading_again(read)


def by_the_store(root: Path) -> int:
    from pyarrow import fs

    from ingestion.plugins.offline import source

    location = source.Location(fs.LocalFileSystem(), str(root / GROUP.storage), True)

    def read() -> int:
        files = source.ParquetSource(location, "event_timestamp")
        column = source.Column("symbol", pa.string(), True)
        pieces = files.pieces(lambda *_: True)
        return sum(files.read(piece, [column]).num_rows for piece in pieces)

    return reading_again(read)


class Reader:
    """Counts the rows all the time."""

    def __init__(self, read: Read, root: Path) -> None:
        self.counts: list[int] = []
        self.failures: list[BaseException] = []
        self._stop = Event()

        def run() -> None:
            while not self._stop.is_set() and not self.failures:
                try:
                    self.counts.append(read(root))
                except BaseException as error:  # noqa: BLE001 - the test fails with it
                    self.failures.append(error)

        self._thread = Thread(target=run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("read", [by_our_own, by_the_store], ids=["ours", "store"])
def test_a_reader_sees_every_row_once_while_dates_are_merged(tmp_path: Path, read: Read):
    days = [EVENING + timedelta(days=day) for day in range(15)]
    for day in days:
        for number in range(4):
            append_part(LocalDisk(tmp_path), GROUP, technicals(NAMES, day, day), f"run-{number}")
    reader = Reader(read, tmp_path)
    try:
        for day in days:
            merge_parts(
                LocalDisk(tmp_path), GROUP, day.date(), Ledger.read(LocalDisk(tmp_path)), "merge"
            )
    finally:
        reader.stop()
    assert not reader.failures
    assert set(reader.counts) == {15 * 4 * len(NAMES)}
    assert len(list_parts(LocalDisk(tmp_path), GROUP)) == 15
