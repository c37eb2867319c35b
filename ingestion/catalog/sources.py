"""Where a group's rows come from; everything else about the group follows from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import time
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
_COIN = Column("coin", Dtype.STRING, "the market's symbol whose values these are", nullable=False)
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
            return _COIN, opens, ticks
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


class Standing(StrEnum):
    """Where a member's value stands among those of its universe; each names a column."""

    RANK = "rank"
    PERCENTILE = "percentile"
    ZSCORE = "zscore"
    WINSORISED = "winsorised"
    NEUTRALISED = "neutralised"


class Trait(StrEnum):
    """Against what values are neutralised: what was recorded of a member by then."""

    SECTOR = "sector"
    MARKET = "market"
    SIZE = "size"


CLOSE = "close"
COIN = _COIN.name
"""Column of a group whose rows are the values of a coin, each for all pairs of that coin."""
_AT = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_NAMED = re.compile(r"[a-z][a-z0-9_]*:[^:]+")
_UNIVERSE_SIZE = Column(
    "universe_size", Dtype.INT64, "members of the universe, each unit once", low=0, nullable=False
)
_UNIVERSE_HASH = Column(
    "universe_hash", Dtype.STRING, "SHA-256 of the members' symbols, in order", nullable=False
)


@dataclass(frozen=True, kw_only=True)
class CrossSection(Source):
    """Rows say where a member's value stands among those of its universe, once each day.

    Parameters
    ----------
    of
        Features of one other group, as ``group:feature``; one, or several.
    by
        What to compute of each, of :class:`Standing`: ``rank`` (1 is the smallest), ``percentile``
        (0 to 1), ``zscore``, ``winsorised``, ``neutralised``. Columns are named after both, as
        ``momentum_60d_rank``.
    universe
        Whose members are compared: those who were known to be in at that instant.
    at
        When: ``close``, the last close of the members' sessions of a day; or a UTC time on each day
        on which a member has a session, as ``21:30``.
    unit
        Column of ``of``'s group by which members count once: their symbol, or the coin where the
        group has coins.
    against
        What ``neutralised`` takes away by least squares, of :class:`Trait`.
    size, currency
        Columns of one group, as ``group:feature``: a size such as a market value, whose logarithm
        counts, and the currency that it is in. Sizes are compared within one currency: each
        currency has a constant of its own, so that no rate of exchange changes the result.
    tails
        Share of the values that ``winsorised`` limits at each end.

    Raises
    ------
    CatalogError
        If any of it cannot be used.

    Examples
    --------
    >>> source = CrossSection(of="local_1d:RSI", by=["rank", "zscore"], universe="us_large")
    >>> [column.name for column in source.features(())], source.of_group
    (['RSI_rank', 'RSI_zscore'], 'local_1d')
    """

    of: Sequence[str]
    by: Sequence[str]
    universe: str
    at: str = CLOSE
    unit: str = ""
    against: Sequence[str] = ()
    size: str = ""
    currency: str = ""
    tails: float = 0.01
    closed: bool = field(default=False, repr=False)
    """Whether the values that are compared describe closed bars; the catalog says it."""

    command: ClassVar[str] = "local-features"
    is_history: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("of", "by", "against"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        if isinstance(self.at, time):
            object.__setattr__(self, "at", f"{self.at:%H:%M}")
        for problem in self._problems():
            raise CatalogError(f"a cross-section: {problem}")

    def _problems(self) -> Iterator[str]:
        if unnamed := [each for each in self.read if not _NAMED.fullmatch(each)]:
            yield f"{unnamed[0]!r} does not name a feature with its group, as group:feature"
        if not self.of or not self.by:
            yield "say of which features, and by what: of=[…], by=[…]"
        if len({each.partition(":")[0] for each in self.of}) > 1:
            yield "its features are of several groups: declare one group for each"
        for given, kind in ((self.by, Standing), (self.against, Trait)):
            known = [str(each) for each in kind]
            if strange := [each for each in given if each not in known]:
                yield f"{strange[0]!r} is none of {', '.join(known)}"
        for given in (self.of, self.by, self.against):
            if twice := [each for each in given if list(given).count(each) > 1]:
                yield f"{twice[0]!r} is there twice: take one out"
        if self.at != CLOSE and not _AT.fullmatch(self.at):
            yield f"at={self.at!r} is neither {CLOSE!r} nor a UTC time, as '21:30'"
        if (Standing.NEUTRALISED in self.by) != bool(self.against):
            yield "by='neutralised' and against=[…] go together"
        if (Trait.SIZE in self.against) != bool(self.size):
            yield "against='size' and size='group:feature' go together"
        if self.currency and self.currency.partition(":")[0] != self.size.partition(":")[0]:
            yield "size and currency are columns of one group"
        if not 0 < self.tails < 0.5:
            yield f"tails={self.tails!r} is not between 0 and 0.5"

    @property
    def of_group(self) -> str:
        """The group whose features are compared.

        Examples
        --------
        >>> CrossSection(of="mine:beta", by="rank", universe="us_large").of_group
        'mine'
        """
        return self.of[0].partition(":")[0]

    @property
    def when(self) -> str:
        """When the members are compared, for people."""
        return "their last close of a day" if self.at == CLOSE else f"{self.at} UTC"

    @property
    def read(self) -> tuple[str, ...]:
        """All columns that it reads of groups, as ``group:feature``."""
        return (*self.of, *filter(None, (self.size, self.currency)))

    @property
    def of_closed_bars(self) -> bool:
        """Whether the compared values describe closed bars."""
        return self.closed

    @property
    def has_all(self) -> bool:
        """Whether every symbol is to have a row; only the members have one."""
        return False

    def made_of(self) -> Iterator[tuple[str, str, Standing]]:
        """Yield each column's name, the feature that it is made of, and by what.

        Examples
        --------
        >>> list(CrossSection(of="mine:beta", by="rank", universe="us_large").made_of())
        [('beta_rank', 'beta', <Standing.RANK: 'rank'>)]
        """
        for each in self.of:
            name = each.partition(":")[2]
            for by in self.by:
                yield f"{name}_{by}", name, Standing(by)

    def features(self, given: Sequence[Column]) -> tuple[Column, ...]:
        """Return a column for each feature and what is computed of it; a given one replaces it.

        Raises
        ------
        CatalogError
            If a given column follows from nothing, and is not retired.
        """
        replaced = {column.name: column for column in map(self.column, given)}
        follow = [
            replaced.pop(name, self._feature(name, of, by)) for name, of, by in self.made_of()
        ]
        for name, column in replaced.items():
            if not column.retired:
                raise CatalogError(f"{name} follows from no feature of the cross-section")
        return (*follow, *replaced.values())

    def _feature(self, name: str, of: str, by: Standing) -> Column:
        among = f"{of} among {self.universe}"
        if by is Standing.RANK:
            return Column(name, meaning=f"rank of {among}, 1 is the smallest", low=1)
        if by is Standing.PERCENTILE:
            return Column(name, meaning=f"place of {among}, 1 is the largest", low=0, high=1)
        if by is Standing.ZSCORE:
            return Column(name, meaning=f"(value − mean) ÷ deviation of {among}")
        if by is Standing.WINSORISED:
            limited = f"limited to its quantiles {self.tails:g} and {1 - self.tails:g}"
            return Column(name, meaning=f"{among}, {limited}")
        left = f"what {', '.join(self.against)} {'leave' if len(self.against) > 1 else 'leaves'}"
        return Column(name, meaning=f"{left} of {among}")

    def column(self, feature: Column) -> Column:
        """Return the column; nothing of it is asked of the scanner."""
        return replace(feature, scanner=None)

    def columns(self, features: Sequence[Column]) -> tuple[Column, ...]:
        """Return the features between the keys and the instants; then who was compared."""
        event = replace(EVENT_TIMESTAMP, meaning="when the members were compared")
        bar = replace(BAR_TIMESTAMP, meaning="open of the bar that the compared value describes")
        return (TIMESTAMP, SYMBOL, *features, event, CREATED_TIMESTAMP, bar, *self.served_times)

    @property
    def served_times(self) -> tuple[Column, ...]:
        """The universe's size and hash."""
        return _UNIVERSE_SIZE, _UNIVERSE_HASH

    def bound(self, of: tuple[str, bool]) -> CrossSection:
        """Return the source with what is true of the group that it compares: frame, closed bars.

        Examples
        --------
        >>> source = CrossSection(of="one_1h:RSI", by="rank", universe="us_large")
        >>> source.bound(("1h", False)).frame
        '1h'
        """
        frame, closed = of
        return replace(self, frame=frame, closed=closed)
