"""Where a group's rows come from; everything else about the group follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ingestion.base.errors import CatalogError
from ingestion.catalog.model import (
    BAR_TIMESTAMP,
    CREATED_TIMESTAMP,
    EVENT_TIMESTAMP,
    SYMBOL,
    TIMESTAMP,
    Column,
    Dtype,
)
from ingestion.catalog.quality import Identity, Quality

FRAMES = ("1d",)
"""Length of the bars that values describe."""

_STAMP = Identity("timestamp", (("event_timestamp", 1.0),))

_BAR_TIMES = (
    replace(BAR_TIMESTAMP, scanner="time"),
    Column(
        "bar_update_timestamp",
        Dtype.TIMESTAMP,
        "last tick in that bar",
        scanner="last_bar_update_time",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What every source says."""

    frame: str = "1d"
    """Length of the bars that the values describe."""

    command: ClassVar[str]
    """What brings rows: a command of ``tvfeast``."""
    of_closed_bars: ClassVar[bool]
    """Whether a row describes a closed bar, and so is final: not what was shown at an instant."""

    def __post_init__(self) -> None:
        if self.frame not in FRAMES:
            raise CatalogError(f"{self.frame!r} is no frame: {', '.join(FRAMES)} is")

    def column(self, feature: Column) -> Column:
        """Return a feature's column as rows of this source have it.

        Examples
        --------
        >>> Scanner().column(Column("RSI")).scanner, FromBars().column(Column("RSI")).scanner
        ('RSI', None)
        """
        return feature

    def columns(self, features: Sequence[Column]) -> tuple[Column, ...]:
        """Return all columns of the group's files, in their order.

        Examples
        --------
        >>> [column.name for column in FromBars().columns([Column("RSI")])]
        ['timestamp', 'symbol', 'RSI', 'event_timestamp', 'created_timestamp', 'bar_timestamp']
        """
        raise NotImplementedError

    @property
    def served_times(self) -> tuple[Column, ...]:
        """Instants that are served with the features."""
        return ()

    @property
    def own_market(self) -> str | None:
        """The market of the scanner whose rows it takes, whatever a run is about."""
        return None

    def judged(self, quality: Quality) -> Quality:
        """Return the limits with what is true of all rows of this source.

        Examples
        --------
        >>> FromBars().judged(Quality()).order
        (('bar_timestamp', 'event_timestamp'),)
        """
        identities = tuple(dict.fromkeys((*quality.identities, _STAMP)))
        return replace(quality, identities=identities)


@dataclass(frozen=True, kw_only=True)
class Scanner(Source):
    """Rows are snapshots of TradingView's scanner; they differ from what it shows later.

    Parameters
    ----------
    market
        The market that is asked, such as ``coin``; None for candidates, of all markets, and for
        the universe that a run is about.
    """

    market: str | None = None

    command: ClassVar[str] = "flow-data"
    of_closed_bars: ClassVar[bool] = False

    def column(self, feature: Column) -> Column:
        """Return the column with the scanner's name for it: its own where none is given."""
        return replace(feature, scanner=feature.scanner or feature.name)

    def columns(self, features: Sequence[Column]) -> tuple[Column, ...]:
        """Return the features between the keys and the instants; then the bar's times."""
        instants = (EVENT_TIMESTAMP, CREATED_TIMESTAMP)
        return (TIMESTAMP, SYMBOL, *features, *instants, *_BAR_TIMES)

    @property
    def served_times(self) -> tuple[Column, ...]:
        """The bar's open, and its last tick."""
        return _BAR_TIMES

    @property
    def own_market(self) -> str | None:
        """The market; None for what a run is about."""
        return self.market


@dataclass(frozen=True, kw_only=True)
class FromBars(Source):
    """Rows are computed from closed bars of the lakehouse, one row per bar.

    Parameters
    ----------
    twin
        The scanner's group with the same features, which ``parity`` compares with this one.
    """

    twin: str | None = None

    command: ClassVar[str] = "local-features"
    of_closed_bars: ClassVar[bool] = True

    def column(self, feature: Column) -> Column:
        """Return the column; nothing of it is asked of the scanner."""
        return replace(feature, scanner=None)

    def columns(self, features: Sequence[Column]) -> tuple[Column, ...]:
        """Return the features between the keys and the instants; then the bar's open."""
        closes = replace(
            EVENT_TIMESTAMP, meaning="close of the bar: when its values became knowable"
        )
        opens = replace(BAR_TIMESTAMP, nullable=False)
        return (TIMESTAMP, SYMBOL, *features, closes, CREATED_TIMESTAMP, opens)

    def judged(self, quality: Quality) -> Quality:
        """Return the limits; a bar opens before it closes."""
        order = tuple(dict.fromkeys((*quality.order, ("bar_timestamp", "event_timestamp"))))
        return replace(super().judged(quality), order=order)
