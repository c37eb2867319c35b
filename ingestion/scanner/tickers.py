"""What a fetch of given tickers knows, and what it makes of each answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ingestion.base.errors import ScannerRefused
from ingestion.catalog import Column
from ingestion.scanner.rounds import LEFT_OUT
from ingestion.scanner.values import BadRow, Value, read_values
from ingestion.scanner.wire import Answer, RawRow, Tickers

_SHARE_TO_SPLIT = 0.05
_PIECE = 10
_MOST_REJECTIONS_ALONE = 64


class TickerCampaign:
    """Every ticker ends in exactly one of ``rows``, ``failed`` and ``absent``.

    Parameters
    ----------
    asked
        Tickers that will be asked for, in all.
    most_splits
        Rejected batches that are halved in the search for bad tickers; at least a twentieth of
        ``asked``. Beyond it, they are cut into small pieces, and a rejected piece fails.
    seen_bad
        Tickers whose rows could not be used before: another bad row is their last.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        asked: int,
        most_splits: int,
        seen_bad: Iterable[str] = (),
    ) -> None:
        self.rows: dict[str, tuple[Value, ...]] = {}
        self.failed: dict[str, str] = {}
        self.absent: list[str] = []
        self.doubted: dict[str, None] = {}
        """Tickers that one answer left out, in the order of the answers: absent if another does."""
        self.was_cut_short = False
        """Whether questions were given up because asking on made no sense."""
        self.gave_up_waiting = False
        """Whether that was because the scanner failed, and not for what its answers said."""
        self.duplicates = 0
        self.unasked = 0
        self._columns = columns
        self._splits_left = max(most_splits, round(asked * _SHARE_TO_SPLIT))
        self._seen_bad = set(seen_bad)
        self._rejections = 0
        self._accepted = False
        self._confirming = False

    @property
    def fetched(self) -> int:
        """Usable rows so far."""
        return len(self.rows)

    @property
    def gave_up(self) -> int:
        """Tickers that failed for good so far."""
        return len(self.failed)

    @property
    def settled(self) -> int:
        """Tickers whose fate is known."""
        return len(self.rows) + len(self.failed) + len(self.absent)

    def absorb(self, question: Tickers, answer: Answer) -> list[Tickers]:
        """Take an answer; ask again for bad rows, once, and for what a short page left out."""
        self._accepted = True
        found, problems = self._sort_out(question, answer.rows)
        for symbol, row in found.items():
            if symbol not in problems:
                try:
                    self.rows[symbol] = read_values(self._columns, row.values)
                except BadRow as problem:
                    problems[symbol] = str(problem)
        again = self._bad_again(problems)
        missing = [ticker for ticker in question.tickers if ticker not in found]
        if answer.is_whole:
            self._leave_out(missing)
        else:
            again += missing
        return [Tickers(tuple(again))] if again else []

    def confirm(self, size: int) -> list[Tickers]:
        """Return the questions that tell a ticker the scanner does not know from a glitch."""
        self._confirming = True
        return batches(tuple(self.doubted), size)

    def close(self) -> None:
        """Take the first answer's word for tickers that could not be asked again."""
        settled = self.rows.keys() | self.failed.keys() | set(self.absent)
        self.absent += [ticker for ticker in self.doubted if ticker not in settled]

    def split(self, question: Tickers, reason: str) -> list[Tickers]:
        """Cut a rejected batch up, to find the ticker that spoils it for the others.

        Raises
        ------
        ScannerRefused
            If the scanner has rejected many requests and accepted none: it is not the tickers.
        """
        self._rejections += 1
        if self._rejections >= _MOST_REJECTIONS_ALONE and not self._accepted:
            raise ScannerRefused(f"the scanner rejects every request: {reason}")
        if len(question) == 1:
            return self._fail(question, reason)
        if self._splits_left:
            self._splits_left -= 1
            return list(question.halves())
        if len(question) > _PIECE:
            return batches(question.tickers, _PIECE)
        return self._fail(question, reason)

    def give_up(self, question: Tickers, reason: str) -> None:
        """Record why these tickers have no row."""
        self.was_cut_short = True
        self.gave_up_waiting |= reason != LEFT_OUT
        self._fail(question, reason)

    def _fail(self, question: Tickers, reason: str) -> list[Tickers]:
        self.failed.update(dict.fromkeys(question.tickers, reason))
        return []

    def _bad_again(self, problems: dict[str, str]) -> list[str]:
        """Return the tickers to ask for once more; those that had their chance fail."""
        again = []
        for symbol, problem in problems.items():
            if symbol in self._seen_bad:
                self.failed[symbol] = problem
            else:
                self._seen_bad.add(symbol)
                again.append(symbol)
        return again

    def _leave_out(self, missing: Iterable[str]) -> None:
        for ticker in missing:
            if self._confirming:
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


def first_rows(rows: Iterable[RawRow]) -> tuple[dict[str, RawRow], dict[str, str], int]:
    """Sort an answer's rows by symbol.

    Returns
    -------
    tuple
        The first row of each symbol; the symbols whose rows disagree, with the reason; how many
        rows were beyond the first.
    """
    found: dict[str, RawRow] = {}
    problems: dict[str, str] = {}
    repeated = 0
    for row in rows:
        first = found.setdefault(row.symbol, row)
        if first is not row:
            repeated += 1
            if row.values != first.values:
                problems[row.symbol] = "two rows in one answer that disagree"
    return found, problems, repeated
