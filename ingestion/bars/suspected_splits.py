"""What may be a split that nobody recorded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ingestion.base.instants import utc


@dataclass
class SuspectedSplit:
    """A change of a symbol's prices as by a split; it may be another unit, or a real move."""

    symbol: str
    bar_open: int
    """Of the first bar in the new money, Unix seconds."""
    ratio: Fraction | None
    """New shares for an old one; None if it is that of no usual split, or hidden by a gap."""
    close_before: float
    """The last close in the old money."""
    close_after: float
    """In the new money: the next close, or the same one as the scanner has it now."""

    @property
    def date(self) -> str:
        """The bar's open, as a splits file takes it."""
        return utc_text(self.bar_open)

    @property
    def ratio_text(self) -> str:
        """The ratio for people: ``4:1``, or ``about 3.87:1``."""
        if self.ratio is None:
            return f"about {self.close_before / self.close_after:.3g}:1"
        return f"{self.ratio.numerator}:{self.ratio.denominator}"

    @property
    def record(self) -> str:
        """The line of a splits file (symbol, date, ratio) that settles it; ``?`` if not known."""
        return f"{self.symbol},{self.date},{'?' if self.ratio is None else self.ratio_text}"

    def document(self) -> dict[str, object]:
        """Return what receipts say of it."""
        names = ("symbol", "date", "close_before", "close_after", "record")
        return {"ratio": self.ratio_text} | {name: getattr(self, name) for name in names}


def utc_text(seconds: int) -> str:
    """Return an instant as a splits file takes it.

    Examples
    --------
    >>> utc_text(1622122200)
    '2021-05-27T13:30:00Z'
    """
    return f"{utc(seconds):%Y-%m-%dT%H:%M:%SZ}"
