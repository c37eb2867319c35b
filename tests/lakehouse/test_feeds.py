"""How long after a close a snapshot was final, by the feed that it came from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingestion.catalog import FEEDS
from ingestion.lakehouse import LocalDisk, append_part
from ingestion.markets.feeds import Feeds

MONDAY, TUESDAY = (datetime(2021, 3, day, 21, 30, tzinfo=UTC) for day in (1, 2))


def seconds(instant: datetime) -> int:
    return int(instant.timestamp())


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


def observe(root: Path, modes: dict[str, str | None], known_at: datetime) -> int:
    """Append what is new; return how many rows that are."""
    rows = Feeds(LocalDisk(root)).news(modes, known_at)
    if rows.num_rows:
        append_part(LocalDisk(root), FEEDS, rows, f"{known_at:%Y%m%dT%H%M%S}Z-0000000000")
    return int(rows.num_rows)


def test_a_feed_as_usual_for_its_exchange_has_no_row(tmp_path: Path) -> None:
    usual = {
        "NYSE:IBM": "delayed_streaming_900",
        "BINANCE:BTCUSDT": "streaming",
        "OANDA:EURUSD": "streaming",
        "NOWHERE:A": None,
    }
    assert observe(tmp_path, usual, MONDAY) == 0
    feeds = Feeds(LocalDisk(tmp_path))
    assert [feeds.delay(symbol, seconds(MONDAY)) for symbol in usual] == [1200, 300, 300, 1200]


def test_a_feed_counts_from_when_it_was_observed_until_it_changes(tmp_path: Path) -> None:
    assert (
        observe(tmp_path, {"NYSE:IBM": "streaming", "TSE:7203": "delayed_streaming_1200"}, MONDAY)
        == 2
    )
    assert observe(tmp_path, {"NYSE:IBM": "streaming"}, TUESDAY) == 0
    assert observe(tmp_path, {"NYSE:IBM": "delayed_streaming_900"}, TUESDAY) == 1
    feeds = Feeds(LocalDisk(tmp_path))
    assert feeds.delay("NYSE:IBM", seconds(MONDAY) - 1) == 1200
    assert feeds.delay("NYSE:IBM", seconds(MONDAY)) == 300
    assert feeds.delay("NYSE:IBM", seconds(TUESDAY) - 1) == 300
    assert feeds.delay("NYSE:IBM", seconds(TUESDAY)) == 1200
    assert feeds.delay("TSE:7203", seconds(TUESDAY)) == 1500
