"""Where a group's rows come from; everything else about the group follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, NamedTuple

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

DAILY = "1d"


class Frame(NamedTuple):
    """A length of bars."""

    suffix: str
    """What the scanner's names of its columns end in."""
    seconds: int | None = None
    """Where bars divide a session; None where a bar is one session or several."""


FRAMES = {
    "1m": Frame("|1", 60),
    "5m": Frame("|5", 300),
    "15m": Frame("|15", 900),
    "30m": Frame("|30", 1_800),
    "1h": Frame("|60", 3_600),
    "2h": Frame("|120", 7_200),
    "4h": Frame("|240", 14_400),
    DAILY: Frame(""),
    "1w": Frame("|1W"),
    "1mo": Frame("|1M"),
}
"""All that the scanner has, by the names that groups use."""


class BarCheck(StrEnum):
    """Whether a row describes the bar that its instant and its frame let expect."""

    EXPECTED = "expected"
    """The bar that ran, or the last one before the market closed."""
    EARLIER = "earlier"
    """An older one: the symbol has not traded since, or its feed stands still."""
    LATER = "later"
    """One that had not begun."""
    MISPLACED = "misplaced"
    """None that begins there, by the sessions of its exchange."""
    UNKNOWN = "unknown"
    """The scanner does not say which bar, or the hours of the exchange are not known."""


_STAMP = Identity("timestamp", (("event_timestamp", 1.0),))

_BAR_UPDATE = Column(
    "bar_update_timestamp",
    Dtype.TIMESTAMP,
    "last tick in that bar",
    scanner="last_bar_update_time",
)
COIN = Column("coin", Dtype.STRING, "the market's symbol whose values these are", nullable=False)
_BAR_CHECK = Column(
    "bar_check",
    Dtype.STRING,
    "whether that is the bar to expect by the sessions of its exchange",
    values=tuple(BarCheck),
    nullable=False,
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What every source says."""

    frame: str = DAILY
    """Length of the bars that the values describe, of :data:`FRAMES`."""

    command: ClassVar[str]
    """What brings rows: a command of ``tvfeast``."""

    is_history: ClassVar[bool] = False
    """Whether rows may be written long after they were knowable, as history is."""

    @property
    def of_closed_bars(self) -> bool:
        """Whether a row describes a closed bar, and so is final: not what an instant showed."""
        return False

    @property
    def has_all(self) -> bool:
        """Whether every symbol that is asked for is to have a row."""
        return True

    def features(self, given: Sequence[Column]) -> tuple[Column, ...]:
        """Return the features of a group: those that it gives, and those that follow.

        Examples
        --------
        >>> Scanner().features([Column("RSI")])[0].scanner
        'RSI'
        """
        return tuple(map(self.column, given))

    def __post_init__(self) -> None:
        if self.frame not in FRAMES:
            raise CatalogError(f"{self.frame!r} is no frame: {', '.join(FRAMES)} are")

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
        """What is served with the features to say which bar they describe."""
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
    joined_by
        A text that the scanner has for the run's symbols and for that market's, such as
        ``base_currency_id``. Rows are then of the run's symbols, with the values of the market's
        symbol of the same text, which stands in ``coin``.
    """

    market: str | None = None
    joined_by: str | None = None

    command: ClassVar[str] = "flow-data"

    def column(self, feature: Column) -> Column:
        """Return the column with the scanner's name for it: its own where none is given.

        In a frame other than the daily one that name ends in the frame's suffix.

        Examples
        --------
        >>> Scanner(frame="1h").column(Column("RSI[1]")).scanner
        'RSI[1]|60'
        """
        if feature.derived is not None:
            return replace(feature, scanner=None)
        name = (feature.scanner or feature.name).removesuffix(self._suffix)
        return replace(feature, scanner=f"{name}{self._suffix}")

    def columns(self, features: Sequence[Column]) -> tuple[Column, ...]:
        """Return the features between the keys and the instants; then what says which bar it is."""
        instants = (EVENT_TIMESTAMP, CREATED_TIMESTAMP)
        return (TIMESTAMP, SYMBOL, *features, *instants, *self.served_times)

    @property
    def has_all(self) -> bool:
        """Whether every symbol is to have a row; not of another market, by a text of both."""
        return self.joined_by is None

    @property
    def served_times(self) -> tuple[Column, ...]:
        """The bar's open, its last tick and, but for daily bars, whether it is the one to expect.

        Examples
        --------
        >>> [(each.name, each.scanner) for each in Scanner(frame="1h").served_times][::2]
        [('bar_timestamp', 'time|60'), ('bar_check', None)]
        """
        opens = replace(BAR_TIMESTAMP, scanner=f"time{self._suffix}")
        ticks = replace(_BAR_UPDATE, scanner=f"{_BAR_UPDATE.scanner}{self._suffix}")
        if self.joined_by is not None:
            return COIN, opens, ticks
        if self.frame == DAILY:
            return opens, ticks
        meaning = f"open of the bar of {self.frame} that the values describe"
        return replace(opens, meaning=meaning), ticks, _BAR_CHECK

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.joined_by is not None and (self.market is None or self.frame != DAILY):
            raise CatalogError(
                f"rows are joined by {self.joined_by} with those of a market, on {DAILY}: name one"
            )

    @property
    def _suffix(self) -> str:
        return FRAMES[self.frame].suffix

    @property
    def own_market(self) -> str | None:
        """The market; None for what a run is about."""
        return self.market


@dataclass(frozen=True, kw_only=True)
class Files(Source):
    """Rows were computed by others, and are read from files: symbol, event time, values.

    A row is created when it is read, and knowable from its event time on, as its file says.
    """

    command: ClassVar[str] = "import-features"
    is_history: ClassVar[bool] = True

    def columns(self, features: Sequence[Column]) -> tuple[Column, ...]:
        """Return the features between the keys and the instants; a file may name a bar's open."""
        instants = (EVENT_TIMESTAMP, CREATED_TIMESTAMP, BAR_TIMESTAMP)
        return (TIMESTAMP, SYMBOL, *features, *instants)

    @property
    def has_all(self) -> bool:
        """Whether every symbol is to have a row; a file has those that it has."""
        return False


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
    is_history: ClassVar[bool] = True

    @property
    def of_closed_bars(self) -> bool:
        """Whether a row describes a closed bar: each does."""
        return True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frame != DAILY:
            raise CatalogError(f"bars of {self.frame} are not stored: only {DAILY} can be computed")

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
