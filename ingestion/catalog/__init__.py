"""Which datasets and feature groups exist.

A feature is declared here and nowhere else: its name, type, unit, bounds and meaning. Derived
from the declaration are the Arrow schema (:mod:`ingestion.lakehouse.schema`), the Feast fields
(:mod:`ingestion.feast_objects.views`), the columns asked of the scanner, and
``docs/lakehouse_schema_registry.md`` (:mod:`ingestion.catalog.registry`).

To add a feature, add a :class:`Column` to its group. To add a group, add a module beside
``tv_technicals_1d`` and list it in :data:`GROUPS`.
"""

from ingestion.catalog.feeds import FEEDS, UPDATE_MODE
from ingestion.catalog.holes import ACCEPTED_HOLES, MISSED_BARS
from ingestion.catalog.local_1d import LOCAL_1D
from ingestion.catalog.model import Column, Dataset, Dtype, FeatureGroup
from ingestion.catalog.ohlcv_1d import HELD_BARS, OHLCV_1D, SCANNED_BAR, SPLITS, WITHDRAWN
from ingestion.catalog.symbols import ABSENCES, SYMBOLS
from ingestion.catalog.tv_technicals_1d import TV_TECHNICALS_1D

GROUPS: tuple[FeatureGroup, ...] = (TV_TECHNICALS_1D, LOCAL_1D)
"""Every feature group: what Feast serves."""

DATASETS: tuple[Dataset, ...] = (
    *GROUPS,
    *(OHLCV_1D, SYMBOLS, SPLITS, HELD_BARS, ABSENCES, FEEDS, MISSED_BARS, ACCEPTED_HOLES),
)
"""Everything that the lakehouse holds in daily partitions."""

__all__ = [
    "ABSENCES",
    "ACCEPTED_HOLES",
    "DATASETS",
    "FEEDS",
    "GROUPS",
    "HELD_BARS",
    "LOCAL_1D",
    "MISSED_BARS",
    "OHLCV_1D",
    "SCANNED_BAR",
    "SPLITS",
    "SYMBOLS",
    "TV_TECHNICALS_1D",
    "UPDATE_MODE",
    "WITHDRAWN",
    "Column",
    "Dataset",
    "Dtype",
    "FeatureGroup",
]
