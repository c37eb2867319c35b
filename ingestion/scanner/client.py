"""Fetch rows for given tickers, or for a whole market.

Both account for everything they asked: a row, a reason, or the scanner's word that it does not
know the symbol.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from ingestion.base.errors import InputError, ScannerRefused, UnknownColumn
from ingestion.catalog import Column, Dtype, Listing
from ingestion.scanner.market import Listed, MarketCampaign
from ingestion.scanner.pieces import ask_in_pieces
from ingestion.scanner.rounds import Attempt, run_rounds
from ingestion.scanner.snapshot import Snapshot
from ingestion.scanner.tickers import TickerCampaign, batches
from ingestion.scanner.transport import Rejected, ScannerOptions, Transient, Transport
from ingestion.scanner.values import RowReader
from ingestion.scanner.wire import MOST_MATCHES, WHOLE, Answer, Page, Tickers

_MOST_PASSES = 2
_MOST_LISTINGS = 2
_NAME = Column("name", Dtype.STRING, scanner="name")
"""What is asked of a listing: its symbols come with any column."""
_MARKET = re.compile(r"[a-z][a-z0-9_-]*")
GLOBAL = "global"
"""The market of candidates, which may be of any market."""


def _no_progress(_: int) -> None:
    """Show nothing."""


class ScannerClient(AbstractContextManager["ScannerClient", None]):
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

    def __exit__(self, *_: object) -> None:
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
        reader, distinct = RowReader(columns), tuple(dict.fromkeys(tickers))
        campaign = TickerCampaign(reader)
        attempts = self._ask_tickers(campaign, GLOBAL, distinct, reader, progress)
        return Snapshot(
            columns=reader.columns,
            rows=campaign.rows,
            failed=campaign.failed,
            absent=tuple(campaign.absent),
            asked=len(distinct),
            attempts=_numbered(attempts),
            duplicates=campaign.duplicates,
            unasked=campaign.unasked,
            asked_at=campaign.asked_at,
            was_cut_short=campaign.was_cut_short,
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
        reader = RowReader(columns)
        campaign = MarketCampaign(reader)
        announced = 0

        def report(settled: int) -> None:
            nonlocal announced
            if campaign.total > announced:
                announced = campaign.total
                announce(announced)
            progress(settled)

        attempts = self._read_pages(campaign, market, reader, report)
        attempts += self._ask_by_name(campaign, market, reader)
        return Snapshot(
            columns=reader.columns,
            rows=campaign.rows,
            failed=campaign.failed,
            asked=campaign.total,
            attempts=_numbered(attempts),
            duplicates=campaign.duplicates,
            asked_at=campaign.asked_at,
            lost_pages=tuple(campaign.lost_pages),
        )

    def list_symbols(self, listing: Listing) -> Listed:
        """Fetch the symbols of a listing, page by page.

        An answer that is not complete is not believed at once: all is asked a second time.

        Raises
        ------
        UnknownColumn, ScannerRefused
            If asking on would not help: the market does not exist, or a condition is rejected.
        """
        reader = RowReader([_NAME])
        attempts: list[Attempt] = []
        for _ in range(_MOST_LISTINGS):
            campaign = MarketCampaign(reader, listing.limit)
            attempts += self._read_pages(campaign, listing.market, reader, _no_progress, listing)
            listed = Listed.of(campaign, listing, _numbered(attempts))
            if listed.is_complete or campaign.was_cut_short:
                break
        return listed

    def listed_columns(self, market: str) -> frozenset[str] | None:
        """Return the columns that a market's ``metainfo`` lists; None where it does not answer.

        It lacks some columns that are served all the same.
        """
        try:
            return self._transport.metainfo(_checked(market))
        except (Transient, Rejected, ScannerRefused):
            return None

    def serves(self, market: str, column: str, ticker: str | None) -> bool:
        """Ask for one column alone, of one symbol; return whether the scanner does not reject it.

        Parameters
        ----------
        ticker
            The symbol; the market's first one if None.
        """
        question = Page(0, 1) if ticker is None else Tickers((ticker,))
        try:
            self._transport.scan(_checked(market), question, [column])
        except (UnknownColumn, Rejected):
            return False
        except Transient:  # the scan itself will show it
            return True
        return True

    def _read_pages(
        self,
        campaign: MarketCampaign,
        market: str,
        reader: RowReader,
        progress: Callable[[int], None],
        listing: Listing = WHOLE,
    ) -> list[Attempt]:
        ask = self._asker(market, reader)
        size = self._options.batch_size
        most = listing.limit or MOST_MATCHES
        first = Page(0, min(size, most), listing)
        attempts = run_rounds(campaign, [first], ask, self._options, progress)
        start = size
        for _ in range(_MOST_PASSES):
            if campaign.is_complete or campaign.lost_pages:
                break
            starts = range(start, campaign.total, size)
            pages = [Page(max(at, 0), min(at + size, most), listing) for at in starts]
            pages = [page for page in pages if len(page)]
            attempts += run_rounds(campaign, pages, ask, self._options, progress)
            start = size // 2 - size
        return attempts

    def _ask_by_name(
        self, campaign: MarketCampaign, market: str, reader: RowReader
    ) -> list[Attempt]:
        """Ask once by name for the symbols whose rows could not be used, or not all of it."""
        symbols = campaign.to_ask_by_name
        # Asking a scanner that is down for more would only take longer.
        if not symbols or campaign.was_cut_short:
            return []
        again = TickerCampaign(reader, seen_bad=symbols)
        attempts = self._ask_tickers(again, market, symbols, reader, _no_progress)
        campaign.improve(again.rows, again.asked_at)
        return attempts

    def _ask_tickers(
        self,
        campaign: TickerCampaign,
        market: str,
        tickers: Sequence[str],
        reader: RowReader,
        progress: Callable[[int], None],
    ) -> list[Attempt]:
        """Ask for tickers, and once more for those that an answer has left out."""
        ask, size = self._asker(market, reader), self._options.batch_size
        attempts = run_rounds(campaign, batches(tickers, size), ask, self._options, progress)
        if not campaign.was_cut_short:
            questions = campaign.confirm(size)
            attempts += run_rounds(campaign, questions, ask, self._options, progress)
        settled = campaign.settled
        campaign.close()
        progress(campaign.settled - settled)
        return attempts

    def _asker(self, market: str, reader: RowReader) -> Callable[[Tickers | Page], Answer]:
        scan, slug, widest = self._transport.scan, _checked(market), self._options.max_columns
        return lambda question: ask_in_pieces(
            reader.names, widest, lambda names: scan(slug, question, names), reader.still
        )


def _checked(market: str) -> str:
    if not _MARKET.fullmatch(market):
        raise InputError(f"{market!r} is not the name of a market, such as america or crypto")
    return market


def _numbered(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    return tuple(replace(attempt, idx=idx) for idx, attempt in enumerate(attempts))
