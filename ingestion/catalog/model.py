"""The vocabulary of the catalog: a column, a group of columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

from ingestion.catalog.quality import Quality


class Dtype(Enum):
    """What a column holds. Timestamps are UTC, in microseconds."""

    INT64 = "int64"
    STRING = "string"
    BOOL = "bool"
    DOUBLE = "double"
    TIMESTAMP = "timestamp[us, UTC]"


@dataclass(frozen=True)
class Column:
    """One column of a feature group, under the same name at every layer."""

    name: str
    dtype: Dtype
    meaning: str
    unit: str = ""
    low: float | None = None
    """Smallest possible value, inclusive; none if unbounded."""
    high: float | None = None
    """Largest possible value, inclusive; none if unbounded."""
    nullable: bool = True
    scanner: str | None = None
    """The scanner's name for it; none if the scanner is not where it comes from."""
    retired: bool = False
    """Whether it only keeps its place: it is not asked for, and new rows have null there."""

    values: tuple[str, ...] | None = None
    """The texts that it may have; None if any."""

    @property
    def bounds(self) -> str:
        """The interval of possible values, for people."""
        if self.dtype is not Dtype.DOUBLE:
            return ""
        if self.low is None and self.high is None:
            return "finite"
        if self.high is None:
            return f"≥ {self.low:g}"
        return f"{self.low:g} … {self.high:g}"


@dataclass(frozen=True)
class Dataset:
    """A folder of the lakehouse: daily partitions of one schema.

    Rows are unique on ``key`` within one ``created_timestamp``: a later one restates the row.
    """

    name: str
    meaning: str
    storage: str
    """Folder below the lakehouse's root, with ``/`` between its parts."""
    schema_version: int
    columns: tuple[Column, ...]
    """All columns in the order in which files hold them."""
    key: tuple[str, ...] = field(default=("symbol", "timestamp"), kw_only=True)
    """What a row is told by; files are sorted by it."""
    event: str = field(default="event_timestamp", kw_only=True)
    """The instant whose UTC date is the partition."""

    @property
    def scanned(self) -> tuple[Column, ...]:
        """The columns whose values come from the scanner, in the order in which to ask."""
        return tuple(column for column in self.columns if column.scanner and not column.retired)


@dataclass(frozen=True)
class FeatureGroup(Dataset):
    """A dataset that Feast serves; features may be null and are never NaN or infinite."""

    ttl: timedelta
    """How long a row counts as current after its event time, inclusive."""
    features: tuple[Column, ...]
    served_times: tuple[Column, ...] = ()
    """Instants that are served with the features: which bar they describe."""
    quality: Quality = field(default_factory=Quality)
    """What rows must hold to be published."""

    @property
    def served(self) -> tuple[Column, ...]:
        """The columns that Feast serves."""
        return self.features + self.served_times


SYMBOL = Column("symbol", Dtype.STRING, "unified symbol, `EXCHANGE:TICKER`", nullable=False)
TIMESTAMP = Column(
    "timestamp",
    Dtype.INT64,
    "the same instant as `event_timestamp`",
    unit="Unix s",
    nullable=False,
)
EVENT_TIMESTAMP = Column(
    "event_timestamp", Dtype.TIMESTAMP, "when the values were known", nullable=False
)
CREATED_TIMESTAMP = Column(
    "created_timestamp", Dtype.TIMESTAMP, "when the row was written", nullable=False
)
BAR_TIMESTAMP = Column(
    "bar_timestamp", Dtype.TIMESTAMP, "open of the daily bar that the values describe"
)
