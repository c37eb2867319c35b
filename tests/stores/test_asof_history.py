from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.base.columns import INSTANT
from ingestion.base.instants import to_micros
from ingestion.plugins.offline.column_types import microseconds
from ingestion.plugins.offline.join import Instants
from ingestion.plugins.offline.key_codes import KeyCodes
from ingestion.plugins.offline.queries import History, newest_between, point_in_time, rows_between
from ingestion.plugins.offline.source import ParquetSource
from tests.stores.asof_lake import TYPES, feature_table, write
from tests.stores.asof_reference import best_row, newest
from tests.stores.test_asof_join import CASES

MONDAY = datetime(2021, 4, 12, tzinfo=UTC)
DAY, TICK = timedelta(days=1), timedelta(microseconds=1)
TTL = timedelta(days=2)
ALWAYS = (to_micros(MONDAY - 999 * DAY), to_micros(MONDAY + 999 * DAY))

instants = st.builds(
    lambda day, edge: MONDAY + day * DAY + edge,
    st.integers(0, 4),
    st.sampled_from([-TICK, timedelta(0), TICK, timedelta(hours=21), TTL + TICK, TTL - TICK]),
)
symbols = st.sampled_from(["A", "B", "C:D.E"])
rows_of_a_file = st.lists(
    st.fixed_dictionaries(
        {
            "symbol": symbols | st.none(),
            "RSI": st.none() | st.integers(0, 9).map(float),
            "name_y": st.none() | st.sampled_from(["x", "y", ""]),
            "event_timestamp": instants | st.none(),
            "created_timestamp": instants | st.none(),
        }
    ),
    max_size=6,
)
shapes = st.sampled_from(
    [
        TYPES,
        TYPES | {"RSI": pa.int64()},
        TYPES | {"RSI": pa.float32(), "symbol": pa.large_string()},
        TYPES | {"RSI": pa.null(), "symbol": pa.dictionary(pa.int32(), pa.string())},
        {name: kind for name, kind in TYPES.items() if name != "RSI"},
        {name: kind for name, kind in TYPES.items() if name != "name_y"},
        TYPES | {"event_timestamp": pa.timestamp("us"), "created_timestamp": pa.timestamp("us")},
        TYPES | {"event_timestamp": pa.timestamp("ns", tz="America/New_York")},
    ]
)
files = st.lists(st.tuples(rows_of_a_file, shapes), max_size=5)
foreign = st.sampled_from(["", "date=2021-02-31", "date=__HIVE_DEFAULT_PARTITION__", "date=soon"])
questions = st.lists(
    st.tuples(symbols | st.just("Z") | st.none(), instants | st.none()), max_size=12
)


def as_stored(value: object, kind: pa.DataType) -> object:
    if kind == pa.null():
        return None
    if isinstance(value, datetime) and kind.tz is None:
        return value.replace(tzinfo=None)
    return value


def write_files(root: Path, files, folder: str, dated: bool) -> list[dict]:
    """Write files, and return the rows as they must be read: in the order of files and rows."""
    written: list[tuple[str, int, dict]] = []
    for number, (rows, types) in enumerate(files):
        by_folder: dict[str, list[dict]] = {}
        for row in rows:
            day = row["event_timestamp"]
            name = f"date={day:%Y-%m-%d}" if dated and day is not None else folder
            by_folder.setdefault(name, []).append(row)
        for name, part in by_folder.items() or [(folder, [])]:
            stored = [
                {k: as_stored(v, types[k]) for k, v in row.items() if k in types} for row in part
            ]
            write(root / name / f"part-{number}.parquet", stored, types, row_group_size=3)
            missing = {"RSI"} if types.get("RSI", pa.null()) == pa.null() else set()
            missing |= TYPES.keys() - types.keys()
            written += [
                (
                    f"{name}/part" if name else "part",
                    number,
                    {k: None if k in missing else v for k, v in row.items()},
                )
                for row in part
            ]
    return [row for *_, row in sorted(written, key=lambda each: each[:2])]


def write_newest_file(root: Path) -> None:
    """The source has its columns today, whatever the older files lack."""
    for folder in ("date=2150-01-01", "zz"):
        write(root / folder / "part-0.parquet", [], TYPES)


def ask(
    path: Path,
    questions,
    *,
    ttl=None,
    as_recorded=False,
    dated=False,
    known_at=None,
    read_once=False,
) -> History:
    keys = KeyCodes([pa.chunked_array([[k for k, _ in questions]], pa.string())], len(questions))
    times = microseconds(pa.chunked_array([[at for _, at in questions]], INSTANT))
    return point_in_time(
        replace(
            feature_table(path, dated=dated),
            known_at=None if known_at is None else to_micros(known_at),
        ),
        keys,
        Instants(times),
        ttl=None if ttl is None else to_micros(ttl),
        as_recorded=as_recorded,
        read_once=read_once,
    )


@settings(max_examples=CASES // 8, deadline=None)
@given(
    files,
    foreign,
    questions,
    st.sampled_from([None, TTL]),
    st.booleans(),
    st.booleans(),
    st.none() | instants,
    st.booleans(),
)
def test_every_question_gets_the_values_of_the_brute_force_search(
    files, folder, questions, ttl, as_recorded, dated, known_at, read_once
):
    with tempfile.TemporaryDirectory() as root:
        rows = write_files(Path(root), files, folder, dated)
        write_newest_file(Path(root))
        history = ask(
            Path(root),
            questions,
            ttl=ttl,
            as_recorded=as_recorded,
            dated=dated,
            known_at=known_at,
            read_once=read_once,
        )
    if known_at is not None:
        created = [row["created_timestamp"] for row in rows]
        rows = [row for row, at in zip(rows, created, strict=True) if at and at <= known_at]
    expected = [
        best_row(rows, {"symbol": key}, at, ttl=ttl, as_recorded=as_recorded)
        for key, at in questions
    ]
    for name, column in zip(("RSI", "name_y"), history.columns, strict=True):
        assert column.type == TYPES[name]
        assert column.to_pylist() == [row and row[name] for row in expected]
    assert history.matched == sum(row is not None for row in expected)
    assert history.created_later == sum(
        row is not None and row["created_timestamp"] is not None and row["created_timestamp"] > at
        for row, (_, at) in zip(expected, questions, strict=True)
    )


@settings(max_examples=CASES // 16, deadline=None)
@given(files, instants, st.integers(0, 3))
def test_the_newest_row_of_each_key_is_that_of_the_brute_force_search(files, start, days):
    span = to_micros(start), to_micros(start + days * DAY)
    with tempfile.TemporaryDirectory() as root:
        rows = write_files(Path(root), files, "", dated=False)
        write_newest_file(Path(root))
        found = newest_between(feature_table(root), span).to_pylist()
        every = rows_between(feature_table(root), span).to_pylist()
    assert found == newest(rows, ["symbol"], start, start + days * DAY)
    inside = [
        row
        for row in rows
        if row["event_timestamp"] and start <= row["event_timestamp"] <= start + days * DAY
    ]
    assert sorted(map(text, every)) == sorted(map(text, inside))


def text(row: dict) -> list[str]:
    return [f"{name}: {row[name]}" for name in TYPES]


ROW = {"symbol": "A", "RSI": 1.0, "event_timestamp": MONDAY, "created_timestamp": MONDAY}


def test_columns_that_are_not_asked_for_are_not_even_opened(tmp_path: Path):
    # A column whose pages are garbage cannot be read; the answer does not need it.
    path = write(tmp_path / "a.parquet", [ROW] * 5, TYPES, compression="none", use_dictionary=False)
    whole = path.read_bytes()
    values = np.full(5, 1.0).tobytes()
    assert whole.count(values) == 1
    path.write_bytes(whole.replace(values, b"\xff" * len(values)))
    table = feature_table(path, "name_y")
    assert rows_between(table, (0, to_micros(MONDAY)))["name_y"].to_pylist() == [None] * 5


def test_partition_dates_that_are_not_needed_are_not_even_opened(tmp_path: Path):
    for day in range(100):
        row = ROW | {"event_timestamp": MONDAY + day * DAY, "RSI": float(day)}
        path = tmp_path / f"date={MONDAY + day * DAY:%Y-%m-%d}" / "part-0.parquet"
        write(path, [row])
        if day in (0, 1, 98, 99):
            path.write_bytes(b"garbage")
    at = MONDAY + 97 * DAY + timedelta(hours=1)
    assert ask(tmp_path, [("A", at)], ttl=DAY, dated=True).columns[0].to_pylist() == [97.0]
    # Without a TTL, reading stops soon after the newest row that answers.
    assert ask(tmp_path, [("A", at)], dated=True).columns[0].to_pylist() == [97.0]


def test_a_file_that_vanishes_is_looked_for_again(tmp_path: Path, monkeypatch):
    """Compaction merges two parts into a third while they are being read."""
    folder = tmp_path / "date=2021-04-12"
    old = write(folder / "part-0.parquet", [ROW])
    table = feature_table(tmp_path, dated=True)
    list_files = type(table.source).pieces

    def listed_before_compaction(self, needs):
        pieces = list_files(self, needs)
        if old.exists():
            write(folder / "part-1.parquet", [ROW])
            old.unlink()
        return pieces

    monkeypatch.setattr(type(table.source), "pieces", listed_before_compaction)
    assert ask(tmp_path, [("A", MONDAY)], dated=True).matched == 1
    write(folder / "part-0.parquet", [ROW])
    assert newest_between(table, (0, to_micros(MONDAY))).num_rows == 1


def test_a_reader_outlasts_a_compaction_of_many_dates(tmp_path: Path, monkeypatch):
    """Each time that it has listed the files, another date is compacted before it is read."""
    days = [tmp_path / f"date={MONDAY - day * DAY:%Y-%m-%d}" for day in range(20)]
    for day, folder in enumerate(days):
        write(folder / "part-0.parquet", [ROW | {"event_timestamp": MONDAY - day * DAY}])
    table = feature_table(tmp_path, dated=True)
    pieces, left = type(table.source).pieces, days[:]

    def listed_before_compaction(self, needs):
        found = pieces(self, needs)
        if left:
            folder = left.pop()
            (folder / "part-0.parquet").rename(folder / "part-1.parquet")
        return found

    monkeypatch.setattr(type(table.source), "pieces", listed_before_compaction)
    span = (to_micros(MONDAY - 20 * DAY), to_micros(MONDAY))
    assert rows_between(table, span).num_rows == 20
    assert not left


def test_a_date_that_is_read_once_is_opened_once(tmp_path: Path, monkeypatch):
    """Saturday has no rows of its own: Friday answers, whose features were read already."""
    days = [MONDAY - number * DAY for number in (3, 4, 5)]
    for number, at in enumerate(days):
        rows = [ROW | {"symbol": name, "event_timestamp": at, "RSI": number} for name in "AB"]
        write(tmp_path / f"date={at:%Y-%m-%d}" / "part-0.parquet", rows)
    opened, really = [], ParquetSource._opened
    monkeypatch.setattr(
        ParquetSource, "_opened", lambda self, file: opened.append(file.path) or really(self, file)
    )
    asked = [(name, at) for at in (days[2], days[0], MONDAY - 2 * DAY) for name in "AB"]
    for read_once, times in ((True, 1), (False, 2)):
        opened.clear()
        history = ask(tmp_path, asked, ttl=2 * DAY, dated=True, read_once=read_once)
        assert history.columns[0].to_pylist() == [2.0, 2.0, 0.0, 0.0, 0.0, 0.0]
        newest = str(tmp_path / f"date={days[0]:%Y-%m-%d}")
        assert sum(path.startswith(newest) for path in opened) == times


def test_a_file_that_is_replaced_between_the_passes_is_read_again(tmp_path: Path, monkeypatch):
    """Another job writes a source's one file anew, in another order of rows."""
    rows = [ROW, ROW | {"symbol": "B", "RSI": 2.0}]
    path = write(tmp_path / "a.parquet", rows)
    table = feature_table(path)
    groups, replaced = type(table.source).groups, []

    def read_from_another(self, *what):
        if not replaced:
            other = write(tmp_path / "b.parquet", rows[::-1])
            os.utime(
                other, (later := path.stat().st_mtime + 1, later)
            )  # clocks of files are coarse
            replaced.append(other.replace(path))
        return groups(self, *what)

    monkeypatch.setattr(type(table.source), "groups", read_from_another)
    assert ask(path, [("A", MONDAY), ("B", MONDAY)]).columns[0].to_pylist() == [1.0, 2.0]
    assert replaced


@pytest.mark.parametrize("names", [["A", "B"], list("ABCD")])
def test_a_file_that_is_replaced_between_its_row_groups_is_read_again(
    tmp_path: Path, monkeypatch, names
):
    """Row groups are told by the old file's footer: another file's are others."""
    rows = [ROW | {"symbol": name, "RSI": float(n)} for n, name in enumerate("ABCD")]
    path, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    read, replaced = ParquetSource.read, []

    def replaced_after(self, *what):
        found = read(self, *what)
        if not replaced:
            write(other, rows[::-1], row_group_size=2)
            os.utime(other, (later := path.stat().st_mtime + 1, later))
            replaced.append(other.replace(path))
        return found

    monkeypatch.setattr(ParquetSource, "read", replaced_after)

    def values() -> list[float]:
        return ask(path, [(name, MONDAY) for name in names]).columns[0].to_pylist()

    def every() -> list[str]:
        return sorted(rows_between(feature_table(path), ALWAYS)["symbol"].to_pylist())

    def newest_of_each() -> list[str]:
        return newest_between(feature_table(path), ALWAYS)["symbol"].to_pylist()

    wanted = [float(number) for number in range(len(names))]
    for answer, right in ((values, wanted), (every, [*"ABCD"]), (newest_of_each, [*"ABCD"])):
        replaced.clear()
        write(path, rows, row_group_size=2)
        assert answer() == right
        assert replaced


def test_files_that_vanish_for_ever_end_in_an_error(tmp_path: Path, monkeypatch):
    path = write(tmp_path / "date=2021-04-12" / "part-0.parquet", [ROW])
    table = feature_table(tmp_path, dated=True)
    pieces = table.source.pieces(lambda *_: True)
    monkeypatch.setattr(type(table.source), "pieces", lambda *_: pieces)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        ask(tmp_path, [("A", MONDAY)], dated=True)


def test_nothing_to_read_is_nothing_known(tmp_path: Path):
    for path in (tmp_path, tmp_path / "none", tmp_path / "none" / "date=*" / "*.parquet"):
        history = ask(path, [("A", MONDAY)])
        assert [column.to_pylist() for column in history.columns] == [[None], [None]]
        assert [column.type for column in history.columns] == [pa.float64(), pa.string()]
        assert newest_between(feature_table(path), (0, 1)).num_rows == 0
    shutil.rmtree(tmp_path)
    assert ask(tmp_path, []).matched == 0
