"""From a vendor's name of an instrument to the unified symbol."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ingestion.bars.file_names import name_in
from ingestion.bars.refusals import Reason
from ingestion.bars.vendor_symbols import is_of_a_feed, unified
from ingestion.base.errors import InputError
from ingestion.markets.symbols import symbol_problem

_FIRST_FEW = 5


@dataclass(frozen=True)
class Named:
    """What a vendor's name of an instrument is."""

    symbol: str | None
    """Unified; None if it is refused."""
    reason: Reason = Reason.SYMBOL
    problem: str = ""


NAMELESS = Named(None, Reason.SYMBOL, "no symbol")


@dataclass(frozen=True)
class Naming:
    """How to make a vendor's names unified."""

    exchange: str | None = None
    """Exchange of bare tickers; none if they are not to be guessed."""
    mapped: dict[str, str] = field(default_factory=dict)
    """Vendor name → unified symbol; decides before the exchange does."""

    @classmethod
    def of(cls, exchange: str | None, symbol_map: Path | None) -> Naming:
        """Check the exchange and read the map.

        Raises
        ------
        InputError
            If either is unusable.
        """
        code = exchange.upper() if exchange is not None else None
        if code is not None and (problem := symbol_problem(f"{code}:A")):
            raise InputError(f"--exchange {exchange}: {problem}")
        return cls(code, {} if symbol_map is None else _read_map(symbol_map))

    def of_file(self, path: Path) -> str:
        """Return the name of the instrument that a file is of, by the file's name.

        Raises
        ------
        InputError
            If the file's name says none.
        """
        return path.stem if path.stem in self.mapped else name_in(path)

    def unify(self, name: str) -> Named:
        """Return the unified symbol of a vendor's name, or what is wrong with that."""
        if not name:
            return NAMELESS
        symbol = self.mapped.get(name) or unified(name.upper(), self.exchange)
        if is_of_a_feed(symbol):
            return Named(None, Reason.EXCHANGE, _of_a_feed(symbol))
        if ":" not in symbol:
            return Named(None, Reason.EXCHANGE, name[:80])
        problem = symbol_problem(symbol)
        if problem:
            return Named(None, Reason.SYMBOL, f"{name[:80]!r}: {problem}")
        return Named(symbol)


def _of_a_feed(symbol: str) -> str:
    feed, _, ticker = symbol.partition(":")
    return (
        f"{symbol[:80]}: {feed} is where prices come from, not the exchange that lists the share: "
        f"write NASDAQ:{ticker[:40]}, NYSE:{ticker[:40]} or AMEX:{ticker[:40]}, or give --exchange"
    )


def demand_exchange(path: Path, names: Iterable[str], named: Iterable[Named]) -> None:
    """Refuse a file whose names are all bare tickers of no exchange.

    Raises
    ------
    InputError
        Naming some of them.
    """
    pairs = list(zip(names, named, strict=True))
    bare = sorted(name for name, each in pairs if each.reason is Reason.EXCHANGE)
    if bare and not any(each.symbol for _, each in pairs):
        first = ", ".join(name[:80] for name in bare[:_FIRST_FEW])
        more = ", …" if len(bare) > _FIRST_FEW else ""
        if is_of_a_feed(bare[0]):
            raise InputError(f"{path}: {_of_a_feed(bare[0])}, or --symbol-map FILE")
        raise InputError(
            f"{path}: no exchange for {first}{more}: give --exchange, such as NASDAQ, or "
            "--symbol-map FILE (vendor name, unified symbol)"
        )


def _read_map(path: Path) -> dict[str, str]:
    """Read a JSON object, or a CSV whose first two columns are vendor name and unified symbol."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            document = json.loads(text)
            if not isinstance(document, dict):
                raise InputError(f"{path} is not a JSON object (vendor name: unified symbol)")
            pairs = [[name, symbol] for name, symbol in document.items()]
        else:
            pairs = [row[:2] for row in csv.reader(text.splitlines()) if any(row)]
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise InputError(f"the symbol map {path} cannot be read: {error}") from None
    mapped: dict[str, str] = {}
    for number, pair in enumerate(pairs, start=1):
        problem = symbol_problem(pair[1]) if len(pair) == 2 else "not two columns"
        if problem and number == 1 and path.suffix.lower() != ".json":
            continue  # a header
        if problem:
            raise InputError(f"the symbol map {path}, entry {number} ({pair[0]}): {problem}")
        mapped[pair[0].strip()] = pair[1]
    return mapped
