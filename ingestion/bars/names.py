"""From a vendor's name of an instrument to the unified symbol."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ingestion.errors import InputError
from ingestion.symbols import symbol_problem

_FIRST_FEW = 5


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

    def unify(self, path: Path, names: Iterable[str]) -> list[tuple[str | None, str]]:
        """Return, for each name, the unified symbol or None, and what is wrong with it.

        Raises
        ------
        InputError
            If a name is a bare ticker and nothing says of which exchange.
        """
        unified: list[tuple[str | None, str]] = []
        bare: list[str] = []
        for name in names:
            symbol = self.mapped.get(name)
            if symbol is None:
                symbol = name.upper()
                if symbol and ":" not in symbol:
                    if self.exchange is None:
                        bare.append(name)
                    symbol = f"{self.exchange}:{symbol}"
            problem = symbol_problem(symbol) if symbol else "no symbol"
            unified.append((None, f"{name[:80]!r}: {problem}") if problem else (symbol, ""))
        if bare:
            first = ", ".join(name[:80] for name in sorted(bare)[:_FIRST_FEW])
            more = ", …" if len(bare) > _FIRST_FEW else ""
            raise InputError(
                f"{path}: no exchange for {first}{more}: give --exchange, such as NASDAQ, or "
                "--symbol-map FILE (vendor name, unified symbol)"
            )
        return unified


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
