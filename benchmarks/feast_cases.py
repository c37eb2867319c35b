"""One case of ``make bench-feast``, in a process of its own: prints a JSON object.

``python -m benchmarks.feast_cases CASE FOLDER ROWS``: imports and preparation are not in
``seconds``, nor in ``cpu``, what all threads took together; ``peak_mb`` is what the process held at
most beyond what it held before the work; ``answer`` tells one answer from another.
"""

from __future__ import annotations

import contextlib
import gc
import json
import mmap
import os
import sqlite3
import statistics
import struct
import sys
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.feast_data import FEATURES, event, open_store, questions, symbols

COUNT = 10_000
"""Symbols of the panels."""

_AGAIN = 7
"""How often a server reads: Python's garbage collection falls into one read or the other."""

_WARM = 3 << 29
"""Bytes."""

Case = Callable[[Path, int], Callable[[], Any]]
CASES: dict[str, Case] = {}
_KEY = struct.pack("<III", 1, 2, 6) + b"symbol" + struct.pack("<I", 2)
_COLUMNS = ["symbol", *FEATURES, "event_timestamp", "created_timestamp"]


def case(name: str) -> Callable[[Case], Case]:
    """Register a case: a function that prepares, and returns the work to time."""

    def register(prepare: Case) -> Case:
        CASES[name] = prepare
        return prepare

    return register


class Span:
    """Which days a point-in-time question is about, and which it can touch."""

    def __init__(self, folder: Path) -> None:
        described = json.loads((folder / "span.json").read_text())
        self.first, self.last = described["first"], described["last"]
        self.ttl = timedelta(days=described["ttl_days"]) if described["ttl_days"] else None
        self.panel = folder / "panel"
        _read(self.files()[0])  # what Arrow loads at its first file is nobody's work

    def files(self) -> list[Path]:
        """Return the files that hold a valid row of any question."""
        reach = self.ttl.days + 1 if self.ttl else self.first
        days = range(max(0, self.first - reach), self.last + 1)
        return [self.panel / f"date={event(day):%Y-%m-%d}" / "part-0.parquet" for day in days]

    def questions(self, rows: int) -> Any:
        """Return the questions."""
        return questions(COUNT, self.first, self.last, rows)


@case("pit floor")
def pit_floor(folder: Path, rows: int) -> Callable[[], Any]:
    """Read the touched files' columns into one Arrow table."""
    span = Span(folder)

    def scan() -> None:
        pa.concat_tables([_read(path) for path in span.files()])

    return scan


@case("pit ours")
def pit_ours(folder: Path, rows: int) -> Callable[[], Any]:
    """Join through Feast's public interface, on our store."""
    return _pit(folder, "ours", rows)


@case("pit arrow")
def pit_arrow(folder: Path, rows: int) -> Callable[[], Any]:
    """Join entity rows that come as an Arrow table, on our store."""
    return _pit(folder, "ours", rows, arrow=True)


@case("pit frame")
def pit_frame(folder: Path, rows: int) -> Callable[[], Any]:
    """Join entity rows of a pandas frame, and take the answer as one, on our store."""
    return _pit(folder, "ours", rows, frame=True)


@case("pit stock")
def pit_stock(folder: Path, rows: int) -> Callable[[], Any]:
    """Join through Feast's public interface, on its DuckDB store."""
    return _pit(folder, "stock", rows)


def _pit(
    folder: Path, stores: str, rows: int, *, arrow: bool = False, frame: bool = False
) -> Callable[[], Any]:
    span = Span(folder)
    store, asked = open_store(folder / stores), span.questions(rows)
    if arrow:
        asked = pa.Table.from_pandas(asked, preserve_index=False)
    wanted = [f"panel:{name}" for name in FEATURES]
    store._get_provider()  # what Feast imports when it is first asked

    def join() -> Any:
        job = store.get_historical_features(asked, wanted)
        return job.to_df() if frame else job.to_arrow()

    return join


@case("pit bare duckdb")
def pit_duckdb(folder: Path, rows: int) -> Callable[[], Any]:
    """Join by DuckDB's ASOF, told which files to read."""
    import duckdb

    span = Span(folder)
    asked = pa.Table.from_pandas(span.questions(rows), preserve_index=False)
    names = ", ".join(FEATURES)
    values = ", ".join(f"CASE WHEN fresh THEN {name} END AS {name}" for name in FEATURES)
    limit = f"INTERVAL {span.ttl.days} DAYS" if span.ttl else "INTERVAL 100 YEARS"
    query = f"""
        SELECT symbol, asked_at, {values} FROM (
            SELECT asked.symbol, asked.event_timestamp AS asked_at, {names},
                   asked.event_timestamp - known.event_timestamp <= {limit} AS fresh
            FROM asked ASOF LEFT JOIN read_parquet($files) AS known
            ON asked.symbol = known.symbol AND asked.event_timestamp >= known.event_timestamp)
    """

    def join() -> Any:
        with duckdb.connect() as connection:
            connection.register("asked", asked)
            files = [str(path) for path in span.files()]
            return connection.execute(query, {"files": files}).to_arrow_table()

    return join


@case("pit bare polars")
def pit_polars(folder: Path, rows: int) -> Callable[[], Any]:
    """Join by Polars, told which files to read."""
    import polars as pl

    span = Span(folder)
    frame = span.questions(rows)
    asked = pl.DataFrame(pl.from_arrow(pa.Table.from_pandas(frame, preserve_index=False)))

    def join() -> Any:
        known = pl.read_parquet(span.files(), columns=_COLUMNS[:-1]).sort("event_timestamp")
        return asked.sort("event_timestamp").join_asof(
            known, on="event_timestamp", by="symbol", tolerance=span.ttl
        )

    return join


@case("online ours")
def online_ours(folder: Path, rows: int) -> Callable[[], Any]:
    """Read all symbols through Feast's public interface, on our store."""
    return _online(folder / "ours", rows)


@case("online stock")
def online_stock(folder: Path, rows: int) -> Callable[[], Any]:
    """Read all symbols through Feast's public interface, on its SQLite store."""
    return _online(folder / "stock", rows)


def _online(repository: Path, rows: int) -> Callable[[], Any]:
    store, keys = open_store(repository), symbols(rows)
    wanted = [f"panel:{name}" for name in FEATURES]

    def read() -> Any:
        return store.get_online_features(wanted, {"symbol": keys}).to_df()

    read()  # the registry's and the files' caches are warm in a server
    return read


@case("one ours")
def one_ours(folder: Path, rows: int) -> Callable[[], Any]:
    """Read one symbol at a time, on our store."""
    return _one(folder / "ours")


@case("one stock")
def one_stock(folder: Path, rows: int) -> Callable[[], Any]:
    """Read one symbol at a time, on Feast's SQLite store."""
    return _one(folder / "stock")


def _one(repository: Path) -> Callable[[], Any]:
    """Return the percentiles of 2,000 reads, in milliseconds, after 200 that warm up."""
    store, keys = open_store(repository), symbols(COUNT)
    wanted = [f"panel:{name}" for name in FEATURES]

    def read() -> Any:
        taken = []
        for key in keys[:2200]:
            began = time.perf_counter()
            store.get_online_features(wanted, {"symbol": [key]}).to_dict()
            taken.append((time.perf_counter() - began) * 1e3)
        return {f"p{p}": float(np.percentile(taken[200:], p)) for p in (50, 99)}

    return read


@case("online floor")
def online_floor(folder: Path, rows: int) -> Callable[[], Any]:
    """Read the same rows by the same keys from SQLite, into a frame with the same symbols."""
    import pandas as pd

    keys, width = symbols(rows), len(FEATURES) + 1

    def read() -> Any:
        with contextlib.closing(sqlite3.connect(folder / "ours" / "online.db")) as connection:
            wanted = list(map(_entity_key, keys))
            found = []
            for start in range(0, rows, 10_000):
                some = wanted[start : start + 10_000]
                marks = ",".join("?" * len(some))
                query = (
                    f"SELECT entity_key, words FROM wide_bench_panel WHERE entity_key IN ({marks})"
                )
                found += connection.execute(query, some).fetchall()
        place = {key: number for number, (key, _) in enumerate(found)}
        order = np.fromiter(map(place.__getitem__, wanted), np.int64, rows)
        words = np.frombuffer(b"".join(words for _, words in found), "<i8").reshape(rows, width)
        valid = (words[:, -1:] >> np.arange(width - 1)) & 1
        values = np.where(valid, words[:, :-1].view("<f8"), np.nan)
        frame = pd.DataFrame(values[order], columns=list(FEATURES))
        frame.insert(0, "symbol", keys)
        return frame

    read()
    return read


@case("materialize floor")
def materialize_floor(folder: Path, rows: int) -> Callable[[], Any]:
    """Read a day's columns, and write the same rows by one ``executemany``."""
    path = folder / "panel" / f"date={event(0):%Y-%m-%d}" / "part-0.parquet"
    _read(path)

    def load(file: str) -> None:
        with contextlib.closing(sqlite3.connect(folder / file)) as connection:
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute(
                "CREATE TABLE floor (entity_key BLOB PRIMARY KEY, event_us INTEGER NOT NULL, "
                "created_us INTEGER NOT NULL, words BLOB NOT NULL) WITHOUT ROWID"
            )
            table = _read(path)
            words = np.empty((rows, len(FEATURES) + 1), "<i8")
            for number, name in enumerate(FEATURES):
                words[:, number] = pc.fill_null(table[name], 0).to_numpy().view("<i8")
            words[:, -1] = (1 << len(FEATURES)) - 1
            packed, width = words.tobytes(), 8 * words.shape[1]
            times = (
                table[name].cast(pa.int64()).to_pylist()
                for name in ("event_timestamp", "created_timestamp")
            )
            keys = map(_entity_key, table["symbol"].to_pylist())
            blobs = (packed[at : at + width] for at in range(0, len(packed), width))
            with connection:
                connection.executemany(
                    "INSERT INTO floor VALUES (?, ?, ?, ?)", zip(keys, *times, blobs, strict=True)
                )

    load("warm.db")  # what Arrow imports at its first array is nobody's work
    return lambda: load("floor.db")


@case("materialize ours")
def materialize_ours(folder: Path, rows: int) -> Callable[[], Any]:
    """Load a day through Feast's public interface, on our stores and engine."""
    return _materialize(folder / "ours")


@case("materialize stock")
def materialize_stock(folder: Path, rows: int) -> Callable[[], Any]:
    """Load a day through Feast's public interface, on its stores and engine."""
    return _materialize(folder / "stock")


def _materialize(repository: Path) -> Callable[[], Any]:
    store = open_store(repository)
    store.list_feature_views()
    # Stores and engine are modules that Feast imports when it first needs them.
    engine = store._get_provider().batch_engine
    if engine is None:
        raise SystemExit("the repository has no engine")
    return lambda: store.materialize(event(0) - timedelta(days=1), event(0) + timedelta(hours=1))


def main() -> None:
    """Run one case."""
    name, folder, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["TVFEAST_NOW"] = (event(0) + timedelta(hours=1)).isoformat()  # nothing has expired
    warnings.simplefilter("ignore")
    work = CASES[name](folder, rows)
    again = name.startswith(("online", "one"))  # their first reads bring the memory
    gc.collect()  # what imports left behind is nobody's work
    if not again:
        _warm_memory()
    stdout, sys.stdout = sys.stdout, sys.stderr  # Feast prints
    before, taken = _forget_peak(), []
    for _ in range(_AGAIN if name.startswith("online") else 1):
        began, began_cpu = time.perf_counter(), time.process_time()
        answer = work()
        taken.append((time.perf_counter() - began, time.process_time() - began_cpu))
    seconds, cpu = map(statistics.median, zip(*taken, strict=True))
    told: dict[str, Any] = {"seconds": seconds, "cpu": cpu, "peak_mb": (_peak() - before) / 2**10}
    if name in ("pit ours", "pit arrow", "pit frame"):
        told["answer_mb"] = _own_bytes(answer, shares_rows=name == "pit arrow") / 2**20
    told |= answer if isinstance(answer, dict) else {"answer": _gist(answer)}
    json.dump(told, stdout)


def _own_bytes(answer: Any, *, shares_rows: bool) -> int:
    """Return how large an answer is; an Arrow table's entity rows are in it without a copy."""
    if shares_rows:
        answer = answer.select(list(FEATURES))
    return int(answer.nbytes if isinstance(answer, pa.Table) else answer.memory_usage().sum())


def _gist(answer: Any) -> dict[str, list[float]]:
    """Return of each feature how many values are there, and their sum, in whatever order."""
    if answer is None:
        return {}
    columns = {name: np.asarray(answer[name], np.float64) for name in FEATURES}
    return {
        name: [int(np.isfinite(values).sum()), round(float(np.nansum(values)), 3)]
        for name, values in columns.items()
    }


def _warm_memory() -> None:
    """Hold more memory than a case needs for a moment.

    A virtual machine gives what is free back to its host, and to get that again takes many times
    what memory at hand does: who runs after somebody frugal would pay for it.
    """
    with mmap.mmap(-1, _WARM, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.madvise(mmap.MADV_HUGEPAGE)
        for page in range(0, _WARM, mmap.PAGESIZE):
            held[page] = 1


def _forget_peak() -> int:
    """Let the kernel note the most memory from now on; return what is held now, KiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """Return the most memory that was held since, KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def _entity_key(symbol: str) -> bytes:
    """Return Feast's key of one string, version 3."""
    text = symbol.encode()
    return _KEY + struct.pack("<I", len(text)) + text


def _read(path: Path) -> pa.Table:
    with path.open("rb") as file:
        return pq.ParquetFile(file).read(_COLUMNS)


if __name__ == "__main__":
    main()
