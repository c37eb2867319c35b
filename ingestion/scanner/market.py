"""What a fetch of a whole market knows, and what it makes of each page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ingestion.base.errors import ScannerRefused
from ingestion.markets.symbols import symbol_problem
from ingestion.scanner.rounds import LEFT_OUT, Campaign
from ingestion.scanner.values import BadRow, Cell, RowReader, first_problem
from ingestion.scanner.wire import Answer, Page, RawRow, first_rows, shown


class MarketCampaign(Campaign[Page]):
    """Distinct symbols by page; the market itself says how many there are."""

    def __init__(self, reader: RowReader) -> None:
        super().__init__(reader)
        self.lost_pages: list[str] = []
        self.total = 0
        """The largest count of any answer: a smaller one may be a glitch, which must not make the
        market look complete."""
        self._to_improve: dict[str, None] = {}
        """Symbols whose rows have bad cells, or changed between two pieces."""
        self._heard_nothing = False

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
        self.total = max(self.total, answer.total)
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
        return [Page(question.start + got, end)] if question.start + got < end else []

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
