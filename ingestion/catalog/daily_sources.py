"""Which exchanges' closed bars a flow fetches from which bar source: ``sources.toml``.

The scanner shows one bar per symbol. Of markets that never close it is the running one, so their
closed bars come from a bar source; a project may give other exchanges to one too::

    # feature_repo/sources.toml
    [daily]
    BINANCE = "binance"
    NYSE = "yahoo"

    [from]                   # where a new symbol begins; without a line, with its first bar
    binance = 2019-01-01
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from ingestion.base.errors import CatalogError
from ingestion.base.wording import did_you_mean
from ingestion.catalog.bar_source import BarSource

FILE = "sources.toml"


@dataclass(frozen=True)
class DailySources:
    """What ``sources.toml`` says."""

    sources: Mapping[str, str] = field(default_factory=dict, hash=False)
    """By exchange, as TradingView writes it, the bar source that flows ask."""
    firsts: Mapping[str, date] = field(default_factory=dict, hash=False)
    """By bar source, the session with which a new symbol begins."""

    @property
    def names(self) -> tuple[str, ...]:
        """The bar sources that flows ask, each once.

        Examples
        --------
        >>> DailySources({"NYSE": "mine", "NASDAQ": "mine", "BINANCE": "coins"}).names
        ('mine', 'coins')
        """
        return tuple(dict.fromkeys(self.sources.values()))

    def exchanges(self, source: str) -> tuple[str, ...]:
        """Return the exchanges that flows ask a bar source for.

        Examples
        --------
        >>> DailySources({"NYSE": "mine", "NASDAQ": "mine", "BINANCE": "coins"}).exchanges("mine")
        ('NYSE', 'NASDAQ')
        """
        return tuple(code for code, name in self.sources.items() if name == source)

    def symbols(self, source: str, among: Iterable[str]) -> tuple[str, ...]:
        """Return the symbols whose closed bars a bar source gives.

        Examples
        --------
        >>> DailySources({"BINANCE": "coins"}).symbols("coins", ["NYSE:KO", "BINANCE:BTCUSDT"])
        ('BINANCE:BTCUSDT',)
        """
        own = set(self.exchanges(source))
        return tuple(each for each in among if each.partition(":")[0] in own)


def load_daily_sources(repository: Path | None, sources: Collection[BarSource]) -> DailySources:
    """Read a project's ``sources.toml``; nothing is fetched daily where there is none.

    Raises
    ------
    CatalogError
        If it cannot be read, or names a bar source that is not there or does not know the exchange.

    Examples
    --------
    >>> load_daily_sources(None, []).names
    ()
    """
    path = None if repository is None else repository / FILE
    if path is None or not path.is_file():
        return DailySources()
    try:
        text = path.read_text(encoding="utf-8")
        told = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise CatalogError(f"{path} cannot be read: {error}") from None
    daily, firsts = told.pop("daily", {}), told.pop("from", {})
    if told or not isinstance(daily, dict) or not isinstance(firsts, dict):
        raise CatalogError(
            f'{path}: write [daily] and below it lines such as BINANCE = "binance"; and [from] '
            "with lines such as binance = 2019-01-01, if new symbols are not to begin with their "
            "listing"
        )
    known = {source.name: source for source in sources}

    def fault(word: str, what: str) -> CatalogError:
        lines = enumerate(text.splitlines(), start=1)
        line = next((number for number, each in lines if each.strip().startswith(word)), 1)
        return CatalogError(f"{path}, line {line}: {what}")

    for exchange, name in daily.items():
        if not isinstance(name, str) or name not in known:
            near = did_you_mean(str(name), known)
            there = ", ".join(known) or "none"
            raise fault(exchange, f"there is no bar source {name!r}{near}; there are {there}")
        if not known[name].has(f"{exchange}:"):
            has = ", ".join(known[name].exchanges)
            raise fault(exchange, f"{name} has no bars of {exchange}; it has those of {has}")
    for name, first in firsts.items():
        if name not in daily.values():
            raise fault(name, f"no line of [daily] names {name!r}")
        if not isinstance(first, date) or isinstance(first, datetime):
            raise fault(name, f"{first!r} is no date such as 2019-01-01, without quotes")
    return DailySources(daily, firsts)
