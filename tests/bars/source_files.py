"""A project whose bars come from a source of its own: one file."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from ingestion.base.errors import TvfeastError
from ingestion.catalog import OHLCV_1D
from ingestion.cli.commands import cli
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project

NOW = datetime(2021, 6, 2, 10, tzinfo=UTC)
SHIPPED = sorted(
    path.stem for path in (Path(__file__).parents[2] / "feature_repo" / "sources").glob("*.py")
)
A, B, COIN, OTHER = "NASDAQ:AAPL", "NYSE:IBM", "BINANCE:BTCUSDT", "BINANCE:ETHUSDT"
HEAD = """
from datetime import date, datetime, timedelta, timezone
from ingestion.catalog import BarRequest, BarSource, BarTable, SourceBusy, SplitTable

UTC = timezone.utc


def bars(want, price=10.0, symbol=None, **more):
    last = min(want.last, date(2021, 6, 2))
    first = max(want.first, date(2021, 5, 24))
    days = [first + timedelta(n) for n in range((last - first).days + 1)]
    columns = {"time": [datetime(d.year, d.month, d.day, tzinfo=UTC) for d in days]}
    size = len(days)
    columns |= {"open": [price] * size, "high": [price + 1] * size, "low": [price - 1] * size}
    columns |= {"close": [price] * size, "volume": [5.0] * size}
    columns |= {name: make(days) for name, make in more.items()}
    return BarTable(columns, symbol=symbol)


"""
TAIL = "\nSOURCE = BarSource('mine', 'bars of mine', tables{})\n"

Fetch = Callable[..., Result]
GOOD = """
    def tables(want):
        yield bars(want)
"""


class World:
    """A project with one source, and the commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = folder / "feature_repo" / "sources"
        self.sources.mkdir(parents=True)

    def write(self, body: str, options: str = "", name: str = "mine.py") -> Path:
        path = self.sources / name
        path.write_text(HEAD + textwrap.dedent(body) + TAIL.format(options))
        return path

    def fetch(self, *symbols: str, source: str = "mine", words: tuple[str, ...] = ()) -> Result:
        candidates = self.folder / "candidates.json"
        candidates.write_text(json.dumps({"symbols": symbols}))
        return self.run(
            "fetch-bars", "--source", source, "--candidates", str(candidates), "--json", *words
        )

    def run(self, *words: str) -> Result:
        result = CliRunner().invoke(cli, words)
        assert isinstance(result.exception, SystemExit | TvfeastError | None), result.exc_info
        if isinstance(result.exception, TvfeastError):
            result.exit_code = result.exception.exit_code
        return result

    def rows(self) -> list[dict[str, Any]]:
        lakehouse = Project.from_environment().lakehouse
        return read_current(list_parts(lakehouse, OHLCV_1D), OHLCV_1D).to_pylist()  # type: ignore[no-any-return]

    def days(self, symbol: str) -> list[str]:
        """Dates of opens."""
        opens = [row["timestamp"] for row in self.rows() if row["symbol"] == symbol]
        return [f"{datetime.fromtimestamp(each, UTC):%m-%d}" for each in sorted(opens)]
