"""Windows over a missing session have no label; all other labels are as they were."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from target_bars import daily, sample_bars
from test_targets_lakehouse import settings_in, write

from ingestion.bars.holes import record_accepted
from ingestion.datasets import DropReason, forward_returns
from ingestion.jobs.serve.targets import training_labels
from ingestion.markets.sessions import session_bounds
from ingestion.project import Project

WHOLE = {"first": date(2026, 1, 1), "last": date(2026, 12, 31)}
LOST = date(2020, 9, 2)
STOCKS = ("NASDAQ:AAPL", "NASDAQ:TSLA", "NYSE:NEE", "NYSE:JPM")
DECISIONS = (date(2020, 8, 20), date(2020, 9, 16))


@pytest.mark.parametrize("entry", ["open", "close"])
@pytest.mark.parametrize("sessions", [1, 2, 5])
@pytest.mark.parametrize("lost", [(20,), (20, 21), (20, 23)])
def test_a_label_is_that_of_all_bars_or_dropped(entry, sessions: int, lost: tuple[int, ...]):
    rng = np.random.default_rng(5)
    closes = list(100 * np.exp(np.cumsum(rng.normal(0, 0.02, 40))))
    bars = daily(closes, missing=lost)
    days = [day for day in range(40) if day not in lost]
    gap = [int(day - 1 in lost) for day in days]
    marked = bars.append_column("missing_from", pa.array(gap, pa.int64()))
    whole = forward_returns(daily(closes), sessions, entry=entry, **WHOLE)
    labels = forward_returns(marked, sessions, entry=entry, **WHOLE)
    told = {row["event_timestamp"]: row for row in whole.table.to_pylist()}
    kept = labels.table.to_pylist()
    assert all(row == told[row["event_timestamp"]] for row in kept)
    spoiled = [
        day for day in days if any(day < each <= day + sessions for each in lost)
        or any(_spans(days, day, sessions, each) for each in lost)
    ]  # fmt: skip
    assert labels.dropped[DropReason.SESSION_MISSING] == len(spoiled)
    assert len(kept) == len(days) - len(spoiled) - labels.dropped[DropReason.NO_FULL_WINDOW]


def _spans(days: list[int], day: int, sessions: int, lost: int) -> bool:
    """Whether the next n bars that are there reach over a day that is not."""
    following = [each for each in days if each > day][:sessions]
    return len(following) == sessions and day < lost < following[-1]


@pytest.fixture
def holed(tmp_path: Path) -> Project:
    """Four stocks over three months of 2020, without one session."""
    settings = settings_in(tmp_path)
    bars = sample_bars(*STOCKS)
    closed = np.array([each.date() for each in bars["event_timestamp"].to_pylist()])
    kept = (closed >= date(2020, 8, 3)) & (closed <= date(2020, 10, 30)) & (closed != LOST)
    write(settings, bars.filter(pa.array(kept)))
    return settings


def test_a_hole_of_the_lakehouse_drops_labels_and_says_so(holed: Project):
    made = training_labels(holed, "fwd_return_5d", *DECISIONS)
    # The five sessions before the lost one look over it.
    assert made.labels.dropped[DropReason.SESSION_MISSING] == 5 * len(STOCKS)
    assert any("20 rows were dropped because a session of their market" in each
               for each in made.warnings)  # fmt: skip
    days = {row["event_timestamp"].date() for row in made.labels.table.to_pylist()}
    assert not days & {date(2020, 8, day) for day in range(26, 32)} - {date(2020, 8, 25)}
    alone = training_labels(holed, "fwd_return_5d", *DECISIONS, symbols=["NYSE:NEE"])
    assert alone.labels.dropped[DropReason.SESSION_MISSING] == 5


def test_an_accepted_hole_drops_none(holed: Project):
    closes = session_bounds("NYSE", LOST)[1]
    now = datetime(2026, 11, 2, tzinfo=UTC)
    sessions = [(market, LOST, closes) for market in ("NYSE", "NASDAQ")]
    record_accepted(holed.lakehouse, sessions, "it was so", now, "20261102T000000Z-x")
    made = training_labels(holed, "fwd_return_5d", *DECISIONS)
    assert made.labels.dropped[DropReason.SESSION_MISSING] == 0
