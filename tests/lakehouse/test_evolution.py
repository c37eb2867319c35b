"""A dataset's columns are added, retired and widened: old and new parts are read together."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.fs import LocalFileSystem

from ingestion.base.columns import Column as Wanted
from ingestion.base.errors import CorruptPart, InputError
from ingestion.catalog import Column, Dataset, Dtype
from ingestion.catalog.model import CREATED_TIMESTAMP, EVENT_TIMESTAMP, SYMBOL, TIMESTAMP
from ingestion.lakehouse import (
    LocalDisk,
    append_part,
    arrow_schema,
    check_stored,
    list_parts,
    read_part,
)
from ingestion.lakehouse.compact import merge_parts
from ingestion.lakehouse.history import versions_of
from ingestion.lakehouse.inspect import inspect_part
from ingestion.lakehouse.ledger import Ledger
from ingestion.plugins.offline.files import Location
from ingestion.plugins.offline.source import ParquetSource

MONDAY = datetime(2026, 1, 12, 21, tzinfo=UTC)
SYMBOLS = ("A:A", "B:B", "C:C")
FORMER = Path("features/grown/date=2026-01-12/part-0.parquet")
Row = dict[str, Any]


def column(name: str, dtype: Dtype = Dtype.DOUBLE, **more: Any) -> Column:
    return Column(name, dtype, "a feature", **more)


def dataset(*features: Column) -> Dataset:
    columns = (TIMESTAMP, SYMBOL, *features, EVENT_TIMESTAMP, CREATED_TIMESTAMP)
    return Dataset("grown", "a group that grows", "features/grown", columns)


def rows_of(
    declared: Dataset, day: int, created: int, values: Callable[[Column], Any]
) -> list[Row]:
    event = MONDAY + timedelta(days=day)
    times = {
        "timestamp": int(event.timestamp()),
        "event_timestamp": event,
        "created_timestamp": event + timedelta(minutes=created),
    }
    known = {"symbol", *times}
    return [
        {"symbol": symbol, **times}
        | {each.name: values(each) for each in declared.columns if each.name not in known}
        for symbol in SYMBOLS
    ]


def a_one(declared: Column) -> Any:
    return "1" if declared.dtype is Dtype.STRING else 1


def write(root: Path, declared: Dataset, rows: list[Row]) -> Path:
    table = pa.Table.from_pylist(rows, schema=arrow_schema(declared))
    return append_part(LocalDisk(root), declared, table, "run").path


def ordered(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["timestamp"], row["created_timestamp"], row["symbol"]))


# Each reads all parts of a folder together, as its own documentation has it.


def by_the_project(root: Path, declared: Dataset) -> list[Row]:
    parts = list_parts(LocalDisk(root), declared)
    return pa.concat_tables([read_part(part, declared) for part in parts]).to_pylist()


def by_the_offline_store(root: Path, declared: Dataset) -> list[Row]:
    source = ParquetSource(
        Location(LocalFileSystem(), str(root / declared.storage), True), declared.event
    )
    columns = [Wanted(each.name, each.type) for each in arrow_schema(declared)]
    pieces = source.pieces(lambda *_: True)
    return pa.concat_tables([source.read(piece, columns) for piece in pieces]).to_pylist()


def by_pandas(root: Path, declared: Dataset) -> list[Row]:
    frame = pd.read_parquet(
        root / declared.storage,
        schema=arrow_schema(declared),
        partitioning=None,
        dtype_backend="pyarrow",
    )
    return pa.Table.from_pandas(frame, preserve_index=False).to_pylist()


def by_duckdb(root: Path, declared: Dataset) -> list[Row]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        names = ", ".join(f'"{each.name}"' for each in declared.columns)
        return (
            connection.sql(
                f"SELECT {names} FROM read_parquet('{root / declared.storage}/*/*.parquet', "
                "union_by_name = true, hive_partitioning = false)"
            )
            .to_arrow_table()
            .to_pylist()
        )


def by_polars(root: Path, declared: Dataset) -> list[Row]:
    schema = pl.from_arrow(arrow_schema(declared).empty_table()).schema
    frame = pl.scan_parquet(
        root / declared.storage / "*/*.parquet",
        schema=schema,
        hive_partitioning=False,
        missing_columns="insert",
        cast_options=pl.ScanCastOptions(integer_cast="allow-float"),
    )
    return frame.collect().to_dicts()


READERS = (by_the_project, by_the_offline_store, by_pandas, by_duckdb, by_polars)


@dataclass
class Told:
    """What was written, in plain dicts: the oracle."""

    rows: list[Row] = field(default_factory=list)

    def read(self, declared: Dataset) -> list[Row]:
        return ordered(
            [{each.name: row.get(each.name) for each in declared.columns} for row in self.rows]
        )


def changed(declared: Dataset, draw: random.Random, fresh: str) -> Dataset:
    """Add, retire or widen a column."""
    columns = list(declared.columns)
    own = [each for each in columns if each.name.startswith("f")]
    whole = [at for at, each in enumerate(columns) if each.dtype is Dtype.INT64 and each in own]
    act = draw.choice(("add", "add", "retire", "widen"))
    if act == "widen" and whole:
        at = draw.choice(whole)
        columns[at] = replace(columns[at], dtype=Dtype.DOUBLE)
    elif act == "retire" and own:
        at = columns.index(draw.choice(own))
        columns[at] = replace(columns[at], retired=True)
    else:
        at = draw.randint(0, len(columns))
        columns.insert(at, column(fresh, draw.choice(list(Dtype))))
    return replace(declared, columns=tuple(columns))


def a_value(draw: random.Random, declared: Column) -> Any:
    if declared.retired or draw.random() < 0.2:
        return None
    return {
        Dtype.DOUBLE: lambda: draw.uniform(-1e6, 1e6),
        Dtype.INT64: lambda: draw.randint(-(2**53), 2**53),
        Dtype.STRING: lambda: draw.choice(("buy", "sell", "")),
        Dtype.BOOL: lambda: draw.random() < 0.5,
        Dtype.TIMESTAMP: lambda: MONDAY + timedelta(microseconds=draw.randrange(10**12)),
    }[declared.dtype]()


@settings(max_examples=int(os.environ.get("TVFEAST_EXAMPLES", "15")), deadline=None)
@given(st.integers(0, 2**32))
def test_every_reader_reads_old_and_new_parts_together(seed: int):
    draw, told, declared = random.Random(seed), Told(), dataset(column("f0", Dtype.INT64))
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for step in range(6):
            declared = changed(declared, draw, f"f{step + 1}")
            assert check_stored(LocalDisk(root), declared) == []
            rows = rows_of(declared, draw.randint(0, 1), step, lambda each: a_value(draw, each))
            write(root, declared, rows)
            told.rows += rows
            if draw.random() < 0.3:
                compact(root, declared, draw.choice(list_parts(LocalDisk(root), declared)).date)
        expected = told.read(declared)
        for reader in READERS:
            assert ordered(reader(root, declared)) == expected, reader.__name__
        for part in list_parts(LocalDisk(root), declared):
            assert (
                inspect_part(LocalDisk(root), declared, part, Ledger.read(LocalDisk(root))).faults
                == ()
            )
        for day in {part.date for part in list_parts(LocalDisk(root), declared)}:
            compact(root, declared, day)
        declared = changed(declared, draw, "never written")
        expected = told.read(declared)
        assert ordered(by_the_project(root, declared)) == expected
        assert_merged_parts_have_the_union(root, declared)


def compact(root: Path, declared: Dataset, day: Any) -> None:
    if sum(part.date == day for part in list_parts(LocalDisk(root), declared)) > 1:
        merge_parts(
            LocalDisk(root), declared, day, Ledger.read(LocalDisk(root)), f"merge-{uuid4().hex}"
        )


def assert_merged_parts_have_the_union(root: Path, declared: Dataset) -> None:
    """… in the catalog's order, and know which of their rows lack which columns."""
    names = [each.name for each in declared.columns]
    for part in list_parts(LocalDisk(root), declared):
        has = pq.read_schema(part.path).names
        assert has == [name for name in names if name in has]
        for symbol in SYMBOLS:
            for row in versions_of(LocalDisk(root), declared, [part], symbol):
                assert all(row.values[name] is None for name in row.lacks)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ([column("a"), column("b")], [column("a")], "b is stored, and not declared"),
        ([column("a")], [column("a", Dtype.INT64)], "a is stored as double and declared as int64"),
        ([column("a", Dtype.INT64)], [column("a", Dtype.STRING)], "stored as int64 and declared"),
        ([column("a", Dtype.BOOL)], [column("a")], "stored as bool and declared as double"),
        ([column("a"), column("b")], [column("b"), column("a")], "in another order"),
        ([column("a")], [column("a"), column("b", nullable=False)], "b is missing, and may not be"),
    ],
)
@pytest.mark.parametrize("remembered", [True, False])
def test_a_catalog_that_would_break_stored_parts_is_refused(
    tmp_path: Path, before: list[Column], after: list[Column], complaint: str, remembered: bool
):
    former, now = dataset(*before), dataset(*after)
    part = write(tmp_path, former, rows_of(former, 0, 0, lambda _: None))
    if not remembered:
        (tmp_path / "_columns" / "grown.json").unlink()
    (said,) = check_stored(LocalDisk(tmp_path), now)
    assert complaint in said
    assert "delete" not in said
    with pytest.raises(InputError, match="Nothing was written") as refused:
        write(tmp_path, now, rows_of(now, 1, 0, a_one))
    assert complaint in str(refused.value)
    assert [each.path for each in list_parts(LocalDisk(tmp_path), now)] == [part]
    assert check_stored(LocalDisk(tmp_path), former) == []


def test_what_only_an_older_date_has_is_remembered(tmp_path: Path):
    """History is written after the newest date: a look at the newest part is not enough."""
    former = dataset(column("a"))
    grown = dataset(column("a"), column("b"))
    write(tmp_path, former, rows_of(former, 3, 0, lambda _: 1.0))
    write(tmp_path, grown, rows_of(grown, 0, 0, lambda _: 2.0))
    assert len(check_stored(LocalDisk(tmp_path), former)) == 1
    with pytest.raises(InputError, match="b is stored, and not declared"):
        write(tmp_path, former, rows_of(former, 4, 0, lambda _: 1.0))


def test_what_is_remembered_may_be_deleted_or_torn(tmp_path: Path):
    former = dataset(column("a"))
    grown = dataset(column("b", Dtype.STRING), column("a"))
    write(tmp_path, former, rows_of(former, 3, 0, lambda _: 1.0))
    write(tmp_path, grown, rows_of(grown, 0, 0, lambda _: None))
    remembered = tmp_path / "_columns" / "grown.json"
    for content in (b"", b'{"a": "dou', b"[]", b'{"a": "complex"}'):
        remembered.write_bytes(content)
        with pytest.raises(InputError, match="b is stored, and not declared"):
            write(tmp_path, former, rows_of(former, 4, 0, lambda _: 1.0))
        write(tmp_path, grown, rows_of(grown, 1, 0, lambda _: None))
        assert len(check_stored(LocalDisk(tmp_path), former)) == 1


def test_a_part_without_a_record_is_as_its_own_schema_says(tmp_path: Path):
    """As version 0.1.0 wrote parts, and Feast writes them."""
    former, now = dataset(column("a", Dtype.INT64)), dataset(column("new"), column("a"))
    rows = rows_of(former, 0, 0, lambda _: 7)
    table = pa.Table.from_pylist(rows, schema=arrow_schema(former))
    (tmp_path / FORMER).parent.mkdir(parents=True)
    pq.write_table(table, tmp_path / FORMER)
    assert check_stored(LocalDisk(tmp_path), now) == []
    read = read_part(*list_parts(LocalDisk(tmp_path), now), now, ["a", "new", "symbol"])
    assert read.to_pylist() == [{"a": 7.0, "new": None, "symbol": each} for each in SYMBOLS]
    assert read.schema.types == [pa.float64(), pa.float64(), pa.string()]


def test_what_feast_wrote_may_have_any_order(tmp_path: Path):
    """Its writer knows the columns of the files, and not the catalog."""
    now = dataset(column("a"), column("b"))
    rows = pa.Table.from_pylist(rows_of(now, 0, 0, a_one), arrow_schema(now))
    (tmp_path / FORMER).parent.mkdir(parents=True)
    pq.write_table(rows.select(rows.column_names[::-1]), tmp_path / FORMER)
    assert check_stored(LocalDisk(tmp_path), now) == []
    assert read_part(*list_parts(LocalDisk(tmp_path), now), now).equals(rows)


@pytest.mark.parametrize("reader", [by_the_project, by_the_offline_store])
def test_a_part_that_differs_from_its_record_is_damaged(tmp_path: Path, reader):
    declared = dataset(column("a"), column("b"))
    part = write(tmp_path, declared, rows_of(declared, 0, 0, lambda _: 1.0))
    pq.write_table(pq.read_table(part).drop_columns(["b"]), part)
    with pytest.raises(CorruptPart, match="b is missing") as said:
        reader(tmp_path, declared)
    assert "from a backup" in str(said.value)
    assert not {"delete", "move", "remove"} & set(str(said.value).split())


def test_integers_that_no_double_equals_are_read_rounded_and_never_merged(tmp_path: Path):
    former, now = dataset(column("a", Dtype.INT64)), dataset(column("a"))
    for created in (0, 1):
        write(tmp_path, former, rows_of(former, 0, created, lambda _: 2**53 + 1))
    part = list_parts(LocalDisk(tmp_path), now)[0]
    assert read_part(part, now, ["a"])["a"].to_pylist() == [2.0**53] * 3
    (fault,) = inspect_part(LocalDisk(tmp_path), now, part, Ledger.read(LocalDisk(tmp_path))).faults
    assert "a value that the declared type cannot contain" in fault
    with pytest.raises(CorruptPart, match="cannot contain"):
        compact(tmp_path, now, part.date)
    assert len(list_parts(LocalDisk(tmp_path), now)) == 2
