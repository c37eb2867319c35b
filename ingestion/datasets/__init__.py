"""Data sets for research: what was known at each decision, and what happened after it. No Feast.

Targets: a table of bars goes in, one row per decision comes out, with labels and the instants
between which the position is open.

``series``     the table's checks, and its way into sorted arrays
``universe``   which symbols could be chosen when
``choice``     what says which symbols could be chosen, such as who was in a universe when
``labels``     all kinds of labels and their names; start reading there
``forward``    forward returns alone

Panels: a schedule and a choice of symbols go in, features as known at each decision come out.

``schedule``   when decisions are made, by each exchange's calendar
``questions``  who is asked about when, a slice of time after another
``panel``      the answers; start reading there
``set_file``   the file that they are written to
``read_set``   … and read back from
``data_frames``  … and as pandas, Polars, backtesters and alphalens take them
``universe_days``  when all members of a universe are compared with each other

Splits: the spans of labels go in, rows of training and of test come out that share no label.

``splits``          the splitters, which scikit-learn takes as ``cv``; start reading there
``sample_weights``  weights of rows whose labels overlap

Factors: how a feature ranks what follows.

``factors``        the figures of one feature, cross-section after cross-section
``factor_study``   several features, universes and horizons together
``significance``   how sure a mean is, and what many tries demand
"""

from ingestion.datasets.choice import Choice
from ingestion.datasets.data_frames import (
    adjusted_prices,
    alphalens_factor,
    alphalens_returns,
    long_frame,
    long_table,
    wide_frame,
    wide_table,
)
from ingestion.datasets.forward import (
    forward_returns,
    longest_window,
    target_name,
    target_sessions,
)
from ingestion.datasets.labels import (
    MAX_GAP,
    DropReason,
    Entry,
    Label,
    LabelCollection,
    Labels,
    label_of,
    labels_of,
    make_labels,
)
from ingestion.datasets.panel import Counts, Features, features_of, panel
from ingestion.datasets.questions import Questions
from ingestion.datasets.read_set import DataSet, read_set
from ingestion.datasets.sample_weights import return_weights, uniqueness
from ingestion.datasets.schedule import Every, Schedule
from ingestion.datasets.splits import CombinatorialPurged, LabelSpans, PurgedKFold, WalkForward
from ingestion.datasets.universe import Universe
from ingestion.lakehouse.membership import Membership

__all__ = [
    "MAX_GAP",
    "Choice",
    "CombinatorialPurged",
    "Counts",
    "DataSet",
    "DropReason",
    "Entry",
    "Every",
    "Features",
    "Label",
    "LabelCollection",
    "LabelSpans",
    "Labels",
    "Membership",
    "PurgedKFold",
    "Questions",
    "Schedule",
    "Universe",
    "WalkForward",
    "adjusted_prices",
    "alphalens_factor",
    "alphalens_returns",
    "features_of",
    "forward_returns",
    "label_of",
    "labels_of",
    "long_frame",
    "long_table",
    "longest_window",
    "make_labels",
    "panel",
    "read_set",
    "return_weights",
    "target_name",
    "target_sessions",
    "uniqueness",
    "wide_frame",
    "wide_table",
]
