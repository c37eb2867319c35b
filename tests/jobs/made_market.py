"""A market of made prices: its bars, and evenings on which a replay serves it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.formulas import Bars
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.markets.calendars import calendar_of
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner

LAST = datetime(2021, 5, 1, tzinfo=UTC)
WRITTEN = datetime(2021, 5, 1, 12, tzinfo=UTC)
SESSION = 6 * 3_600 + 1_800
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class MadeMarket:
    """Random walks of shares of American exchanges."""

    symbols: tuple[str, ...]
    sessions: int
    evenings: int
    """The last of the sessions, on whose evenings there is a snapshot."""

    @classmethod
    def of(cls, counts: dict[str, int], sessions: int, evenings: int) -> MadeMarket:
        """Make a market of so many symbols per exchange."""
        names = (f"{exchange}:S{n:03}" for exchange, count in counts.items() for n in range(count))
        return cls(tuple(names), sessions, evenings)

    @cached_property
    def closes(self) -> np.ndarray:
        """When the sessions close, Unix s."""
        closes = calendar_of("NASDAQ").closes
        return closes[closes < LAST.timestamp()][-self.sessions :]

    @cached_property
    def matrices(self) -> dict[str, np.ndarray]:
        """Prices and volume, shape (sessions, symbols)."""
        chance, shape = np.random.default_rng(7), (self.sessions, len(self.symbols))
        moves = chance.normal(0, 0.02, shape) + chance.normal(0, 0.008, (self.sessions, 1))
        close = 100 * np.exp(np.cumsum(moves, axis=0))
        open_ = np.vstack([close[:1], close[:-1]])
        above, below = (np.exp(np.abs(chance.normal(0, 0.01, shape))) for _ in range(2))
        return {
            "open": open_,
            "high": np.maximum(open_, close) * above,
            "low": np.minimum(open_, close) / below,
            "close": close,
            "volume": chance.integers(100, 1_000, shape).astype(float),
        }

    @property
    def bars(self) -> Bars:
        """The same, as formulas take them."""
        return Bars(**self.matrices)

    @property
    def table(self) -> pa.Table:
        """The same, as rows in the form of ``ohlcv_1d``."""
        return self.table_of(self.matrices)

    def table_of(self, matrices: dict[str, np.ndarray]) -> pa.Table:
        """Return matrices that begin with the first session as rows."""
        count = len(matrices["close"])
        return pa.table(
            {
                "timestamp": np.tile(self.closes[:count] - SESSION, len(self.symbols)),
                "symbol": np.repeat(self.symbols, count),
                **{name: matrix.T.reshape(-1) for name, matrix in matrices.items()},
            }
        )

    def evening(self, number: int) -> datetime:
        """Return the instant of a snapshot; what is delayed is final by then."""
        close = int(self.closes[number - self.evenings])
        return datetime.fromtimestamp(close, UTC) + timedelta(minutes=90)

    def day(self, number: int) -> date:
        """Return the date of a snapshot."""
        return self.evening(number).date()

    def panel(self, table: pa.Table, *changes) -> Panel:
        """Return what a replay serves."""
        about = {"market": "america", "type": "stock", "currency": "USD", "description": ""}
        return Panel.from_bars(table, dict.fromkeys(self.symbols, about), changes)


def build(root: Path, market: MadeMarket, bars: pa.Table, evenings: Iterable[int]) -> Project:
    """Make a lakehouse: the bars, their features, and snapshots of the market as it is."""
    pq.write_table(bars, root / "bars.parquet")
    project = replace(Project.from_environment(), lakehouse_at=root / "lakehouse")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        snapshots(project, market, market.panel(market.table), evenings)
        patch.setenv("TVFEAST_NOW", WRITTEN.isoformat())
        import_bars(project, ImportRequest((root / "bars.parquet",)))
        local_features(project)
    return project


def snapshots(
    project: Project,
    market: MadeMarket,
    panels: Panel | Sequence[Panel],
    evenings: Iterable[int],
    also: Iterable[datetime] = (),
) -> None:
    """Store the snapshots of some evenings, over HTTP; of one panel, or of one per evening.

    Parameters
    ----------
    also
        Further instants.
    """
    instants = [*map(market.evening, evenings), *also]
    request = FeatureIngestRequest(Candidates("test", market.symbols, (), 0))
    first = panels if isinstance(panels, Panel) else panels[0]
    with (
        pytest.MonkeyPatch.context() as patch,
        ReplayScanner(first, record=False) as replay,
    ):
        patch.setattr("os.fsync", lambda _: None)
        for place, instant in enumerate(instants):
            if not isinstance(panels, Panel):
                replay.panel = panels[place]
            patch.setenv("TVFEAST_NOW", instant.isoformat())
            feature_ingest(replace(project, scanner_url=replay.url), request)


def without(table: pa.Table, symbols: Iterable[str], session: int) -> pa.Table:
    """Return bars without those of some symbols that open at an instant, Unix s."""
    of_symbols = pc.is_in(table["symbol"], pa.array(symbols))
    return table.filter(pc.invert(pc.and_(of_symbols, pc.equal(table["timestamp"], session))))


def is_long() -> bool:
    """Return whether the long form runs: ``make test-votes``."""
    return "TVFEAST_LONG_VOTES" in os.environ
