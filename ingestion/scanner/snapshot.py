"""What a scan has brought, and what each table takes of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ingestion.catalog import Column
from ingestion.scanner.rounds import Attempt
from ingestion.scanner.values import Cell, first_problem


@dataclass(frozen=True)
class Snapshot:
    """What the scanner said, and what it left unsaid.

    Examples
    --------
    >>> from ingestion.scanner.values import BadCell
    >>> rsi, close = Column("RSI"), Column("close")
    >>> rows = {"NASDAQ:AAPL": (54.3, 198.5), "NYSE:IBM": (BadCell("RSI: 'n/a'"), 243.0)}
    >>> snapshot = Snapshot((rsi, close), rows, asked=2)
    >>> snapshot.table([close]).rows
    {'NASDAQ:AAPL': (198.5,), 'NYSE:IBM': (243.0,)}
    >>> snapshot.table([rsi]).failed
    {'NYSE:IBM': "RSI: 'n/a'"}
    """

    columns: tuple[Column, ...]
    rows: dict[str, tuple[Cell, ...]]
    """By symbol, one cell per column."""
    failed: dict[str, str] = field(default_factory=dict)
    """By symbol, why there is no row."""
    absent: tuple[str, ...] = ()
    """Symbols that the scanner does not know."""
    asked: int = 0
    """Symbols asked for; of a market, as many as it says it has."""
    attempts: tuple[Attempt, ...] = ()
    duplicates: int = 0
    """Rows beyond the first for their symbol."""
    unasked: int = 0
    """Rows for symbols that were not asked for; dropped."""
    asked_at: dict[str, datetime] = field(default_factory=dict)
    """By symbol of the rows, the instant before the request that brought the row."""
    lost_pages: tuple[str, ...] = ()
    """Pages of a market that were given up, with the reason."""
    was_cut_short: bool = False
    """Whether symbols were given up; then some of ``absent`` were asked for only once."""
    unknown: tuple[str, ...] = ()
    """Optional columns that the scanner does not know, by its names; they are null."""

    @property
    def shortfall(self) -> int:
        """Symbols that were asked for and are in none of the above."""
        return max(0, self.asked - len(self.rows) - len(self.failed) - len(self.absent))

    @property
    def is_complete(self) -> bool:
        """Whether it shows all symbols that the scanner knows, of those asked for."""
        return not (self.was_cut_short or self.lost_pages or self.shortfall)

    def table(self, columns: Sequence[Column]) -> Snapshot:
        """Return what it says of some columns; those that it lacks are null.

        A row fails if one of these cells cannot be used.
        """
        places = [self.columns.index(each) if each in self.columns else None for each in columns]
        rows: dict[str, tuple[Cell, ...]] = {}
        failed = dict(self.failed)
        for symbol, row in self.rows.items():
            cells = tuple(None if place is None else row[place] for place in places)
            if problem := first_problem(cells):
                failed[symbol] = problem
            else:
                rows[symbol] = cells
        return replace(self, columns=tuple(columns), rows=rows, failed=failed)

    def without(self, symbols: Collection[str]) -> Snapshot:
        """Return it without what it says of some symbols; they count as asked for."""
        return replace(
            self,
            rows={symbol: row for symbol, row in self.rows.items() if symbol not in symbols},
            failed={symbol: why for symbol, why in self.failed.items() if symbol not in symbols},
            absent=tuple(symbol for symbol in self.absent if symbol not in symbols),
        )
