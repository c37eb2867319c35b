"""Data sets for research: what was known at each decision, and what happened after it. No Feast.

Targets: a table of bars goes in, one row per decision comes out, with the target and the instants
between which the position is open.

``series``     the table's checks, and its way into sorted arrays
``universe``   which symbols could be chosen when
``membership`` who was in a universe when, as it was recorded
``forward``    forward returns and their names; start reading there

Panels: a schedule and a choice of symbols go in, features as known at each decision come out.

``schedule``   when decisions are made, by each exchange's calendar
``questions``  who is asked about when, a slice of time after another
``panel``      the answers; start reading there
``set_file``   the file that they are written to

Splits: the spans of labels go in, rows of training and of test come out that share no label.

``splits``          the splitters, which scikit-learn takes as ``cv``; start reading there
``sample_weights``  weights of rows whose labels overlap
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
from ingestion.datasets.panel import Counts, Features, features_of, panel
from ingestion.datasets.questions import Questions
from ingestion.datasets.sample_weights import return_weights, uniqueness
from ingestion.datasets.schedule import Every, Schedule
from ingestion.datasets.splits import CombinatorialPurged, LabelSpans, PurgedKFold, WalkForward
from ingestion.datasets.universe import Universe

__all__ = [
    "MAX_GAP",
    "Choice",
    "CombinatorialPurged",
    "Counts",
    "DropReason",
    "Entry",
    "Every",
    "Features",
    "LabelCollection",
    "LabelSpans",
    "Labels",
    "Membership",
    "PurgedKFold",
    "Questions",
    "Schedule",
    "Universe",
    "WalkForward",
    "features_of",
    "forward_returns",
    "longest_window",
    "panel",
    "return_weights",
    "target_name",
    "target_sessions",
    "uniqueness",
]
