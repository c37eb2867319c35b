"""What a run is about: the symbols of a file, or a whole market of the scanner."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from ingestion.markets.candidates import Candidates
from ingestion.markets.symbols import exchange_of


@dataclass(frozen=True)
class Market:
    """A whole market, which only its own pages list."""

    slug: str
    """The scanner's name for it: ``america``, ``crypto``, …"""

    symbols: ClassVar[None] = None
    problems: ClassVar[tuple[str, ...]] = ()

    @property
    def profile(self) -> str:
        """The name under which a run of it is known."""
        return self.slug


Universe = Candidates | Market


def not_shown(universe: Universe, shown: Collection[str], known: Iterable[str]) -> list[str]:
    """Return those of some known symbols that belong to a universe and were not shown.

    No row says of which market it is. So of a market, those count that are of an exchange which it
    has shown.

    Examples
    --------
    >>> not_shown(Market("america"), ["NYSE:A"], ["NYSE:A", "NYSE:B", "XETR:SAP"])
    ['NYSE:B']
    """
    if universe.symbols is not None:
        asked = set(universe.symbols)
        return [symbol for symbol in known if symbol in asked and symbol not in shown]
    exchanges = set(map(exchange_of, shown))
    return [symbol for symbol in known if symbol not in shown and exchange_of(symbol) in exchanges]


def read_universe(told: Any) -> Universe:
    """Return the universe that a receipt names; version 0.1.0 wrote a market as a text.

    Raises
    ------
    LookupError, TypeError
        If it names none.
    """
    if isinstance(told, str):
        return Market(told)
    if "slug" in told:
        return Market(_text(told["slug"]))
    return Candidates(_text(told["profile"]), _texts(told["symbols"]), (), 0)


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    several = tuple(values)
    if set(map(type, several)) - {str}:  # to ask each alone takes ten times as long
        return tuple(map(_text, several))
    return several


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
