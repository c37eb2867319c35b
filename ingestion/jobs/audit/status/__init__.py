"""How fresh and how complete everything is, and what waits for somebody.

:func:`status` looks at what there is now, and :class:`StatusReport` says it. What rings a monitor
is in its ``problems``, what should be known in time in its ``warnings``.

``report``    the whole, and the limits
``flows``     each flow of the operation: what became of it, and when it is to start again
``wanted``    which symbols are to be fresh
``groups``    how fresh the features are, for all and for each flow
``looks``     holes, calendars, universes, changes of the past
``bars``      what bars there are, and who brings them
``served``    the files that features are served from
"""

from ingestion.jobs.audit.status.bars import BarsStatus
from ingestion.jobs.audit.status.flows import ProfileStatus, State
from ingestion.jobs.audit.status.groups import Demand, GroupStatus
from ingestion.jobs.audit.status.looks import Section
from ingestion.jobs.audit.status.report import (
    StatusLimits,
    StatusReport,
    status,
)
from ingestion.jobs.audit.status.served import Load, StoreStatus

__all__ = [
    "BarsStatus",
    "Demand",
    "GroupStatus",
    "Load",
    "ProfileStatus",
    "Section",
    "State",
    "StatusLimits",
    "StatusReport",
    "StoreStatus",
    "status",
]
