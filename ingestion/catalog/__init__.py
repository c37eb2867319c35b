"""What exists: the vocabulary, the datasets, and the groups that a project declares.

A feature group is one file of a project's ``feature_repo/groups/``, written in the vocabulary of
this package (:class:`Column`, :class:`FeatureGroup`, :class:`Scanner`, :class:`FromBars`,
:class:`Service`). Derived from it are the files' columns, the Feast view, what is asked of the
scanner, how rows are judged, and ``docs/lakehouse_schema_registry.md``. A universe is one file of
``feature_repo/universes/`` (:class:`Universe`), a source of bars one of ``feature_repo/sources/``
(:class:`BarSource`). :class:`Catalog` loads the shipped files and a project's own; jobs get it as
``project.catalog``.

The other datasets of the lakehouse are constants here.
"""

from ingestion.catalog.bar_source import (
    BarRequest,
    BarSource,
    BarTable,
    DividendTable,
    SourceBusy,
    SplitTable,
    TimesMean,
)
from ingestion.catalog.cadence import AskedWhile, Cadence
from ingestion.catalog.catalog import Catalog
from ingestion.catalog.cross_section import CrossSection
from ingestion.catalog.datasets import (
    ABSENCES,
    ABSENT_BARS,
    ACCEPTED_HOLES,
    DATASETS,
    DIVIDENDS,
    FEEDS,
    HELD_BARS,
    MISSED_BARS,
    OHLCV_1D,
    OTHER_BARS,
    SCANNED_BAR,
    SPLITS,
    SYMBOLS,
    UNIVERSE_MEMBERS,
    UPDATE_MODE,
    WITHDRAWN,
)
from ingestion.catalog.model import Column, Dataset, Dtype, Excess, FeatureGroup
from ingestion.catalog.quality import Identity, ParityLimits, PerColumn, Quality
from ingestion.catalog.services import Service
from ingestion.catalog.sources import Files, FromBars, Scanner
from ingestion.catalog.universes import Condition, Listing, Universe

__all__ = [
    "ABSENCES",
    "ABSENT_BARS",
    "ACCEPTED_HOLES",
    "DATASETS",
    "DIVIDENDS",
    "FEEDS",
    "HELD_BARS",
    "MISSED_BARS",
    "OHLCV_1D",
    "OTHER_BARS",
    "SCANNED_BAR",
    "SPLITS",
    "SYMBOLS",
    "UNIVERSE_MEMBERS",
    "UPDATE_MODE",
    "WITHDRAWN",
    "AskedWhile",
    "BarRequest",
    "BarSource",
    "BarTable",
    "Cadence",
    "Catalog",
    "Column",
    "Condition",
    "CrossSection",
    "Dataset",
    "DividendTable",
    "Dtype",
    "Excess",
    "FeatureGroup",
    "Files",
    "FromBars",
    "Identity",
    "Listing",
    "ParityLimits",
    "PerColumn",
    "Quality",
    "Scanner",
    "Service",
    "SourceBusy",
    "SplitTable",
    "TimesMean",
    "Universe",
]
