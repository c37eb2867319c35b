"""Status warns before the calendar of an exchange in use ends, and after it has."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from ingestion.bars.recent_bars import RecentBars
from ingestion.jobs.audit.status.looks import look_at_calendars
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.project import Project


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ("2026-10-31", []),
        ("2026-11-02", ["the calendar of SSE ends on 2026-12-31"]),
        ("2026-12-31", ["the calendar of SSE ends on 2026-12-31"]),
        ("2027-01-01", ["the calendar of SSE ended on 2026-12-31"]),
    ],
)
def test_it_warns_sixty_days_before_the_end(
    tmp_path: Path, at, monkeypatch: pytest.MonkeyPatch, now: str, told: list[str]
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    instant = datetime.fromisoformat(now).replace(hour=23, tzinfo=UTC)
    at(instant)
    settings = Project(tmp_path, tmp_path / "lakehouse", "https://scanner.invalid")
    path = tmp_path / "v.csv"
    old = "2026-06-01,NSE:TCS,10,11,9,10,1\n"  # no longer in use
    days = {"2026-10-31": "2026-10-30", "2027-01-01": "2026-12-31"}
    day = days.get(now, now)
    lines = "".join(f"{day},{symbol},10,11,9,10,1\n" for symbol in ("SSE:600519", "OANDA:EURUSD"))
    path.write_text("date,symbol,open,high,low,close,volume\n" + old + lines)
    import_bars(settings, ImportRequest((path,)))
    recent = RecentBars.read(settings.lakehouse, date(2026, 1, 1), instant.date())
    section = look_at_calendars(settings, instant, recent)
    assert [each.partition(":")[0] for each in section.warnings] == told
    assert section.problems == ()
    assert section.document == {"calendar_ends": {"SSE": "2026-12-31"}}
