"""Which of the scanner's bars are closed, by their session and their feed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from ingested import files, stored
from scanned_rows import bar, instant, unix

from ingestion.cli.ingest import bars_text

pytestmark = pytest.mark.usefixtures("no_power_cuts")

IBM = "NYSE:IBM"
WEDNESDAY = "2021-03-03T14:30"
"""An ordinary session of New York: closes at 21:00 UTC, final at 21:20 on a delayed feed."""


class TestClosedBars:
    def test_a_closed_bar_is_written_as_shown(self, ingest, settings):
        result = ingest(
            "2021-03-03T21:30",
            bar(IBM, WEDNESDAY, 12.5, open=12, high=13, low=11, volume=5_000_000),
        )
        (row,) = stored(settings)
        assert row == {
            "timestamp": unix(WEDNESDAY),
            "symbol": IBM,
            "open": 12.0,
            "high": 13.0,
            "low": 11.0,
            "close": 12.5,
            "volume": 5e6,
            "split_ratio": 1.0,
            "event_timestamp": instant("2021-03-03T21:00"),
            "created_timestamp": instant("2021-03-03T21:30"),
            "source": "scanner",
        }
        assert [part.path.parent.name for part in result.parts] == ["date=2021-03-03"]

    @pytest.mark.parametrize(
        ("symbol", "opened", "mode", "final"),
        [
            (IBM, WEDNESDAY, "delayed_streaming_900", "2021-03-03T21:20:00"),
            (IBM, WEDNESDAY, "streaming", "2021-03-03T21:05:00"),
            (IBM, WEDNESDAY, None, "2021-03-03T21:20:00"),
            (IBM, WEDNESDAY, "delayed_streaming_1200", "2021-03-03T21:25:00"),
            (IBM, WEDNESDAY, "endofday", "2021-03-03T21:20:00"),
            # A half day, and the first session of New York's daylight saving.
            ("NASDAQ:AAPL", "2020-11-27T14:30", "streaming", "2020-11-27T18:05:00"),
            (IBM, "2021-03-15T13:30", "delayed_streaming_900", "2021-03-15T20:20:00"),
            # Monday's currency bar opens on Sunday, and closes at 17:00 New York, in winter time
            # and on the day on which it ends.
            ("OANDA:EURUSD", "2021-03-07T22:00", "streaming", "2021-03-08T22:05:00"),
            ("OANDA:EURUSD", "2021-03-14T21:00", "streaming", "2021-03-15T21:05:00"),
            ("BINANCE:BTCUSDT", "2021-03-03T00:00", "streaming", "2021-03-04T00:05:00"),
            # Hours unknown: 24 hours after the open.
            ("KRAKENX:ABC", "2021-03-03T09:00", "streaming", "2021-03-04T09:05:00"),
        ],
    )
    def test_to_the_second(self, ingest, settings, symbol, opened, mode, final):
        row = bar(symbol, opened, update_mode=mode)
        before = (instant(final) - timedelta(seconds=1)).isoformat()
        assert ingest(before, row).bars.written == 0
        assert not stored(settings)
        assert ingest(final, row).bars.written == 1
        assert stored(settings)[0]["timestamp"] == unix(opened)

    def test_what_counts_is_the_instant_before_the_first_question(
        self, ingest, settings, scanner, monkeypatch
    ):
        """A bar that becomes final while the answers come may have been shown unfinished."""
        early, late = instant("2021-03-03T21:19:59.9"), instant("2021-03-03T21:21")
        monkeypatch.setattr(
            "ingestion.jobs.ingest.data_ingest.clock.now",
            lambda: late if scanner.requests else early,
        )
        assert ingest("2021-03-03T21:21", bar(IBM, WEDNESDAY)).bars.open == 1
        assert not stored(settings)

    def test_an_illiquid_symbols_last_tick_may_be_long_before_the_close(self, ingest, settings):
        row = bar(IBM, WEDNESDAY, last_bar_update_time=unix("2021-03-03T14:31"))
        assert ingest("2021-03-03T22:00", row).bars.written == 1

    def test_a_halted_symbols_last_bar_is_written_once(self, ingest, settings):
        assert ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY)).bars.written == 1
        later = ingest("2021-03-12T22:00", bar(IBM, WEDNESDAY)).bars
        assert (later.written, later.unchanged, later.closed) == (0, 1, 1)
        assert files(settings) == 1


class TestOpenBars:
    def test_they_are_counted_by_kind_and_are_no_error(self, ingest, settings):
        result = ingest(
            "2021-03-03T20:00",
            bar(IBM, WEDNESDAY),
            bar("OANDA:EURUSD", "2021-03-02T22:00"),
            bar("BINANCE:BTCUSDT", "2021-03-03T00:00", update_mode="streaming"),
            bar("INDEX:BTCUSD", "2021-03-03T00:00"),
            bar("KRAKENX:ABC", "2021-03-03T09:00"),
        )
        counts = result.bars
        assert (counts.open, counts.never_closing, counts.unknown_hours) == (3, 2, 1)
        assert (counts.closed, counts.written, result.parts) == (0, 0, ())
        assert "2 of markets that never close" in bars_text(result)
        assert "feature_repo/sources.toml lets flows fetch theirs" in bars_text(result)
        assert not stored(settings)

    def test_a_market_that_never_closes_never_yields_a_bar(self, ingest, settings):
        """Every evening the row is of the day that is still running."""
        for day in range(1, 8):
            opened = f"2021-03-0{day}T00:00"
            result = ingest(f"2021-03-0{day}T23:59:59", bar("BINANCE:BTCUSDT", opened))
            assert result.bars.never_closing == 1
        assert not stored(settings)
