"""The vocabulary of the catalog: a column, a dataset, a feature group.

A feature group is what one file declares: its name, where its rows come from, and its features.
Everything else follows: the files' columns, the Feast view, what is asked of the scanner, how rows
are judged. Group-wide columns (``timestamp``, ``symbol``, the instants, the bar's times) are added
by the source and never written out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from ingestion.base.errors import CatalogError
from ingestion.catalog.cadence import AskedWhile, Cadence
from ingestion.catalog.quality import Quality

if TYPE_CHECKING:
    from ingestion.catalog.sources import Source

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FEATURE = re.compile(r"[A-Za-z][A-Za-z0-9_.\[\]|+-]*")
_TTL = re.compile(r"(\d+)(d|h|min)")
_TTL_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1)}


class Dtype(Enum):
    """What a column contains. Timestamps are UTC, in microseconds."""

    INT64 = "int64"
    STRING = "string"
    BOOL = "bool"
    DOUBLE = "double"
    TIMESTAMP = "timestamp[us, UTC]"

    @classmethod
    def of(cls, value: Dtype | str) -> Dtype:
        """Return a type by its name.

        Raises
        ------
        CatalogError
            If there is no such type.

        Examples
        --------
        >>> Dtype.of("int64")
        <Dtype.INT64: 'int64'>
        >>> Dtype.of("timestamp")
        <Dtype.TIMESTAMP: 'timestamp[us, UTC]'>
        """
        if isinstance(value, Dtype):
            return value
        try:
            return cls.TIMESTAMP if value == "timestamp" else cls(value)
        except ValueError:
            raise CatalogError(
                f"{value!r} is no type of a column: double, int64, bool, string and timestamp are"
            ) from None


@dataclass(frozen=True)
class Excess:
    """By how many percent a column is above another one of the same row.

    Parameters
    ----------
    column, over
        Their names, both of the same group.
    same
        Columns of texts that must be equal, such as two currencies; else there is no value.

    Examples
    --------
    >>> Excess("price_target_average", "close", same=("currency", "target_currency")).over
    'close'
    """

    column: str
    over: str
    same: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """One column of a dataset, under the same name at every layer.

    Raises
    ------
    CatalogError
        If the type is unknown, or bounds or values do not fit it.

    Examples
    --------
    >>> Column("RSI", meaning="relative strength index", low=0, high=100).bounds
    '0 … 100'
    >>> Column("sector", "string", values=("Energy", "Finance")).bounds
    'Energy, Finance'
    """

    name: str
    dtype: Dtype = Dtype.DOUBLE
    """Also by its name: ``"int64"``."""
    meaning: str = ""
    unit: str = ""
    low: float | None = None
    """Smallest possible value, inclusive; none if unbounded."""
    high: float | None = None
    """Largest possible value, inclusive; none if unbounded."""
    nullable: bool = True
    scanner: str | None = None
    """The scanner's name for it; none if the scanner is not where it comes from."""
    optional: bool = False
    """Whether the scanner may not know it: then it is null, and the receipt says so."""
    retired: bool = False
    """Whether it only keeps its place: it is not asked for, and new rows have null there."""
    values: tuple[str, ...] = ()
    """All that a category can be; empty for a text, and for other types."""
    label: bool = False
    """Whether it names the period or the release that the reported columns of its row are of."""
    reported: bool = False
    """Whether it is as a company has reported it: no price and no exchange rate is in it.

    A value that changes while no label does is a restatement, and is counted.
    """
    derived: Excess | None = None
    """How it follows from other columns of its row; the scanner is not asked for it."""
    rules: str = ""
    """By which rule set of its source it is computed; empty where there is only one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", Dtype.of(self.dtype))
        object.__setattr__(self, "values", tuple(self.values))
        if not self.name:
            raise CatalogError("a column has no name: give it one")
        is_number = self.dtype in (Dtype.DOUBLE, Dtype.INT64)
        if not is_number and (self.low is not None or self.high is not None):
            raise CatalogError(f"{self.name} is a {self.dtype.value} and has bounds: take them out")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise CatalogError(f"{self.name} has low {self.low:g} above high {self.high:g}")
        if (self.reported or self.derived) and self.dtype is not Dtype.DOUBLE:
            raise CatalogError(f"{self.name} is reported or derived: only a double can be")
        if self.values and self.dtype is not Dtype.STRING:
            raise CatalogError(f"{self.name} has values; only a string has a list of them")

    @property
    def bounds(self) -> str:
        """The possible values, for people."""
        if self.values:
            return ", ".join(self.values)
        if self.low is None and self.high is None:
            return "finite" if self.dtype is Dtype.DOUBLE else ""
        if self.high is None:
            return f"≥ {self.low:g}"
        if self.low is None:
            return f"≤ {self.high:g}"
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
    columns: tuple[Column, ...]
    """All columns in the order in which files contain them."""
    key: tuple[str, ...] = field(default=("symbol", "timestamp"), kw_only=True)
    """Columns that identify a row; files are sorted by them."""
    event: str = field(default="event_timestamp", kw_only=True)
    """The instant whose UTC date is the partition."""

    @property
    def scanned(self) -> tuple[Column, ...]:
        """The columns whose values come from the scanner, in the order in which to ask."""
        return tuple(each for each in self.columns if each.scanner and not each.retired)


@dataclass(frozen=True, kw_only=True)
class FeatureGroup(Dataset):
    """A dataset that Feast serves; features may be null and are never NaN or infinite.

    Parameters
    ----------
    source
        Where its rows come from.
    ttl
        How long a row counts as current after its event time, inclusive: ``"4d"``, ``"2h"``.
    features
        Columns; in a group that is computed from bars, names of formulas. Of a cross-section they
        follow from its source.
    quality
        What rows must fulfil to be published.
    cadence, market_hours
        How often it is worth asking for a symbol, and in what hours of its market, both by name:
        ``cadence="daily", market_hours="closed"``.

    Raises
    ------
    CatalogError
        If a name cannot be used, or stands there twice, or rows expire before the next ones come.

    Examples
    --------
    >>> from ingestion.catalog import Column, FeatureGroup, Scanner
    >>> group = FeatureGroup(
    ...     name="my_signals_1d",
    ...     meaning="signals of mine",
    ...     source=Scanner(),
    ...     ttl="4d",
    ...     features=[Column("beta_1_year", meaning="beta over a year")],
    ... )
    >>> group.storage
    'features/my_signals_1d'
    >>> [column.name for column in group.columns][:3]
    ['timestamp', 'symbol', 'beta_1_year']
    """

    storage: str = field(init=False, default="")
    columns: tuple[Column, ...] = field(init=False, default=())
    source: Source
    ttl: timedelta
    features: tuple[Column, ...] = ()
    served_times: tuple[Column, ...] = field(init=False, default=())
    """What is served with the features to say which bar they describe."""
    quality: Quality = field(default_factory=Quality)
    formulas: tuple[str, ...] = field(init=False, default=())
    """Names of formulas that were given in place of columns; see :meth:`bound`."""
    by_choice: bool = False
    """Whether it runs only in a project whose ``groups.toml`` names it."""
    cadence: Cadence = Cadence.EACH_RUN
    """How often the scanner is worth asking: ``each run``, ``hourly``, ``daily``, ``weekly``."""
    market_hours: AskedWhile = AskedWhile.ANY
    """In what hours of a symbol's market: ``any``, ``open``, ``closed``."""

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "storage", f"features/{self.name}")
        if not _NAME.fullmatch(self.name):
            raise CatalogError(f"{self.name!r} cannot be a group's name: use a-z, 0-9 and _")
        set_(self, "ttl", _duration(self, self.ttl))
        set_(self, "cadence", Cadence.of(self.cadence))
        set_(self, "market_hours", AskedWhile.of(self.market_hours))
        self._check_cadence()
        names = tuple(each for each in self.features if isinstance(each, str))
        set_(self, "formulas", names)
        if names:
            return
        features = self.source.features(self.features)
        served_times = self.source.served_times
        columns = self.source.columns(features)
        set_(self, "features", features)
        set_(self, "served_times", served_times)
        set_(self, "columns", columns)
        set_(self, "quality", self.source.judged(self.quality))
        self._check_names()

    def _check_cadence(self) -> None:
        if not self.is_asked_always and self.source.command != "flow-data":
            raise CatalogError(
                f"{self.name} has a cadence or market hours, and nobody is asked for its rows: "
                "take them out"
            )
        period = self.cadence.period or timedelta()
        if self.max_age < period * 5 / 4:
            raise CatalogError(
                f"{self.name} is asked {self.cadence}, and its rows count as current for "
                f"{self.max_age} only: give it a ttl of at least {period * 5 / 4}"
            )

    @property
    def is_asked_always(self) -> bool:
        """Whether each run asks for all symbols, whatever the hour."""
        return self.cadence is Cadence.EACH_RUN and self.market_hours is AskedWhile.ANY

    @property
    def asked(self) -> str:
        """How often it is asked and when, for people.

        Examples
        --------
        >>> from ingestion.catalog import Column, Scanner
        >>> FeatureGroup(
        ...     name="mine", meaning="…", source=Scanner(), ttl="4d", features=[Column("RSI")],
        ...     cadence="hourly", market_hours="open",
        ... ).asked
        'hourly, market open'
        """
        hours = "" if self.market_hours is AskedWhile.ANY else f", market {self.market_hours}"
        return f"{self.cadence}{hours}"

    def _check_names(self) -> None:
        seen: set[str] = set()
        for column in self.columns:
            if column.name in seen:
                raise CatalogError(f"{self.name} has {column.name!r} twice: rename one")
            seen.add(column.name)
        for column in self.features:
            if not _FEATURE.fullmatch(column.name):
                raise CatalogError(
                    f"{column.name!r} in {self.name} cannot be a feature's name: begin with a "
                    "letter; letters, digits and _ . [ ] | + - may follow"
                )
        if not self.features:
            raise CatalogError(f"{self.name} has no feature")
        if any(each.reported for each in self.features) and not any(
            each.label for each in self.features
        ):
            raise CatalogError(
                f"{self.name} has reported columns and no label: say with label=True which column "
                "names their period"
            )
        for column in self.features:
            read = column.derived
            for name in (read.column, read.over, *read.same) if read else ():
                if name not in {each.name for each in self.features}:
                    raise CatalogError(
                        f"{column.name} in {self.name} is derived from {name!r}, which is none of "
                        "its features"
                    )

    def bound(self, columns: Mapping[str, Column]) -> FeatureGroup:
        """Return the group with columns in place of the names of formulas.

        Examples
        --------
        >>> from ingestion.catalog import FromBars
        >>> group = FeatureGroup(
        ...     name="mine", meaning="…", source=FromBars(), ttl="12d", features=["gap"]
        ... )
        >>> group.bound({"gap": Column("gap", low=-1)}).features[0].bounds
        '≥ -1'
        """
        features = (columns[each] if isinstance(each, str) else each for each in self.features)
        return replace(self, features=tuple(features))

    @property
    def max_age(self) -> timedelta:
        """How old its newest row may be when it is promoted."""
        return self.quality.max_age or self.ttl

    @property
    def served(self) -> tuple[Column, ...]:
        """The columns that Feast serves."""
        return self.features + self.served_times


def _duration(group: FeatureGroup, ttl: timedelta | str) -> timedelta:
    if isinstance(ttl, str):
        match = _TTL.fullmatch(ttl)
        if match is None:
            raise CatalogError(f"{group.name} has ttl {ttl!r}: write days or hours, as 4d or 36h")
        ttl = int(match[1]) * _TTL_UNITS[match[2]]
    if ttl <= timedelta():
        raise CatalogError(f"{group.name} has no time to live: give it some, as 4d")
    return ttl


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
