"""Labels of decisions: what happened after them, as values with spans.

A label is declared, and makes a value and a span for each decision from the bars around it.

``target``     labels by their names, as ``--target`` takes them; start reading there
``label``      what a label is; a kind of one's own derives from :class:`Label`
``returns``    forward and total returns
``excess``     over a benchmark
``scaled``     by the volatility that was known
``classes``    sign, and quantile of the day
``barrier``    the triple barrier
``labelling``  from bars to a table
"""

from ingestion.datasets.labels.barrier import Barrier, BarrierReturn, Width
from ingestion.datasets.labels.classes import Quantile, Sign
from ingestion.datasets.labels.excess import Excess
from ingestion.datasets.labels.label import (
    MAX_GAP,
    Decisions,
    DropReason,
    Entry,
    Label,
    Outcome,
)
from ingestion.datasets.labels.labelling import LabelCollection, Labels, make_labels
from ingestion.datasets.labels.returns import ForwardReturn, TotalReturn
from ingestion.datasets.labels.scaled import Scaled, volatility
from ingestion.datasets.labels.target import label_of, labels_of

__all__ = [
    "MAX_GAP",
    "Barrier",
    "BarrierReturn",
    "Decisions",
    "DropReason",
    "Entry",
    "Excess",
    "ForwardReturn",
    "Label",
    "LabelCollection",
    "Labels",
    "Outcome",
    "Quantile",
    "Scaled",
    "Sign",
    "TotalReturn",
    "Width",
    "label_of",
    "labels_of",
    "make_labels",
    "volatility",
]
