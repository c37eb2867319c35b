"""The declaration of a formula: what is computed from bars, and how far back it reads.

The function that computes it is declared with it in :mod:`ingestion.formulas`, or in a file of a
project's ``formulas/``. What the catalog needs is here, and needs no NumPy.

A column of a group of computed features is made from a formula's ``name``, ``meaning``, ``unit``,
``low`` and ``high``; it is a double and may be null. The group's limits are
:func:`beyond_limits`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from ingestion.base.errors import InputError
from ingestion.catalog.quality import PerColumn

MONEY = "price"
"""The unit of what is measured in the money of the bar's own day."""

LookBack = int | timedelta | Literal["all"]


@dataclass(frozen=True)
class RuleSet:
    """The rules of a formula whose source changes them under an unchanged name.

    Examples
    --------
    >>> print(RuleSet("second edition", date(2024, 12, 26), "the book's page 7"))
    rule set second edition, in the source since 2024-12-26 (the book's page 7)
    """

    name: str
    since: date
    """From when the source has it; what the source serves may follow later."""
    source: str
    differs: str = ""
    """In what the formula differs from the source's newest rules; empty if in nothing."""

    def __str__(self) -> str:
        differs = f"; {self.differs}" if self.differs else ""
        return f"rule set {self.name}, in the source since {self.since} ({self.source}){differs}"


@dataclass(frozen=True)
class Formula:
    """One value per bar, computed from that bar and earlier ones of its symbol.

    Raises
    ------
    InputError
        If the declaration contradicts itself.

    Examples
    --------
    >>> gap = Formula("gap", "open ÷ previous close − 1", look_back=1, low=-1)
    >>> gap.first_bar, gap.follows_clock
    (1, False)
    """

    name: str
    meaning: str
    look_back: LookBack
    """How far before its own bar a value reads.

    A number of bars; or a time, where the value is measured from the bar that was open that long
    before; or ``"all"``, all bars of the symbol. Where a session is missing, a value is null for
    ``look_back`` bars behind it.
    """
    unit: str = ""
    low: float | None = None
    """Smallest possible value, inclusive; none if unbounded."""
    high: float | None = None
    """Largest possible value, inclusive; none if unbounded."""
    recursive: bool = False
    """Whether it is built from the moving averages that never forget (EMA, Wilder's).

    ``look_back`` is then the bars before the first value that reads only such averages as are
    defined, which is when they count as defined again behind a missing session.
    """
    warm_up: int | None = None
    """The first bar, counted from 0, at which it can be defined; ``look_back`` if none is given."""
    scanned: bool = False
    """Whether TradingView's scanner serves it too, under the same name."""
    max_beyond_share: float | None = None
    """Limit of its share of served values that differ, where the usual one would not do."""
    rules: RuleSet | None = None
    """Which of its source's rule sets it follows; None where there is only one."""

    def __post_init__(self) -> None:
        if complaint := _complaint(self):
            raise InputError(f"formula {self.name!r}: {complaint}")

    @property
    def follows_clock(self) -> bool:
        """Whether it counts days and not bars: it moves while the market sleeps."""
        return isinstance(self.look_back, timedelta)

    @property
    def first_bar(self) -> int:
        """The first bar, counted from 0, at which it can be defined."""
        if self.warm_up is not None:
            return self.warm_up
        return self.look_back if isinstance(self.look_back, int) else 0


def beyond_limits(formulas: Iterable[Formula], default: float | None) -> PerColumn:
    """Return the limits on served values that differ: the formulas' own, another for the rest.

    Examples
    --------
    >>> plain = Formula("plain", "…", look_back=1)
    >>> clocked = Formula("clocked", "…", look_back=199, max_beyond_share=0.2)
    >>> limits = beyond_limits([plain, clocked], 0.05)
    >>> limits.of("plain"), limits.of("clocked")
    (0.05, 0.2)
    """
    own = ((each.name, each.max_beyond_share) for each in formulas)
    return PerColumn(default, tuple((name, limit) for name, limit in own if limit is not None))


def _complaint(formula: Formula) -> str | None:
    name, back, warm_up = formula.name, formula.look_back, formula.warm_up
    if (
        not isinstance(name, str)
        or not name
        or not name.isprintable()
        or set(name) & set(" :,`'\"")
    ):
        return "a name is a text without spaces, colons, commas and quotes"
    if not formula.meaning:
        return "say in `meaning` what it is"
    if isinstance(back, timedelta):
        if back <= timedelta(0):
            return f"a look_back by the clock is above 0, not {back}"
    elif back != "all" and (not isinstance(back, int) or isinstance(back, bool) or back < 0):
        return f'look_back is a number of bars, a timedelta or "all", not {back!r}'
    if formula.recursive and not isinstance(back, int):
        return "with recursive=True, look_back is the number of bars before the first value"
    if warm_up is not None and warm_up < 0:
        return f"warm_up is a bar counted from 0, not {warm_up}"
    if warm_up is not None and isinstance(back, int) and warm_up > back:
        return f"warm_up {warm_up} is beyond look_back {back}: it would be defined before that"
    if formula.low is not None and formula.high is not None and formula.low > formula.high:
        return f"low {formula.low:g} is above high {formula.high:g}"
    return None
