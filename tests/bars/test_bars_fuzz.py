"""Whatever a file holds, the import says what is wrong with it or takes it."""

from __future__ import annotations

import gzip
import tempfile
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from ingestion.base.errors import InputError
from ingestion.catalog import OHLCV_1D, SPLITS
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project
from tests.fuzzing import fuzz

CELLS = st.one_of(
    st.sampled_from(
        [
            *("2021-03-03", "2021-03-06", "1614781800", "20210303", "2021-03-03T00:00:00+02:00"),
            *("1970-01-01", "0001-01-01", "9999-12-31", "10", "12", "9", "11", "0", "-1", "1e308"),
            *("1e-320", "nan", "inf", "", "1,5", '"', "a:b", "NYSE:A", "OANDA:EURUSD"),
            "BINANCE:BTCUSDT",
        ]
    ),
    st.text(max_size=8),
)
NUMBERS = st.sampled_from(["10", "10", "10", "1e308", "1e-320", "0", "3"])
PLAUSIBLE = st.tuples(
    st.sampled_from(["2021-03-03", "2021-03-04", "1614781800"]),
    st.sampled_from(["NYSE:A", "NASDAQ:B", "OANDA:EURUSD"]),
    NUMBERS,
    NUMBERS,
).map(lambda row: ",".join([*row[:2], *[row[2]] * 4, row[3], row[3]]))
ROWS = st.lists(
    st.one_of(st.lists(CELLS, min_size=6, max_size=8).map(",".join), PLAUSIBLE), max_size=6
)
HEADERS = st.sampled_from(
    [
        "date,symbol,open,high,low,close,volume,split_ratio",
        "Date,Open,High,Low,Close,Stock Splits,Volume",
    ]
)
FILES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode(errors="replace")),
    st.tuples(HEADERS, ROWS).map(
        lambda file: "\n".join([file[0], *file[1]]).encode(errors="replace")
    ),
)


VALUES: list[tuple[pa.DataType, list[object]]] = [
    (pa.null(), [None]),
    (pa.bool_(), [True, False]),
    (pa.int8(), [0, 1, -1, 127]),
    (pa.int64(), [0, 10, 20_210_303, 1_614_781_800, 1_614_781_800_000, -(2**63), 2**63 - 1]),
    (pa.uint64(), [10, 1_614_781_800, 2**64 - 1]),
    (pa.float16(), [np.float16(10), np.float16("nan")]),
    (
        pa.float64(),
        [10.0, 1.0, 0.0, -1.0, 1e308, 5e-324, float("nan"), float("inf"), 1_614_781_800.0],
    ),
    (pa.string(), ["2021-03-03", "10", "NYSE:A", "", "x", "1e400", "\0", "NYSE:" + "A" * 99]),
    (pa.large_string(), ["2021-03-04", "10", "NYSE:A"]),
    (pa.dictionary(pa.int8(), pa.string()), ["2021-03-03", "10", "NYSE:A", None]),
    (pa.binary(), [b"2021-03-03", b"10", b"NYSE:A", b"\xff"]),
    (pa.binary(2), [b"10", b"\xff\xff"]),
    (pa.decimal128(38, 6), [Decimal("10"), Decimal("1e20")]),
    (pa.date32(), [date(2021, 3, 3), date(1, 1, 1), date(9999, 12, 31)]),
    (pa.date64(), [date(2021, 3, 3), date(1900, 1, 1)]),
    (pa.time64("us"), [time(9, 30), time(0)]),
    (pa.duration("s"), [timedelta(0), timedelta(days=10)]),
    (pa.timestamp("s"), [0, 1_614_781_800, 1_614_729_600, -(2**52), 2**52]),
    (pa.timestamp("ns"), [1_614_781_800 * 10**9, 1, -(2**63) + 1]),
    (pa.timestamp("us", "America/New_York"), [1_614_781_800 * 10**6, 1_614_747_600 * 10**6]),
    (pa.timestamp("us", "+14:00"), [1_614_781_800 * 10**6, -(2**62)]),
    (pa.timestamp("us", "No/Such"), [1_614_781_800 * 10**6]),
    (pa.list_(pa.float64()), [[10.0], []]),
    (pa.struct({"a": pa.int64()}), [{"a": 10}]),
    (pa.map_(pa.string(), pa.int64()), [[("a", 1)]]),
]
"""What a column may be, and some of what it may hold."""
LIKELY = {
    "date": [pa.date32(), pa.string(), pa.timestamp("s"), pa.timestamp("ns"), pa.int64()],
    "symbol": [pa.string(), pa.dictionary(pa.int8(), pa.string())],
}
NAMES = ("date", "symbol", "open", "high", "low", "close", "volume", "split_ratio", "Adj Close")


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Draw a table under the names of bars; a column in three is of an unlikely type."""
    rows = draw(st.integers(0, 4))
    left_out = draw(st.sets(st.sampled_from(NAMES), max_size=2)) if draw(st.booleans()) else set()
    columns = {}
    for name in NAMES:
        if name in left_out:
            continue
        likely = [
            each for each in VALUES if each[0] in LIKELY.get(name, [pa.float64(), pa.int64()])
        ]
        kind, values = draw(st.sampled_from([*likely * (2 * len(VALUES) // len(likely)), *VALUES]))
        cells = st.sampled_from(values) if draw(st.booleans()) else st.just(values[0])
        drawn = draw(st.lists(st.none() | cells | cells, min_size=rows, max_size=rows))
        columns[name] = pa.array(drawn, kind)
    return pa.table(columns)


TABLES = tables()


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "splits", "map", "map.json"])
@fuzz(60, content=FILES, adjusted=st.booleans(), packed=st.booleans())
def test_any_content_is_imported_or_an_input_error(
    kind: str, content: bytes, adjusted: bool, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "csv.gz" and packed:
        content = gzip.compress(content)
    prepare(monkeypatch)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = root / {"splits": "x.csv", "map": "x.csv", "map.json": "x.json"}.get(
            kind, f"x.{kind}"
        )
        path.write_bytes(content)
        files = (path,) if kind in ("csv", "csv.gz", "parquet") else ()
        options = {"splits": path if kind == "splits" else None, "adjusted": adjusted}
        if kind.startswith("map"):
            options["symbol_map"] = path
            files = (root / "NYSE_A_1d.csv",)
            files[0].write_text("date,open,high,low,close,volume\n2021-03-03,1,1,1,1,1\n")
        imported_or_refused(root, ImportRequest(files, exchange="NYSE", **options))  # type: ignore[arg-type]


@fuzz(150, table=TABLES, adjusted=st.booleans(), as_splits=st.booleans())
def test_any_parquet_table_is_imported_or_an_input_error(
    table: pa.Table, adjusted: bool, as_splits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(monkeypatch)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = root / "NYSE_A_1d.parquet"
        pq.write_table(table, path)
        files = () if as_splits else (path,)
        splits = path if as_splits else None
        imported_or_refused(
            root, ImportRequest(files, exchange="NYSE", splits=splits, adjusted=adjusted)
        )


@fuzz(60, start=st.integers(0, 4000), patch=st.binary(max_size=8), cut=st.integers(0, 40))
def test_a_parquet_file_with_a_spoiled_stretch_is_imported_or_an_input_error(
    start: int, patch: bytes, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(monkeypatch)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = root / "NYSE_A_1d.parquet"
        day = pa.array([date(2021, 3, 3), date(2021, 3, 4)])
        prices = {name: [10.0, 11.0] for name in ("open", "high", "low", "close", "volume")}
        pq.write_table(pa.table({"date": day, **prices}), path)
        content = path.read_bytes()
        start %= len(content)
        path.write_bytes(content[:start] + patch + content[start + cut :])
        imported_or_refused(root, ImportRequest((path,)))


def prepare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setenv("TVFEAST_NOW", datetime(2021, 6, 1, tzinfo=UTC).isoformat())


def imported_or_refused(root: Path, request: ImportRequest) -> None:
    """Every row read is accounted for, every row accepted is stored, and a second run adds none."""
    lakehouse = Project(root, root / "lakehouse", "https://scanner.invalid")
    try:
        result = import_bars(lakehouse, request)
    except InputError:
        return
    # No bars are held yet, so a file of splits alone can only be kept for later.
    dataset = OHLCV_1D if request.files else SPLITS
    held = read_current(list_parts(lakehouse.lakehouse, dataset), dataset)
    assert held.num_rows == result.accepted == result.written
    assert result.read == sum(
        counts.accepted + counts.repeated + counts.refused + counts.held for counts in result.files
    )
    assert import_bars(lakehouse, request).written == 0
