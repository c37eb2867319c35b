"""What a report consists of: values that somebody else has found, and how they are to be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Mark(StrEnum):
    """How good it is what a cell, a tile or the verdict says."""

    NONE = ""
    GOOD = "good"
    CARE = "care"
    BAD = "bad"


class Kind(StrEnum):
    """How a plot is drawn. Beside each, its columns."""

    CALENDAR = "calendar"
    """``date``, ``value`` (a share), ``note``: one square for each day."""
    MATRIX = "matrix"
    """``x``, ``y``, ``value``, ``note``: one cell for each pair."""
    BANDS = "bands"
    """``date``, ``p5``, ``p25``, ``p50``, ``p75``, ``p95``: how a distribution moves."""
    HISTOGRAM = "histogram"
    """``low``, ``high``, ``now``, ``before``: shares of values in bins, now and in the history."""
    LINES = "lines"
    """``date``, ``series``, ``value``."""
    STACKED = "stacked"
    """``x``, ``series``, ``value``: bars that are the sum of their parts."""
    BARS = "bars"
    """``y``, ``value``, ``note``: one horizontal bar for each name."""


@dataclass(frozen=True)
class Axis:
    """What an axis or a colour says, and in which unit."""

    label: str
    unit: str

    def __str__(self) -> str:
        return f"{self.label} ({self.unit})"


@dataclass(frozen=True)
class Plot:
    """One drawing, with the figures that it is made of.

    Parameters
    ----------
    columns
        By name as :class:`Kind` has them, each as long as the others.
    steps
        Where the colours of a calendar or a matrix change, ascending; the colours are those of
        ``palette``, one more than steps.
    """

    key: str
    title: str
    kind: Kind
    x: Axis
    y: Axis
    columns: Mapping[str, Sequence[object]]
    colour: Axis | None = None
    steps: Sequence[float] = ()
    palette: Sequence[str] = ()
    names: Sequence[str] = ()
    """What each colour means, for the legend."""
    note: str = ""
    command: str = ""
    is_small: bool = False
    """Whether it is one of many that stand beside each other."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table; a plain text does as well."""

    text: str
    mark: Mark = Mark.NONE
    is_code: bool = False
    title: str = ""
    """More of it, for who points at it."""


Row = list[str | Cell]


@dataclass(frozen=True)
class Table:
    """Rows under named columns."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Row]
    numbers: frozenset[int] = frozenset()
    """Columns of numbers, which are written to the right."""
    command: str = ""
    note: str = ""


@dataclass(frozen=True)
class Note:
    """A sentence between tables and plots."""

    text: str
    mark: Mark = Mark.NONE


@dataclass(frozen=True)
class Small:
    """Small plots that stand beside each other, under one heading and with one legend."""

    title: str
    plots: Sequence[Plot]
    note: str = ""
    is_wide: bool = False
    """Whether they are half as wide as the page, and not a quarter."""


@dataclass(frozen=True)
class Section:
    """One question that the report answers."""

    key: str
    title: str
    lead: str
    """The answer in one or two sentences."""
    body: Sequence[Table | Plot | Note | Small] = ()
    command: str = ""


@dataclass(frozen=True)
class Tile:
    """One figure of the first screen."""

    label: str
    value: str
    note: str = ""
    mark: Mark = Mark.NONE
    command: str = ""


@dataclass(frozen=True)
class Verdict:
    """The answer to the page's question: whether one may trade on today's rows, or another."""

    answer: str
    mark: Mark
    reasons: Sequence[str]
    tiles: Sequence[Tile]
    question: str = "May I trade on today’s rows?"
    link: str = "May I trade?"
    """The same in few words, for the list of sections."""


@dataclass(frozen=True)
class FeatureCard:
    """One feature of the catalogue."""

    group: str
    name: str
    meaning: str
    facts: Sequence[tuple[str, str]]
    """Name and value, in the order in which they are shown."""
    command: str
    plot: Plot | None = None


@dataclass(frozen=True)
class GroupCard:
    """One group of the catalogue, with its features."""

    name: str
    meaning: str
    facts: Sequence[tuple[str, str]]
    features: Sequence[FeatureCard]


@dataclass(frozen=True)
class Report:
    """All that is on the page."""

    title: str
    lakehouse: str
    at: datetime
    """What now was."""
    verdict: Verdict
    sections: Sequence[Section]
    catalogue: Sequence[GroupCard] = field(default=())
    command: str = "tvfeast report"
    """What has made it."""
