"""How ``lakehouse_0_1.tar.xz`` and ``recorded.json`` were made, with version 0.1.0; see README.md.

    python make_former.py PROJECT

Every step is a command of that version, most of them over its replay scanner. It does not run with
a later version, and does not need to: a later one reads what it made.
"""
# ruff: noqa: I001 - not all of what is imported exists any more

from __future__ import annotations

import csv
import itertools
import json
import os
import sqlite3
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from digests import current_rows, dataset_folders, described

import ingestion.jobs.run
from ingestion.cli import main as command_line
from ingestion.replay import Panel, ReplayScanner
from ingestion.workspace import make_workspace

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parent.parent / "data" / "sample"
STOCKS = (
    *("NASDAQ:AAPL", "NASDAQ:MSFT", "NASDAQ:TSLA"),
    *("NYSE:IBM", "NYSE:JPM", "NYSE:KO", "NYSE:NEE", "NYSE:XOM"),
)
SYMBOLS = ("BINANCE:BTCUSDT", *STOCKS)
TTL = {"local_1d": timedelta(days=12), "tv_technicals_1d": timedelta(days=4)}

FIRST = datetime.fromisoformat("2020-06-08T00:00Z")
MONDAY = datetime.fromisoformat("2020-09-07T21:30Z")  # Labor Day
TUESDAY, WEDNESDAY, THURSDAY = (MONDAY + timedelta(days=day) for day in (1, 2, 3))
LAST = THURSDAY + timedelta(hours=1)
_count = itertools.count()


def main(project: Path) -> None:
    """Make the project, record what it says, and pack it."""
    os.environ["TVFEAST_PROJECT"] = str(make_workspace(project))
    # Run ids go by the wall clock. Here they go by the replayed one: older than those of any test.
    ingestion.jobs.run.time = SimpleNamespace(  # type: ignore[attr-defined]
        time_ns=replayed_ns, strftime=time.strftime, gmtime=time.gmtime
    )
    files = project / "data"
    write_vendors_files(files)
    flow = ("flow-data", "--candidates", files / "candidates.json", "--every", "1d")

    now(MONDAY)
    tvfeast("import-bars", files / "bars.parquet")  # with a column of splits: AAPL has one
    tvfeast("import-bars", files / "NASDAQ_TSLA.csv", ends=3)  # without: the leap is held back
    tvfeast("import-bars", "--splits", files / "splits.csv")  # releases it; NEE's is in October
    tvfeast("local-features")  # nulls over a session that the NYSE lacks
    tvfeast("accept-hole", "NYSE", "2020-07-10", "--reason", "left out, to be accepted")
    tvfeast("local-features")
    tvfeast("withdraw-bars", "NASDAQ:MSFT", "2020-07-22", "--reason", "good, to be withdrawn")
    tvfeast("local-features")
    now(TUESDAY)
    with scanner(panel(SYMBOLS)):
        tvfeast(*flow)
    now(WEDNESDAY)
    with scanner(panel(tuple(each for each in SYMBOLS if each != "NYSE:XOM"))):
        tvfeast(*flow, "--min-coverage", 0.8, ends=3)  # XOM is absent
    now(THURSDAY)
    with scanner(panel(SYMBOLS, slow="NYSE:KO")):
        tvfeast(*flow, ends=3)  # by its previous close, XOM lacks a bar
    tvfeast("import-bars", files / "NYSE_XOM.csv")
    tvfeast("local-features")
    tvfeast("compact", "--before", "2020-09-08")
    now(LAST)
    with scanner(panel(SYMBOLS, slow="NYSE:KO")):
        tvfeast(*flow, "--refresh")

    recorded = json.dumps(record(project / "data" / "lakehouse"), indent=1)
    (HERE / "recorded.json").write_text(recorded + "\n")
    with closing(sqlite3.connect(project / "data" / "online.db")) as online:
        online.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # as at the end of a command's process
    with tarfile.open(HERE / "lakehouse_0_1.tar.xz", "w:xz", preset=9) as archive:
        for name in ("lakehouse", "registry.db", "online.db"):
            archive.add(project / "data" / name, f"data/{name}", filter=nobodys)
        archive.add(project / "feature_repo" / "feature_store.yaml", "feature_store.yaml")


def now(instant: datetime) -> None:
    """Set what now is."""
    os.environ["TVFEAST_NOW"] = instant.isoformat()


def unix(instant: datetime) -> int:
    """Return Unix seconds."""
    return int(instant.timestamp())


def replayed_ns() -> int:
    """Return the replayed clock's nanoseconds, a second later at each call."""
    start = datetime.fromisoformat(os.environ["TVFEAST_NOW"])
    return (unix(start) + next(_count)) * 1_000_000_000


def tvfeast(*words: object, ends: int = 0) -> None:
    """Run a command, which must end with this code."""
    sys.argv = ["tvfeast", *map(str, words)]
    print(os.environ["TVFEAST_NOW"], *sys.argv, flush=True)
    code: object = None
    try:
        command_line()
    except SystemExit as ended:
        code = ended.code
    assert code == ends, code


@contextmanager
def scanner(shown: Panel) -> Iterator[None]:
    """Let the replay scanner show a panel."""
    with ReplayScanner(shown) as replay:
        os.environ["TVFEAST_SCANNER_URL"] = replay.url
        yield


def bars() -> pa.Table:
    """Return the sample's bars of the symbols."""
    rows = pq.read_table(SAMPLE / "bars.parquet")
    return rows.filter(pc.field("symbol").isin(SYMBOLS))


def panel(symbols: tuple[str, ...], slow: str | None = None) -> Panel:
    """Return what the scanner knows; one feed may be slower than is usual for its exchange."""
    with (SAMPLE / "symbols.csv").open(newline="", encoding="utf-8") as file:
        about = {row["symbol"]: row for row in csv.DictReader(file)}
    shown = Panel.from_bars(bars().filter(pc.field("symbol").isin(symbols)), about)
    if slow:
        instrument = shown._instruments[slow]
        slower = {**instrument.about, "update_mode": "delayed_streaming_1200"}
        shown._instruments[slow] = replace(instrument, about=slower)
    return shown


def write_vendors_files(folder: Path) -> None:
    """Write what the commands are given, from the sample's bars."""
    opened, symbol = pc.field("timestamp"), pc.field("symbol")
    history = bars().filter((opened >= unix(FIRST)) & (opened < unix(MONDAY) - 86_400))
    hole = unix(datetime.fromisoformat("2020-07-10T13:30Z"))
    of_nyse = pc.starts_with(symbol, "NYSE:")
    kept = history.filter((symbol != "NASDAQ:TSLA") & ~(of_nyse & (opened == hole)))
    pq.write_table(kept, folder / "bars.parquet")
    wednesday = (opened > unix(WEDNESDAY) - 86_400) & (opened < unix(WEDNESDAY))
    for name, rows in (
        ("NASDAQ_TSLA.csv", history.filter(symbol == "NASDAQ:TSLA")),
        ("NYSE_XOM.csv", bars().filter((symbol == "NYSE:XOM") & wednesday)),
    ):
        pyarrow.csv.write_csv(rows.drop_columns(["symbol", "split_ratio"]), folder / name)
    (folder / "splits.csv").write_text(
        "symbol,date,ratio\nNASDAQ:TSLA,2020-08-31,5\nNYSE:NEE,2020-10-27,4\n"
    )
    (folder / "candidates.json").write_text(json.dumps(SYMBOLS))


def record(lakehouse: Path) -> dict[str, Any]:
    """Return what the lakehouse says: every column's digest, and what joins and reads give."""
    tables = {folder: current_rows(lakehouse, folder) for folder in dataset_folders(lakehouse)}
    groups = {
        folder.removeprefix("features/"): rows.to_pylist()
        for folder, rows in tables.items()
        if folder.startswith("features/")
    }
    instants = [f"2020-08-{day}T20:00:00+00:00" for day in (28, 31)]
    instants += ["2020-09-09T22:00:00+00:00", LAST.isoformat()]
    return {
        "datasets": {folder: described(rows) for folder, rows in tables.items()},
        "valid": [
            {"symbol": symbol, "at": at, "group": group, "row": newest(group, rows, symbol, at)}
            for at in instants
            for symbol in ("BINANCE:BTCUSDT", "NASDAQ:AAPL", "NASDAQ:TSLA", "NYSE:XOM")
            for group, rows in groups.items()
        ],
    }


def newest(group: str, rows: list[dict[str, Any]], symbol: str, at: str) -> dict[str, Any] | None:
    """Return the features that a join must give: of the newest event within the time to live."""
    instant = datetime.fromisoformat(at)
    valid = [
        row
        for row in rows
        if row["symbol"] == symbol
        and row["event_timestamp"] <= instant <= row["event_timestamp"] + TTL[group]
    ]
    if not valid:
        return None
    row = max(valid, key=lambda row: row["event_timestamp"])
    return {
        name: value
        for name, value in row.items()
        if name not in ("symbol", "timestamp") and not name.endswith("_timestamp")
    }


def nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out the lock and scratch, and whose files they were."""
    if member.name.rpartition("/")[2] in ("_lock", "_tmp"):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main(Path(sys.argv[1]))
