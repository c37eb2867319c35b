"""What ``status`` says of the sessions that are missing."""

from __future__ import annotations

from datetime import datetime

from ingestion.jobs.audit.status.sections import Section
from ingestion.jobs.ingest.missing_sessions import find_holes, hole_messages
from ingestion.project import Project

_NAMED = 10
"""Accepted sessions that the text names."""


def look_at_holes(project: Project, at: datetime) -> Section:
    """Tell of the sessions that are missing, or accepted as missing."""
    holes = find_holes(project.lakehouse, at)
    lines = [
        f"accepted as missing on {each.accepted_at:%Y-%m-%d}: {each.market} {each.session}: "
        f"{each.reason}"
        for each in holes.accepted[-_NAMED:]
    ]
    if (more := len(holes.accepted) - _NAMED) > 0:
        lines.append(f"  and {more:,} earlier sessions")
    return Section("holes", holes, tuple(lines), tuple(hole_messages(holes.open)))
