"""What bar sources were asked for so far, as the receipts of fetches say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import date, timedelta
from typing import Any, NamedTuple

from ingestion.jobs.ingest.unfinished_imports import Verdict, imports_told
from ingestion.lakehouse import Lakehouse

OVERLAP = timedelta(days=7)
"""How far before the end of the last fetch the next one begins: vendors correct their last bars."""
_DAY = timedelta(days=1)


class Span(NamedTuple):
    """Sessions from one date to another, both included."""

    first: date
    last: date


class Asked(NamedTuple):
    """What a source was asked for about a symbol."""

    span: Span
    is_done: bool
    """Whether it ended well: nothing of it may come again."""
    newest: date | None = None
    """When the newest bar closed that came; None where none did, or the receipt does not say it."""

    @property
    def reached(self) -> date:
        """Up to where there are bars: a source may be late, or lose the last page."""
        return self.span.last if self.newest is None else min(self.span.last, self.newest)

    @property
    def resumes(self) -> date:
        """From where on the next fetch goes on."""
        return self.reached - OVERLAP if self.is_done else self.span.first


def asked_so_far(lakehouse: Lakehouse, source: str) -> Iterator[dict[str, Asked]]:
    """Yield what a source was asked for in each run, by symbol; the newest run first."""

    def read(receipt: dict[str, Any]) -> dict[str, Asked] | None:
        asked = receipt["request"]
        if asked.get("bar_source") != source:
            return None
        is_done = receipt.get("verdict") in (Verdict.PUBLISH, Verdict.REFUSE)
        again = set(receipt.get("again", ()))
        newest = {name: date.fromisoformat(day) for name, day in receipt.get("newest", {}).items()}
        return {
            symbol: Asked(
                Span(*map(date.fromisoformat, span)),
                is_done and symbol not in again,
                newest.get(symbol),
            )
            for symbol, span in asked["asked"].items()
        }

    return imports_told(lakehouse, read)


def last_asked(lakehouse: Lakehouse, source: str, symbols: Collection[str]) -> dict[str, Asked]:
    """Return what a source was asked for last about each symbol that it was ever asked for.

    No receipts are read beyond those that know all symbols.
    """
    left, found = set(symbols), dict[str, Asked]()
    for run in asked_so_far(lakehouse, source) if left else ():
        found |= {symbol: run[symbol] for symbol in left & run.keys()}
        left -= run.keys()
        if not left:
            break
    return found


def not_fetched(
    lakehouse: Lakehouse, source: str, symbols: Collection[str], first: date, last: date
) -> dict[str, Span]:
    """Return what a source has still to be asked for, of sessions that have all closed.

    Returns
    -------
    dict of str to Span
        By symbol; those of which everything was fetched are not there.
    """
    wanted = Span(first, last)
    left = dict.fromkeys(symbols, wanted)
    done: dict[str, list[Span]] = {symbol: [] for symbol in symbols}
    for run in asked_so_far(lakehouse, source):
        for symbol in left.keys() & run.keys():
            if run[symbol].is_done:
                done[symbol].append(run[symbol].span)
                rest = missing_of(wanted, done[symbol])
                if rest is None:
                    del left[symbol]
                else:
                    left[symbol] = rest
        if not left:
            break
    return left


def missing_of(wanted: Span, done: Iterable[Span]) -> Span | None:
    """Return the shortest span that, with those done, covers a wanted one; None for none.

    Where it goes on after the end of one that is done, it begins :data:`OVERLAP` before that end.

    Examples
    --------
    >>> march = Span(date(2021, 3, 1), date(2021, 3, 31))
    >>> str(missing_of(march, [Span(date(2021, 2, 1), date(2021, 3, 20))]).first)
    '2021-03-13'
    >>> missing_of(march, [march]) is None
    True
    """
    first, last = wanted
    for span in sorted(done):  # from the left on, as long as they leave no gap
        if span.first <= first <= span.last:
            first = span.last + _DAY
    if first > last:
        return None
    for span in sorted(done, key=lambda each: each.last, reverse=True):
        if span.first <= last <= span.last:
            last = span.first - _DAY
    return Span(first if first == wanted.first else max(wanted.first, first - _DAY - OVERLAP), last)
