"""What a fetch of a whole market knows, and what it makes of each page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from ingestion.base.errors import ScannerRefused
from ingestion.catalog import Listing
from ingestion.markets.symbols import symbol_problem
from ingestion.scanner.rounds import LEFT_OUT, Attempt, Campaign
from ingestion.scanner.values import BadRow, Cell, RowReader, first_problem
from ingestion.scanner.wire import Answer, Page, RawRow, first_rows, shown


class MarketCampaign(Campaign[Page]):
    """Distinct symbols by page; the market itself says how many there are.

    Parameters
    ----------
    limit
        How many of them are wanted; all if None.
    """

    def __init__(self, reader: RowReader, limit: int | None = None) -> None:
        super().__init__(reader)
        self.lost_pages: list[str] = []
        self.matches = 0
        """The largest count of any answer: a smaller one may be a glitch, which must not make the
        market look complete."""
        self._limit = limit
        self._to_improve: dict[str, None] = {}
        """Symbols whose rows have bad cells, or changed between two pieces."""
        self._heard_nothing = False

    @property
    def total(self) -> int:
        """How many symbols are wanted."""
        return self.matches if self._limit is None else min(self.matches, self._limit)

    @property
    def is_complete(self) -> bool:
        """Whether as many symbols were seen as the market counts."""
        return self.settled >= self.total

    @property
    def to_ask_by_name(self) -> tuple[str, ...]:
        """Symbols without a good row that can be asked for by name."""
        wanting = (*self.failed, *self._to_improve)
        return tuple(symbol for symbol in wanting if not symbol_problem(symbol))

    def absorb(self, question: Page, answer: Answer) -> list[Page]:
        """Take a page; ask again for what it left out of its range."""
        self.matches = max(self.matches, answer.total)
        if not self.total and not answer.rows:
            return self._doubt(question)
        found, problems, repeated = first_rows(answer.rows)
        self.duplicates += repeated
        for symbol, row in found.items():
            if symbol in self.rows:
                self.duplicates += 1
            else:
                self._take(row, problems.get(symbol), answer.asked_at)
        got = len(answer.rows) + answer.illegible
        end = min(question.end, self.total)
        start = question.start + got
        return [replace(question, start=start, end=end)] if start < end else []

    def improve(
        self, rows: Mapping[str, tuple[Cell, ...]], asked_at: Mapping[str, datetime]
    ) -> None:
        """Take rows that came when their symbols were asked for by name."""
        for symbol, cells in rows.items():
            self.rows[symbol] = cells
            self.failed.pop(symbol, None)
        self.asked_at |= asked_at

    def split(self, question: Page, reason: str) -> list[Page]:
        """Refuse: a page names no ticker that could be to blame."""
        raise ScannerRefused(f"rows {question.start} to {question.end} of the market: {reason}")

    def give_up(self, question: Page, reason: str) -> None:
        """Record a page that stays unread."""
        self.was_cut_short |= reason != LEFT_OUT
        self.lost_pages.append(f"rows {question.start} to {question.end}: {reason}")

    def _doubt(self, question: Page) -> list[Page]:
        """Ask once more before believing that a market is empty."""
        first, self._heard_nothing = not self._heard_nothing, True
        return [question] if first else []

    def _take(self, row: RawRow, problem: str | None, asked_at: datetime) -> None:
        try:
            if problem := symbol_problem(row.symbol) or problem:
                raise BadRow(problem)
            cells = self.rows[row.symbol] = self._reader.read(row.values)
            self.asked_at[row.symbol] = asked_at
            self.failed.pop(row.symbol, None)
            if row.is_moving or first_problem(cells):
                self._to_improve[row.symbol] = None
        except BadRow as error:
            # It may be no text, or of any length, and goes into the receipt.
            self.failed[shown(row.symbol)] = str(error)


@dataclass(frozen=True)
class Listed:
    """What the scanner has listed."""

    symbols: tuple[str, ...]
    """Usable symbols, each once."""
    unusable: tuple[str, ...]
    """Names that are no symbols."""
    matches: int
    """How many symbols the scanner counts."""
    limit: int | None
    lost_pages: tuple[str, ...]
    attempts: tuple[Attempt, ...]

    @classmethod
    def of(
        cls, campaign: MarketCampaign, listing: Listing, attempts: tuple[Attempt, ...]
    ) -> Listed:
        """Return what a campaign has found; a row that cannot be used shows its symbol too."""
        names = (*campaign.rows, *campaign.failed)
        return cls(
            symbols=tuple(name for name in names if not symbol_problem(name)),
            unusable=tuple(name for name in names if symbol_problem(name)),
            matches=campaign.matches,
            limit=listing.limit,
            lost_pages=tuple(campaign.lost_pages),
            attempts=attempts,
        )

    @property
    def wanted(self) -> int:
        """How many symbols a complete answer has."""
        return self.matches if self.limit is None else min(self.matches, self.limit)

    @property
    def is_complete(self) -> bool:
        """Whether it has as many rows as the scanner counts, or as the limit, and any symbol."""
        found = len(self.symbols) + len(self.unusable)
        return found == self.wanted and not self.lost_pages and bool(self.symbols)
