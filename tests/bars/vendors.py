"""Bars of vendors that are spoken on loopback: what they are, fetched and stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
from click.testing import CliRunner, Result

from ingestion.base.errors import TvfeastError
from ingestion.catalog import OHLCV_1D
from ingestion.cli.commands import cli
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project
from ingestion.replay.yahoo import NEW_YORK, Series

SYMBOLS = ["NASDAQ:AAPL", "NASDAQ:ODFL", "NYSE:SHW", "NYSE:BRK.B", "NASDAQ:KHC"]
AAPL = SYMBOLS[0]
EVENING = datetime(2021, 4, 12, 22, tzinfo=UTC)
PRICES = ("open", "high", "low", "close")
PAID = {  # as Alpha Vantage has them, per share of that day
    "NASDAQ:AAPL": [("2020-02-07", 0.77), ("2020-05-08", 0.82), ("2020-11-06", 0.205)],
    "NASDAQ:ODFL": [("2019-12-03", 0.17), ("2020-03-03", 0.23), ("2020-06-02", 0.15)],
    "NYSE:SHW": [("2019-11-14", 1.13), ("2020-02-28", 1.34), ("2021-02-26", 1.65)],
}
Fetch = Callable[..., tuple[int, dict[str, Any]]]


def series_of(bars: pa.Table, symbol: str) -> Series:
    rows = bars.filter(pc.equal(bars["symbol"], symbol)).to_pylist()
    days = [datetime.fromtimestamp(row["timestamp"], ZoneInfo(NEW_YORK)).date() for row in rows]
    listed = [
        (day, *(row[name] for name in (*PRICES, "volume")))
        for day, row in zip(days, rows, strict=True)
    ]
    splits = [
        (day, row["split_ratio"] * 2, 2.0)  # 3 for 2 is 3:2
        for day, row in zip(days, rows, strict=True)
        if row["split_ratio"] != 1
    ]
    paid = [(date.fromisoformat(day), amount) for day, amount in PAID.get(symbol, [])]
    return Series(listed, splits, paid)


def fetch_from(
    folder: Path,
    source: str,
    *symbols: str,
    since: str | None = "2021-02-01",
    printed: list[str] | None = None,
) -> tuple[int, dict[str, Any]]:
    """Run the command; its exit code, and its JSON or the error; ``printed`` gets all it says."""
    (folder / "c.json").write_text(json.dumps(symbols))
    words = ["fetch-bars", "--source", source, "--candidates", str(folder / "c.json")]
    words += ["--from", since] if since else []
    result: Result = CliRunner().invoke(cli, [*words, "--json"])
    if printed is not None:
        printed.extend([result.output, result.stderr, repr(result.exception)])
    assert isinstance(result.exception, TvfeastError | SystemExit | None), result.exc_info
    told = json.loads(result.stdout) if result.stdout else {}
    if isinstance(result.exception, TvfeastError):
        return result.exception.exit_code, {**told, "error": str(result.exception)}
    return result.exit_code, told


def stored() -> pa.Table:
    lakehouse = Project.from_environment().lakehouse
    rows = read_current(list_parts(lakehouse, OHLCV_1D), OHLCV_1D)
    return rows.sort_by([("symbol", "ascending"), ("timestamp", "ascending")])
