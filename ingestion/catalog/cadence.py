"""How often a group of the scanner is worth asking, and in what hours of a symbol's market."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from ingestion.base.errors import CatalogError


class Cadence(StrEnum):
    """How often a group is worth asking."""

    EACH_RUN = "each run"
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"

    @classmethod
    def of(cls, value: Cadence | str) -> Cadence:
        """Return a cadence by its name.

        Raises
        ------
        CatalogError
            If there is none of that name.

        Examples
        --------
        >>> Cadence.of("daily")
        <Cadence.DAILY: 'daily'>
        """
        try:
            return cls(value)
        except ValueError:
            names = ", ".join(cls)
            raise CatalogError(f"{value!r} is no cadence: {names} are") from None

    @property
    def period(self) -> timedelta | None:
        """The time between two questions; None for each run."""
        return _PERIODS.get(self)

    @property
    def from_age(self) -> timedelta:
        """How old a row must be for the next question: a period, less what a run may be early."""
        period = self.period or timedelta()
        return period - min(period / 4, timedelta(hours=6))


_PERIODS = {
    Cadence.HOURLY: timedelta(hours=1),
    Cadence.DAILY: timedelta(days=1),
    Cadence.WEEKLY: timedelta(weeks=1),
}


class AskedWhile(StrEnum):
    """In what hours of a symbol's market a group is worth asking."""

    ANY = "any"
    OPEN = "open"
    """While a session runs, and once after its end."""
    CLOSED = "closed"
    """After a session's end, until the next one begins."""

    @classmethod
    def of(cls, value: AskedWhile | str) -> AskedWhile:
        """Return them by their name.

        Raises
        ------
        CatalogError
            If there are none of that name.

        Examples
        --------
        >>> AskedWhile.of("closed")
        <AskedWhile.CLOSED: 'closed'>
        """
        try:
            return cls(value)
        except ValueError:
            raise CatalogError(f"{value!r} are no market hours: {', '.join(cls)} are") from None
