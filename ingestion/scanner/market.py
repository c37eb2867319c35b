"""What a fetch of a whole market knows, and what it makes of each page."""

from __future__ import annotations

from collections.abc import Sequence

from feature_repo.catalog import Column
from ingestion.errors import ScannerRefused
from ingestion.scanner.values import BadRow, Value, read_values
from ingestion.scanner.wire import Answer, Page
from ingestion.symbols import symbol_problem


class MarketCampaign:
    """Distinct symbols by page; the market itself says how many there are."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.rows: dict[str, tuple[Value, ...]] = {}
        self.failed: dict[str, str] = {}
        self.lost_pages: list[str] = []
        self.total = 0
        self.duplicates = 0
        self._columns = columns

    @property
    def fetched(self) -> int:
        """Usable rows so far."""
        return len(self.rows)

    @property
    def gave_up(self) -> int:
        """Symbols whose rows cannot be used, so far."""
        return len(self.failed)

    @property
    def is_complete(self) -> bool:
        """Whether as many symbols were seen as the market counts."""
        return len(self.rows) + len(self.failed) >= self.total

    def absorb(self, question: Page, answer: Answer) -> list[Page]:
        """Take a page; ask again for what it left out of its range."""
        self.total = answer.total
        for row in answer.rows:
            if row.symbol in self.rows:
                self.duplicates += 1
                continue
            try:
                if problem := symbol_problem(row.symbol):
                    raise BadRow(problem)
                self.rows[row.symbol] = read_values(self._columns, row.values)
                self.failed.pop(row.symbol, None)
            except BadRow as error:
                self.failed[row.symbol] = str(error)
        got = len(answer.rows) + answer.illegible
        end = min(question.end, answer.total)
        return [Page(question.start + got, end)] if question.start + got < end else []

    def split(self, question: Page, reason: str) -> list[Page]:
        """Refuse: a page names no ticker that could be to blame."""
        raise ScannerRefused(f"rows {question.start} to {question.end} of the market: {reason}")

    def give_up(self, question: Page, reason: str) -> None:
        """Record a page that stays unread."""
        self.lost_pages.append(f"rows {question.start} to {question.end}: {reason}")
