"""Fetch rows for given tickers, or for a whole market.

Both account for everything they asked: a row, a reason, or the scanner's word that it does not
know the symbol.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

from ingestion.base.errors import InputError
from ingestion.catalog import Column
from ingestion.scanner.market import MarketCampaign
from ingestion.scanner.rounds import Attempt, run_rounds
from ingestion.scanner.tickers import TickerCampaign, batches
from ingestion.scanner.transport import ScannerOptions, Transport
from ingestion.scanner.values import Value
from ingestion.scanner.wire import Answer, Page, Tickers

_MOST_PASSES = 2
_MARKET = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True)
class Snapshot:
    """What the scanner said, and what it left unsaid."""

    columns: tuple[Column, ...]
    rows: dict[str, tuple[Value, ...]]
    """By symbol, a value a column; see :func:`ingestion.scanner.values.read_values`."""
    failed: dict[str, str]
    """By symbol, why there is no row."""
    absent: tuple[str, ...]
    """Symbols that the scanner does not know."""
    asked: int
    """Symbols asked for; of a market, as many as it says it has."""
    attempts: tuple[Attempt, ...]
    duplicates: int
    """Rows beyond the first for their symbol."""
    unasked: int
    """Rows for symbols that were not asked for; dropped."""
    lost_pages: tuple[str, ...] = ()
    """Pages of a market that were given up, with the reason."""
    was_cut_short: bool = False
    """Whether symbols were given up; then some of ``absent`` were asked for only once."""
    gave_up_waiting: bool = False
    """Whether the scanner failed for longer than the retries last."""

    @property
    def shortfall(self) -> int:
        """Symbols of a market that no page showed."""
        return max(0, self.asked - len(self.rows) - len(self.failed) - len(self.absent))


def _no_progress(_: int) -> None:
    """Show nothing."""


class ScannerClient:
    """Bulk access to the scanner; a context manager that keeps one session.

    Parameters
    ----------
    url
        The scanner's URL without a trailing slash.
    session_id
        TradingView session cookie, for real-time data; sent to that URL only.
    """

    def __init__(
        self, url: str, options: ScannerOptions | None = None, session_id: str | None = None
    ) -> None:
        self._options = options or ScannerOptions()
        self._transport = Transport(url, self._options, session_id)

    def __enter__(self) -> ScannerClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._transport.close()

    def fetch(
        self,
        tickers: Sequence[str],
        columns: Sequence[Column],
        progress: Callable[[int], None] = _no_progress,
    ) -> Snapshot:
        """Fetch one row a ticker, of whatever exchanges, from ``global/scan``.

        A ticker that an answer leaves out is asked for once more: one empty answer must not pass
        for the scanner's word that it does not know a whole batch.

        Raises
        ------
        UnknownColumn, ScannerRefused
            If asking on would not help, as when every request is rejected. Failures of single
            tickers or batches end in :attr:`Snapshot.failed` instead.
        """
        distinct = tuple(dict.fromkeys(tickers))
        campaign = TickerCampaign(columns, len(distinct), self._options.most_splits)
        attempts = self._ask_tickers(campaign, "global", distinct, columns, progress)
        return Snapshot(
            columns=tuple(columns),
            rows=campaign.rows,
            failed=campaign.failed,
            absent=tuple(campaign.absent),
            asked=len(distinct),
            attempts=_numbered(attempts),
            duplicates=campaign.duplicates,
            unasked=campaign.unasked,
            was_cut_short=campaign.was_cut_short,
            gave_up_waiting=campaign.gave_up_waiting,
        )

    def fetch_market(
        self,
        market: str,
        columns: Sequence[Column],
        progress: Callable[[int], None] = _no_progress,
        announce: Callable[[int], None] = _no_progress,
    ) -> Snapshot:
        """Fetch every symbol of a market (``america``, ``crypto``, …), page by page.

        A listing may move from one page to the next between two requests, so the pages are read
        again, half a page apart, when they show fewer distinct symbols than the market counts.

        Parameters
        ----------
        progress
            Called with the number of symbols that an answer settled.
        announce
            Called with the number of symbols once it is known, before the first progress, and again
            when it grows.

        Raises
        ------
        InputError
            If the market's name is not one.
        UnknownColumn, ScannerRefused
            If asking on would not help; an unknown market is a refusal.
        """
        campaign = MarketCampaign(columns)
        announced = 0

        def report(settled: int) -> None:
            nonlocal announced
            if campaign.total > announced:
                announced = campaign.total
                announce(announced)
            progress(settled)

        attempts = self._read_pages(campaign, market, columns, report)
        attempts += self._mend(campaign, market, columns)
        return Snapshot(
            columns=tuple(columns),
            rows=campaign.rows,
            failed=campaign.failed,
            absent=(),
            asked=campaign.total,
            attempts=_numbered(attempts),
            duplicates=campaign.duplicates,
            unasked=0,
            lost_pages=tuple(campaign.lost_pages),
            gave_up_waiting=campaign.was_cut_short,
        )

    def _read_pages(
        self,
        campaign: MarketCampaign,
        market: str,
        columns: Sequence[Column],
        progress: Callable[[int], None],
    ) -> list[Attempt]:
        ask = self._asker(market, columns)
        size = self._options.batch_size
        attempts = run_rounds(campaign, [Page(0, size)], ask, self._options, progress)
        start = size
        for _ in range(_MOST_PASSES):
            if campaign.is_complete or campaign.lost_pages:
                break
            pages = [Page(max(at, 0), at + size) for at in range(start, campaign.total, size)]
            pages = [page for page in pages if len(page)]
            attempts += run_rounds(campaign, pages, ask, self._options, progress)
            start = size // 2 - size
        return attempts

    def _mend(
        self, campaign: MarketCampaign, market: str, columns: Sequence[Column]
    ) -> list[Attempt]:
        """Ask once by name for the symbols whose rows could not be used."""
        symbols = campaign.mendable
        # Asking a scanner that is down for more would only take longer.
        if not symbols or campaign.was_cut_short:
            return []
        again = TickerCampaign(columns, len(symbols), self._options.most_splits, seen_bad=symbols)
        attempts = self._ask_tickers(again, market, symbols, columns, _no_progress)
        campaign.mend(again.rows)
        return attempts

    def _ask_tickers(
        self,
        campaign: TickerCampaign,
        market: str,
        tickers: Sequence[str],
        columns: Sequence[Column],
        progress: Callable[[int], None],
    ) -> list[Attempt]:
        """Ask for tickers, and once more for those that an answer has left out."""
        ask, size = self._asker(market, columns), self._options.batch_size
        attempts = run_rounds(campaign, batches(tickers, size), ask, self._options, progress)
        if not campaign.was_cut_short:
            questions = campaign.confirm(size)
            attempts += run_rounds(campaign, questions, ask, self._options, progress)
        settled = campaign.settled
        campaign.close()
        progress(campaign.settled - settled)
        return attempts

    def _asker(self, market: str, columns: Sequence[Column]) -> Callable[[Tickers | Page], Answer]:
        if not _MARKET.fullmatch(market):
            raise InputError(f"{market!r} is not the name of a market, such as america or crypto")
        names = [column.scanner or column.name for column in columns]
        return lambda question: self._transport.scan(market, question, names)


def _numbered(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    return tuple(replace(attempt, idx=idx) for idx, attempt in enumerate(attempts))
