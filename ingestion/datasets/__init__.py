"""Training targets from daily bars: what happened after a decision.

A table of bars goes in, one row per decision comes out, with the target and the instants between
which the position is open. No file, no clock, no Feast.

``series``   the table's checks, and its way into sorted arrays
``universe`` which symbols could be chosen when
``membership`` who was in a universe when, as it was recorded
``forward``  forward returns and their names; start reading there
"""

from ingestion.datasets.forward import (
    MAX_GAP,
    DropReason,
    Entry,
    LabelCollection,
    Labels,
    forward_returns,
    longest_window,
    target_name,
    target_sessions,
)
from ingestion.datasets.membership import Choice, Membership
from ingestion.datasets.universe import Universe

__all__ = [
    "MAX_GAP",
    "Choice",
    "DropReason",
    "Entry",
    "LabelCollection",
    "Labels",
    "Membership",
    "Universe",
    "forward_returns",
    "longest_window",
    "target_name",
    "target_sessions",
]
