"""The scanner's wire format: request bodies and answers.

``POST /{market}/scan`` with ``{"symbols": …, "columns": [c1, c2], "range": [start, end]}`` answers
``{"totalCount": N, "data": [{"s": "NASDAQ:AAPL", "d": [v1, v2]}, …]}``. Rows come in the scanner's
order, not the asked one; unknown tickers are simply not there. Without ``range`` it answers a page
of 50 rows and does not say so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ingestion.catalog import Listing

_UNKNOWN_FIELD = re.compile(r'unknown field\s+"?([^"]+)"?', re.IGNORECASE)
MOST_MATCHES = 10_000_000
"""Beyond what any market has: the largest one has some 60,000 symbols."""


_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)
_QUOTED = 120
"""Characters of the scanner's own words that a message quotes: each symbol's reason repeats it."""


class MalformedAnswer(Exception):
    """The body is not what the protocol promises; ``str()`` says how, and quotes it.

    Attributes
    ----------
    problem
        The same without the quotation.
    """

    def __init__(self, problem: str, body: bytes) -> None:
        self.problem = problem
        super().__init__(quoted(problem, body))


@dataclass(frozen=True)
class Tickers:
    """A question for given symbols."""

    tickers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tickers)

    def body(self, columns: Sequence[str]) -> dict[str, Any]:
        """Return the request's JSON."""
        return {
            "symbols": {"tickers": list(self.tickers), "query": {"types": []}},
            "columns": list(columns),
            "range": [0, len(self.tickers)],
        }

    def halves(self) -> tuple[Tickers, Tickers]:
        """Split in two; for looking for the ticker that the scanner rejects."""
        middle = len(self.tickers) // 2
        return Tickers(self.tickers[:middle]), Tickers(self.tickers[middle:])


WHOLE = Listing()
"""All symbols of a market, by name."""


@dataclass(frozen=True)
class Page:
    """A question for the rows ``start`` to ``end`` (exclusive) of a listing.

    Examples
    --------
    >>> Page(0, 40, Listing(symbolset="SYML:SP;SPX")).body(["name"])["symbols"]
    {'query': {'types': []}, 'symbolset': ['SYML:SP;SPX']}
    """

    start: int
    end: int
    listing: Listing = WHOLE
    """All symbols, sorted by name, if none is given."""

    def __len__(self) -> int:
        return self.end - self.start

    def body(self, columns: Sequence[str]) -> dict[str, Any]:
        """Return the request's JSON."""
        listing = self.listing
        order = "desc" if listing.descending else "asc"
        body: dict[str, Any] = {
            "symbols": {"query": {"types": []}},
            "columns": list(columns),
            "sort": {"sortBy": listing.sort_by, "sortOrder": order},
            "range": [self.start, self.end],
        }
        if listing.filter:
            body["filter"] = [each.body() for each in listing.filter]
        if listing.symbolset is not None:
            body["symbols"]["symbolset"] = [listing.symbolset]
            body["preset"] = "index_components_market_pages"
        return body


@dataclass(frozen=True)
class RawRow:
    """One row as it came; the values are in the order of the requested columns."""

    symbol: str
    values: list[Any]
    problem: str | None = None
    """Why the values do not belong together, where they come from several requests."""
    is_moving: bool = False
    """Whether a bar that counts as closed has changed between these requests."""


@dataclass(frozen=True)
class Answer:
    """A page of rows.

    ``total`` counts the matches before paging, so it may exceed the rows. ``illegible`` counts the
    entries that carry no symbol and no list of values. ``asked_at`` is the instant before the
    request, of several ``requests`` before the first one.
    """

    total: int
    rows: list[RawRow]
    illegible: int = 0
    asked_at: datetime = _BEFORE_ALL
    requests: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether it shows as many symbols as it counts, whichever they are."""
        distinct = {row.symbol for row in self.rows}
        return len(distinct) >= self.total and not self.illegible


def parse_answer(body: bytes) -> Answer:
    """Read the body of a scan.

    NaN and infinity, which JSON does not have, pass through to the value they stand for, so that
    they cost their own row and not the whole answer.

    Raises
    ------
    MalformedAnswer
        If the body is empty, not JSON, or not of this shape.
    """
    document = _json(body)
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        raise MalformedAnswer("the answer has no list of rows", body)
    data, total = document["data"], document.get("totalCount")
    # Without it, a short page would pass for all that the scanner knows.
    if not isinstance(total, int) or isinstance(total, bool) or not 0 <= total <= MOST_MATCHES:
        raise MalformedAnswer("the answer has no sensible totalCount", body)
    rows = list(_rows(data))
    return Answer(total, rows, illegible=len(data) - len(rows))


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
        if row.problem:
            problems[row.symbol] = row.problem
        first = found.setdefault(row.symbol, row)
        if first is not row:
            repeated += 1
            if row.values != first.values:
                problems[row.symbol] = "two rows in one answer that disagree"
    return found, problems, repeated


def error_text(body: bytes) -> str | None:
    """Return the scanner's own words from ``{"error": "…", "data": null}``; none if not that."""
    if b'"error"' not in body:  # spares the good answers, which are large, a second reading
        return None
    try:
        document = _json(body)
    except MalformedAnswer:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    return shown(error) if isinstance(error, str) and error else None


def parse_metainfo(body: bytes) -> frozenset[str]:
    """Read the names of the columns that a market's ``metainfo`` lists.

    Raises
    ------
    MalformedAnswer
        If the body is not of that shape.
    """
    document = _json(body)
    fields = document.get("fields") if isinstance(document, dict) else None
    if not isinstance(fields, list):
        raise MalformedAnswer("the answer has no list of fields", body)
    names = (entry.get("n") for entry in fields if isinstance(entry, dict))
    return frozenset(name for name in names if isinstance(name, str))


def unknown_column(error: str) -> str | None:
    """Return the column that an error text calls unknown, if it does."""
    match = _UNKNOWN_FIELD.search(error)
    return match[1].strip() if match else None


def quoted(problem: str, body: bytes) -> str:
    """Return what is wrong with a body, and its beginning."""
    return f"{problem}: {excerpt(body)}" if body.strip() else problem


def excerpt(body: bytes, length: int = _QUOTED) -> str:
    """Return the beginning of a body on one line, for messages."""
    return shown(" ".join(body[: 4 * length].decode("utf-8", "replace").split()), length)


def shown(text: str, length: int = _QUOTED) -> str:
    """Return the beginning of a text, without what would steer a terminal or is no text."""
    text = "".join(sign if sign.isprintable() else "\ufffd" for sign in text[: length + 1])
    return text if len(text) <= length else f"{text[:length]}…"


def _json(body: bytes) -> Any:
    if not body.strip():
        raise MalformedAnswer("the answer is empty", body)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedAnswer("the answer is not JSON", body) from None


def _rows(data: list[Any]) -> Iterator[RawRow]:
    for entry in data:
        if isinstance(entry, dict):
            symbol, values = entry.get("s"), entry.get("d")
            if isinstance(symbol, str) and isinstance(values, list):
                yield RawRow(symbol, values)
