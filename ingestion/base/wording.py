"""Lists and counts in messages: the first few of many, the nearest one, and how many there are."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a count with what it counts.

    Parameters
    ----------
    one, many
        What stands after 1, and after other counts: ``one`` with an s if not given.

    Examples
    --------
    >>> counted(1, "symbol"), counted(2_000, "symbol"), counted(0, "entry", "entries")
    ('1 symbol', '2,000 symbols', '0 entries')
    >>> counted(1, "bar is", "bars are")
    '1 bar is'
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def some_of(things: Sequence[object], most: int = 1, between: str = ", ") -> str:
    """Return the first few of many things as text, and how many more there are.

    Examples
    --------
    >>> some_of(["NASDAQ:AAPL", "NASDAQ:MSFT", "NYSE:JPM"], 2)
    'NASDAQ:AAPL, NASDAQ:MSFT and 1 more'
    >>> some_of(["the first problem"])
    'the first problem'
    """
    first = between.join(map(str, islice(things, most)))
    more = len(things) - most
    return f"{first} and {more:,} more" if more > 0 else first


def by_reason(reasons: Mapping[str, str], most: int = 2) -> list[str]:
    """Return what is said of things, once per reason, in the order of the first that it is said of.

    Examples
    --------
    >>> by_reason({"NASDAQ:AAPL": "no answer", "FX:EURUSD": "not known", "NYSE:KO": "no answer"}, 1)
    ['NASDAQ:AAPL and 1 more: no answer', 'FX:EURUSD: not known']
    """
    things: dict[str, list[str]] = {}
    for thing, reason in reasons.items():
        things.setdefault(reason, []).append(thing)
    return [f"{some_of(of, most)}: {reason}" for reason, of in things.items()]


def did_you_mean(word: str, known: Iterable[str], most: int = 1) -> str:
    """Return the known words that are nearest to one that is not known, to stand after it.

    Upper and lower case count as equal. The text is empty if no known word is near.

    Examples
    --------
    >>> did_you_mean("us_larg", ["us_large", "most_traded"])
    ' (did you mean us_large?)'
    >>> did_you_mean("rsi", ["RSI", "RSI[1]", "ADX"], most=2)
    ' (did you mean RSI or RSI[1]?)'
    >>> did_you_mean("elsewhere", ["mine"])
    ''
    """
    import difflib  # most commands have nobody to correct

    written = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(word.casefold(), written, n=most)
    return f" (did you mean {' or '.join(written[each] for each in near)}?)" if near else ""


def reason_of(error: Exception) -> str:
    """Return why a file cannot be read or written, for a message that names it already.

    Examples
    --------
    >>> reason_of(FileNotFoundError(2, "No such file or directory", "bars.csv"))
    'No such file or directory'
    >>> reason_of(ValueError("no header"))
    'no header'
    >>> reason_of(FileNotFoundError("Failed to open local file 'bars.parquet'. Detail: …"))
    'No such file or directory'
    """
    if isinstance(error, FileNotFoundError):  # PyArrow's has words of its own
        return os.strerror(errno.ENOENT)
    return getattr(error, "strerror", None) or str(error)
