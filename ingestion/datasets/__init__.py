"""Training targets from daily bars: what happened after a decision.

A table of bars goes in, a row a decision comes out, with the target and the instants between which
the position is held. No file, no clock, no Feast.

``target``   the names of targets
``series``   the table's checks, and its way into sorted arrays
``universe`` which symbols could be chosen when
``forward``  forward returns; start reading there
``merge``    the labels of several date ranges, put together
"""

from ingestion.datasets.forward import (
    MAX_GAP,
    DropReason,
    Entry,
    Labels,
    forward_returns,
    longest_window,
)
from ingestion.datasets.merge import LabelCollection
from ingestion.datasets.target import target_name, target_sessions
from ingestion.datasets.universe import Universe

__all__ = [
    "MAX_GAP",
    "DropReason",
    "Entry",
    "LabelCollection",
    "Labels",
    "Universe",
    "forward_returns",
    "longest_window",
    "target_name",
    "target_sessions",
]
