"""The unified symbol, ``EXCHANGE:TICKER``, as TradingView writes it."""

from __future__ import annotations

import re

_EXCHANGE = re.compile(r"[A-Z0-9_]{1,32}")
_LONGEST_TICKER = 64
_USUAL = re.compile(r"[A-Z0-9_]{1,32}:[A-Z0-9]{1,64}")
"""Most symbols; whatever else is one is looked at character by character."""


def symbol_problem(text: object) -> str | None:
    """Say what keeps a value from being a unified symbol; none if it is one.

    The ticker may contain anything printable but blanks and colons: preferred shares have slashes
    (``NYSE:BAC/PB``), futures exclamation marks, Indian stocks ampersands, and some coins are named
    in Chinese. It is upper case: how the scanner reads lower case is not known, and features are
    keyed by the exact text.
    """
    if isinstance(text, str) and _USUAL.fullmatch(text):
        return None
    if not isinstance(text, str):
        return f"a symbol is text, this is {type(text).__name__}"
    exchange, colon, ticker = text.partition(":")
    if not colon:
        return "no exchange: write EXCHANGE:TICKER, such as NASDAQ:AAPL"
    if text != text.upper() and symbol_problem(text.upper()) is None:
        return f"lower case: write {text.upper()}"
    if not _EXCHANGE.fullmatch(exchange):
        return f"{exchange!r} is not an exchange code (A-Z, 0-9 and _)"
    if not any(character.isalnum() for character in ticker):
        return "no ticker after the colon"
    if len(ticker) > _LONGEST_TICKER:
        return f"the ticker is longer than {_LONGEST_TICKER} characters"
    if not ticker.isprintable() or " " in ticker or ":" in ticker or "\\" in ticker:
        return f"{ticker!r} is not a ticker (no blanks, colons, backslashes, control characters)"
    if not all(part.strip(".") for part in ticker.split("/") if part):
        return f"{ticker!r} is a path, not a ticker"
    return None


def exchange_of(symbol: str) -> str:
    """Return the exchange code of a unified symbol."""
    return symbol.partition(":")[0]
