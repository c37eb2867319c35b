from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion.base.errors import CorruptPart
from ingestion.lakehouse import (
    LocalDisk,
    append_part,
    arrow_schema,
    list_parts,
    read_file,
    read_part,
    write_run_file,
)
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.technicals import EVENING, technicals

FOLDER = "features/tv_technicals_1d/date=2026-01-16"


def test_a_part_goes_to_the_partition_of_its_utc_date(tmp_path: Path):
    part = append_part(LocalDisk(tmp_path), GROUP, technicals(["NASDAQ:AAPL"]), "run")
    assert part.path == tmp_path / FOLDER / "part-0.parquet"
    midnight = datetime.fromisoformat("2026-01-17T00:00:00+00:00")
    part = append_part(LocalDisk(tmp_path), GROUP, technicals(["NASDAQ:AAPL"], midnight), "run")
    assert part.path.parent.name == "date=2026-01-17"


def test_rows_come_back_as_they_were_sorted_by_symbol(tmp_path: Path):
    rows = technicals(["NYSE:IBM", "BINANCE:BTCUSDT", "NASDAQ:AAPL"], RSI=[50.5, None, 0.1])
    part = append_part(LocalDisk(tmp_path), GROUP, rows, "run")
    expected = rows.sort_by("symbol")
    assert read_file(part).equals(expected)
    assert read_file(part)["symbol"].to_pylist() == ["BINANCE:BTCUSDT", "NASDAQ:AAPL", "NYSE:IBM"]


def test_each_part_takes_the_next_free_number_and_none_is_replaced(tmp_path: Path):
    first = append_part(LocalDisk(tmp_path), GROUP, technicals(["A:A"]), "run-1")
    content = first.path.read_bytes()
    later = EVENING + timedelta(minutes=1)
    second = append_part(LocalDisk(tmp_path), GROUP, technicals(["A:A"], later), "run-2")
    assert [part.number for part in list_parts(LocalDisk(tmp_path), GROUP)] == [0, 1]
    assert second.path.name == "part-1.parquet"
    assert first.path.read_bytes() == content


def test_a_part_never_overwrites_a_file_that_appears_under_its_number(tmp_path: Path, monkeypatch):
    """Between the look and the link, somebody else may have linked the same number."""
    append_part(LocalDisk(tmp_path), GROUP, technicals(["A:A"]), "run-1")
    monkeypatch.setattr("ingestion.lakehouse.writer.part_numbers", lambda folder: [])
    second = append_part(LocalDisk(tmp_path), GROUP, technicals(["B:B"]), "run-2")
    assert second.path.name == "part-1.parquet"
    assert pq.ParquetFile(tmp_path / FOLDER / "part-0.parquet").read()["symbol"].to_pylist() == [
        "A:A"
    ]


@pytest.mark.parametrize(("rows", "compression"), [(51, "ZSTD"), (50, "UNCOMPRESSED")])
def test_a_few_rows_are_not_compressed(tmp_path: Path, rows: int, compression: str):
    symbols = [f"A:{number}" for number in range(rows)]
    part = append_part(LocalDisk(tmp_path), GROUP, technicals(symbols), "run-7")
    with pq.ParquetFile(part.path) as file:
        assert file.metadata.row_group(0).column(0).compression == compression
        assert sorted(file.read(["symbol"])["symbol"].to_pylist()) == sorted(symbols)


def test_the_file_says_which_run_wrote_it_and_which_columns_its_dataset_had(tmp_path: Path):
    part = append_part(LocalDisk(tmp_path), GROUP, technicals(["A:A"]), "run-7")
    metadata = pq.ParquetFile(part.path).schema_arrow.metadata
    assert metadata[b"tvfeast.run_id"] == b"run-7"
    assert metadata[b"tvfeast.schema_version"] == b"1"  # version 0.1.0 asks for it
    told = json.loads(metadata[b"tvfeast.columns"])
    assert list(told.items())[:3] == [
        ("timestamp", "int64"),
        ("symbol", "string"),
        ("Recommend.All", "double"),
    ]
    assert list(told) == [column.name for column in GROUP.columns]
    assert told["created_timestamp"] == "timestamp[us, tz=UTC]"


def test_nothing_is_left_beside_the_part(tmp_path: Path):
    append_part(LocalDisk(tmp_path), GROUP, technicals(["A:A"]), "run")
    files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")]
    assert sorted(files) == [
        f"_columns/{GROUP.name}.json",
        "_runs/run/files.jsonl",
        f"{FOLDER}/part-0.parquet",
    ]


@pytest.mark.parametrize(
    ("fault", "rows"),
    [
        ("NaN", technicals(["A:A"], RSI=[float("nan")])),
        ("infinite", technicals(["A:A"], AO=[float("-inf")])),
        ("not unique", technicals(["A:A", "A:A"])),
        ("schema", technicals(["A:A"]).drop_columns(["RSI"])),
        (
            "1 nulls in symbol",
            technicals(["A:A"]).set_column(1, "symbol", pa.array([None], pa.string())),
        ),
        (
            "1 row whose event_timestamp is not of 2026-01-16",
            pa.concat_tables(
                [technicals(["A:A"]), technicals(["A:A"], EVENING + timedelta(days=1))]
            ),
        ),
    ],
)
def test_rows_that_break_the_contract_are_not_written(tmp_path: Path, fault: str, rows: pa.Table):
    with pytest.raises(ValueError, match=fault):
        append_part(LocalDisk(tmp_path), GROUP, rows, "run")
    assert list_parts(LocalDisk(tmp_path), GROUP) == []
    assert not list(tmp_path.rglob("*.parquet"))


def test_files_that_are_not_parts_are_no_parts(tmp_path: Path):
    part = append_part(LocalDisk(tmp_path), GROUP, technicals(["A:A"]), "run")
    for name in ("part-01.parquet", "part-1.parquet.tmp", ".part-2.parquet", "notes.txt"):
        (part.path.parent / name).write_bytes(b"x")
    (part.path.parent.parent / "date=2026-02-31").mkdir()
    (part.path.parent.parent / "date=junk").mkdir()
    assert [each.path for each in list_parts(LocalDisk(tmp_path), GROUP)] == [part.path]


def test_a_corrupt_part_is_named(tmp_path: Path):
    part = append_part(LocalDisk(tmp_path), GROUP, technicals(["A:A"]), "run")
    part.path.write_bytes(part.path.read_bytes()[:-10])
    with pytest.raises(CorruptPart, match=r"part-0\.parquet .* from a backup"):
        read_part(*list_parts(LocalDisk(tmp_path), GROUP), GROUP)


def test_a_run_file_appears_whole_in_the_runs_own_folder(tmp_path: Path):
    path = write_run_file(LocalDisk(tmp_path), "run-7", "receipt.json", b"{}")
    assert path.path == tmp_path / "_runs" / "run-7" / "receipt.json"
    assert path.path.read_bytes() == b"{}"
    assert {each.name for each in path.path.parent.iterdir()} == {"receipt.json", "files.jsonl"}


values = st.none() | st.floats(allow_nan=False, allow_infinity=False)
tables = st.dictionaries(
    st.text("ABC0123456789:._!é中", min_size=1, max_size=8), st.tuples(values, values), min_size=1
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tables)
def test_what_is_written_is_read_back(tmp_path: Path, rows):
    written = technicals(
        list(rows), RSI=[rsi for rsi, _ in rows.values()], AO=[ao for _, ao in rows.values()]
    )
    read = read_file(append_part(LocalDisk(tmp_path), GROUP, written, "run"))
    assert pc.equal(read["symbol"], pa.array(sorted(rows))).to_pylist() == [True] * len(rows)
    assert {
        symbol: (rsi, ao)
        for symbol, rsi, ao in zip(
            *(read[name].to_pylist() for name in ("symbol", "RSI", "AO")), strict=True
        )
    } == rows


class TestReaders:
    """The schema and the rows, as the four common readers see a partitioned folder."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        rows = technicals(["A:A", "B:B"], RSI=[None, 1.0])
        append_part(LocalDisk(tmp_path), GROUP, rows, "run-1")
        # A day without a single RSI, and one whose values are all whole numbers.
        append_part(
            LocalDisk(tmp_path), GROUP, technicals(["A:A"], EVENING + timedelta(days=1)), "run-2"
        )
        nulls = technicals(["A:A"], EVENING + timedelta(days=2), RSI=[None])
        append_part(LocalDisk(tmp_path), GROUP, nulls, "run-3")
        return tmp_path / GROUP.storage

    def test_pyarrow(self, folder: Path):
        table = pq.read_table(folder, partitioning=None)
        assert table.schema == arrow_schema(GROUP)
        assert table.num_rows == 4

    def test_duckdb(self, folder: Path):
        import duckdb

        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            relation = connection.sql(
                f"SELECT * FROM read_parquet('{folder}/*/*.parquet', hive_partitioning = false)"
            )
            assert relation.to_arrow_table().schema == arrow_schema(GROUP)
            assert relation.count("*").fetchall() == [(4,)]

    def test_polars(self, folder: Path):
        import polars as pl

        table = pl.scan_parquet(folder / "*/*.parquet", hive_partitioning=False).collect()
        read = table.to_arrow(compat_level=pl.CompatLevel.oldest())
        expected = arrow_schema(GROUP)
        assert read.schema.names == expected.names
        # Polars knows strings only with 64-bit offsets.
        types = [pa.string() if t == pa.large_string() else t for t in read.schema.types]
        assert types == expected.types
        assert len(table) == 4

    def test_pandas(self, folder: Path):
        frame = pd.read_parquet(folder, partitioning=None)
        assert list(frame.columns) == arrow_schema(GROUP).names
        assert str(frame["timestamp"].dtype) == "int64"
        assert str(frame["RSI"].dtype) == "float64"
        assert str(frame["event_timestamp"].dtype) == "datetime64[us, UTC]"
        assert len(frame) == 4
