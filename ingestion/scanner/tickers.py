"""What a fetch of given tickers knows, and what it makes of each answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from ingestion.base.errors import ScannerRefused
from ingestion.scanner.rounds import Campaign
from ingestion.scanner.values import BadRow, Cell, RowReader, first_problem
from ingestion.scanner.wire import Answer, RawRow, Tickers, first_rows

_MOST_HALVINGS = 256
"""Rejected requests that are halved in a run, in the search for tickers that spoil a request: nine
find one among 500. No recording shows such a ticker; unknown ones are left out of the answer."""
_MOST_REJECTIONS_ALONE = 64


class TickerCampaign(Campaign[Tickers]):
    """Every ticker ends in exactly one of ``rows``, ``failed`` and ``absent``.

    Parameters
    ----------
    reader
        Reads the rows.
    seen_bad
        Tickers whose rows could not be used before: another bad row is their last.
    """

    def __init__(self, reader: RowReader, seen_bad: Iterable[str] = ()) -> None:
        super().__init__(reader)
        self.absent: list[str] = []
        self.doubted: dict[str, None] = {}
        """Tickers that one answer left out, in the order of the answers: absent if another does."""
        self.unasked = 0
        self._usable_in_part: dict[str, tuple[Cell, ...]] = {}
        """Rows with bad cells, of tickers that are asked for once more."""
        self._seen_bad = set(seen_bad)
        self._rejections = 0
        self._accepted = False
        self._confirming = False

    @property
    def settled(self) -> int:
        """Tickers whose fate is known."""
        return super().settled + len(self.absent)

    def absorb(self, question: Tickers, answer: Answer) -> list[Tickers]:
        """Take an answer; ask again for bad rows, once, and for what a short page left out."""
        self._accepted = True
        found, problems = self._sort_out(question, answer.rows)
        again = [
            symbol
            for symbol, row in found.items()
            if self._is_asked_again(row, problems.get(symbol), answer.asked_at)
        ]
        missing = [ticker for ticker in question.tickers if ticker not in found]
        if answer.is_whole:
            self._leave_out(missing)
        else:
            again += missing
        return [Tickers(tuple(again))] if again else []

    def confirm(self, size: int) -> list[Tickers]:
        """Return the questions that separate a ticker the scanner does not know from a glitch."""
        self._confirming = True
        return batches(tuple(self.doubted), size)

    def close(self) -> None:
        """Take the first answer's word for tickers that could not be asked again."""
        settled = self.rows.keys() | self.failed.keys() | set(self.absent)
        self.absent += [ticker for ticker in self.doubted if ticker not in settled]

    def split(self, question: Tickers, reason: str) -> list[Tickers]:
        """Halve a rejected batch, to find the ticker that spoils it for the others.

        Raises
        ------
        ScannerRefused
            If the scanner has rejected many requests and accepted none: it is not the tickers.
        """
        self._rejections += 1
        if self._rejections >= _MOST_REJECTIONS_ALONE and not self._accepted:
            raise ScannerRefused(f"the scanner rejects every request: {reason}")
        if len(question) > 1 and self._rejections <= _MOST_HALVINGS:
            return list(question.halves())
        return self._fail(question.tickers, reason)

    def give_up(self, question: Tickers, reason: str) -> None:
        """Record why these tickers have no row."""
        self.was_cut_short = True
        self._fail(question.tickers, reason)

    def _fail(self, tickers: Iterable[str], reason: str) -> list[Tickers]:
        for ticker in tickers:
            if ticker in self._usable_in_part:
                self.rows[ticker] = self._usable_in_part[ticker]
            else:
                self.failed[ticker] = reason
        return []

    def _is_asked_again(self, row: RawRow, problem: str | None, asked_at: datetime) -> bool:
        """Take a row; return whether a better one is asked for, once."""
        symbol = row.symbol
        is_first = symbol not in self._seen_bad
        try:
            if problem:
                raise BadRow(problem)
            cells = self._reader.read(row.values)
        except BadRow as error:
            if not is_first:
                self._fail([symbol], str(error))
        else:
            self.asked_at[symbol] = asked_at
            is_good = not row.is_moving and first_problem(cells) is None
            if is_good or not is_first:
                self.rows[symbol] = cells
                return False
            self._usable_in_part[symbol] = cells
        self._seen_bad.add(symbol)
        return is_first

    def _leave_out(self, missing: Iterable[str]) -> None:
        for ticker in missing:
            if ticker in self._usable_in_part:
                self.rows[ticker] = self._usable_in_part[ticker]
            elif self._confirming:
                self.absent.append(ticker)
            else:
                self.doubted[ticker] = None

    def _sort_out(
        self, question: Tickers, rows: Sequence[RawRow]
    ) -> tuple[dict[str, RawRow], dict[str, str]]:
        """Return the first row of each asked ticker, and the tickers whose rows disagree."""
        asked = set(question.tickers)
        own = [row for row in rows if row.symbol in asked]
        self.unasked += len(rows) - len(own)
        found, problems, repeated = first_rows(own)
        self.duplicates += repeated
        return found, problems


def batches(tickers: Sequence[str], size: int) -> list[Tickers]:
    """Cut tickers into questions of at most ``size``."""
    return [Tickers(tuple(tickers[at : at + size])) for at in range(0, len(tickers), size)]
