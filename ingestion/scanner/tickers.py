"""What a fetch of given tickers knows, and what it makes of each answer."""

from __future__ import annotations

from collections.abc import Sequence

from feature_repo.catalog import Column
from ingestion.scanner.values import BadRow, Value, read_values
from ingestion.scanner.wire import Answer, RawRow, Tickers


class TickerCampaign:
    """Every ticker ends in exactly one of ``rows``, ``failed`` and ``absent``."""

    def __init__(self, columns: Sequence[Column], most_splits: int) -> None:
        self.rows: dict[str, tuple[Value, ...]] = {}
        self.failed: dict[str, str] = {}
        self.absent: list[str] = []
        self.duplicates = 0
        self.unasked = 0
        self._columns = columns
        self._splits_left = most_splits
        self._seen_bad: set[str] = set()

    @property
    def fetched(self) -> int:
        """Usable rows so far."""
        return len(self.rows)

    @property
    def gave_up(self) -> int:
        """Tickers that failed for good so far."""
        return len(self.failed)

    def absorb(self, question: Tickers, answer: Answer) -> list[Tickers]:
        """Take an answer; ask again for bad rows, once, and for what a short page left out."""
        found, problems = self._sort_out(question, answer.rows)
        for symbol, row in found.items():
            if symbol not in problems:
                try:
                    self.rows[symbol] = read_values(self._columns, row.values)
                except BadRow as problem:
                    problems[symbol] = str(problem)
        again = []
        for symbol, problem_text in problems.items():
            if symbol in self._seen_bad:
                self.failed[symbol] = problem_text
            else:
                self._seen_bad.add(symbol)
                again.append(symbol)
        missing = [ticker for ticker in question.tickers if ticker not in found]
        if answer.is_whole:
            self.absent += missing
        else:
            again += missing
        return [Tickers(tuple(again))] if again else []

    def split(self, question: Tickers, reason: str) -> list[Tickers]:
        """Halve a rejected batch, to find the ticker that spoils it for the others."""
        if len(question) == 1 or not self._splits_left:
            return []
        self._splits_left -= 1
        return list(question.halves())

    def give_up(self, question: Tickers, reason: str) -> None:
        """Record why these tickers have no row."""
        self.failed.update(dict.fromkeys(question.tickers, reason))

    def _sort_out(
        self, question: Tickers, rows: list[RawRow]
    ) -> tuple[dict[str, RawRow], dict[str, str]]:
        """Return the first row of each asked ticker, and the tickers whose rows disagree."""
        asked = set(question.tickers)
        found: dict[str, RawRow] = {}
        problems: dict[str, str] = {}
        for row in rows:
            if row.symbol not in asked:
                self.unasked += 1
            elif row.symbol not in found:
                found[row.symbol] = row
            else:
                self.duplicates += 1
                if row.values != found[row.symbol].values:
                    problems[row.symbol] = "two rows in one answer that disagree"
        return found, problems
