"""How fresh and how complete everything is, and what waits for somebody.

:func:`status` looks at what there is now, and :class:`StatusReport` says it. What rings a monitor
is in its ``problems``, what should be known in time in its ``warnings``.

``report``    the whole, and the limits
``sections``  what a further look at the lakehouse finds
``looks``     which there are; new ones are added there
``holes``     the sessions that are missing
"""

from ingestion.jobs.status.report import (
    GroupStatus,
    Load,
    StatusLimits,
    StatusReport,
    refuse_unless_fresh,
    status,
)
from ingestion.jobs.status.sections import Section

__all__ = [
    "GroupStatus",
    "Load",
    "Section",
    "StatusLimits",
    "StatusReport",
    "refuse_unless_fresh",
    "status",
]
