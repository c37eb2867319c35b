"""The further looks at the lakehouse."""

from __future__ import annotations

from ingestion.jobs.audit.status.calendars import look_at_calendars
from ingestion.jobs.audit.status.holes import look_at_holes
from ingestion.jobs.audit.status.sections import Look

LOOKS: tuple[Look, ...] = (look_at_holes, look_at_calendars)
"""In the order in which they are shown. They change nothing, and take no lock."""
