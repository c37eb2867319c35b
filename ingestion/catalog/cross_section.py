"""Groups that compare the members of a universe: ranks, scores, and what is left of values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import time
from enum import StrEnum
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
from ingestion.catalog.sources import Source


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
