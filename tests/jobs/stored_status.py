"""A lakehouse of which ``status`` has nothing to complain, and what is written to it by hand."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from ingestion.catalog import OHLCV_1D
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import append_part, arrow_schema, write_run_file
from ingestion.plugins.online.layout import Layout, Values
from ingestion.plugins.online.rows import Rows
from ingestion.plugins.online.sqlite_tables import make_table, upsert
from ingestion.project import Project
from tests.declared import LOCAL_1D
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.technicals import EVENING, technicals

DAY = timedelta(days=1)
NAMES = [f"NASDAQ:S{number:02}" for number in range(19)] + ["BINANCE:BTCUSDT"]

SNAPSHOT = "feature_ingest.tv_technicals_1d.json"


def complete(tmp_path: Path) -> Project:
    """A complete snapshot of twenty symbols, loaded, all but one with bars and features."""
    settings = Project(
        make_workspace(tmp_path / "project"), tmp_path / "lakehouse", "https://scanner.invalid"
    )
    (settings.folder / "data" / "registry.db").write_bytes(b"views and services")
    served(settings)
    append_part(settings.lakehouse, GROUP, technicals(NAMES), "run-1")
    for dataset in (OHLCV_1D, LOCAL_1D):
        append_part(settings.lakehouse, dataset, daily(dataset, NAMES[:-1]), "run-1")
    snapshot_receipt(settings, "run-1")
    loaded(settings, "run-1")
    return settings


def served(settings: Project, rows: int = 20, event: datetime = EVENING) -> Path:
    """An online store of that many rows in each view."""
    path = settings.folder / "data" / "online.db"
    layout = Layout.of([("RSI", "DOUBLE")])
    keys = [f"key {number}".encode() for number in range(rows)]
    instants = np.full(rows, int(event.timestamp()) * 1_000_000)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for view in (GROUP, LOCAL_1D):
            table = f"wide_tvfeast_{view.name}"
            make_table(connection, table, layout)
            values = {"RSI": Values.nulls("DOUBLE", rows)}
            upsert(connection, table, layout, Rows(keys, instants, instants, values))
        connection.commit()
    return path


def daily(dataset, symbols: list[str], event: datetime = EVENING) -> pa.Table:
    """Return one row per symbol; all numbers are 1."""
    row = dict.fromkeys(arrow_schema(dataset).names, 1.0) | {
        **{"timestamp": int(event.timestamp()), "event_timestamp": event, "source": "hand"},
        **{"created_timestamp": event, "bar_timestamp": event - DAY},
    }
    rows = [row | {"symbol": symbol} for symbol in symbols]
    return pa.Table.from_pylist(rows, arrow_schema(dataset))


def write(settings: Project, run_id: str, name: str, **document: object) -> None:
    document = {"run_id": run_id, "settings": {"project": str(settings.folder)}, **document}
    write_run_file(settings.lakehouse, run_id, name, json.dumps(document).encode())


def snapshot_receipt(settings: Project, run_id: str, coverage: float = 1.0, **more) -> None:
    source = {"profile": "mine.json", "symbols": more.pop("symbols", NAMES)}
    write(
        *(settings, run_id, SNAPSHOT),
        **{"coverage": coverage, "request": {"source": source}, "failed_symbols": {}, **more},
    )


def loaded(settings: Project, run_id: str, until: datetime = EVENING) -> None:
    views = [{"view": group.name, "rows": 20, "parts": []} for group in (GROUP, LOCAL_1D)]
    write(settings, run_id, "materialize.json", until=until.isoformat(), views=views)
