"""The instrument that a file is of, by the file's own name."""

from __future__ import annotations

import re
from pathlib import Path

from ingestion.base.errors import InputError
from ingestion.markets.exchanges import (
    KNOWN_EXCHANGES,
    QUOTES,
)

_ONE_SYMBOL = re.compile(r"(?P<exchange>[A-Z0-9_]+?)_(?P<ticker>.+)_1[dD]")
_CHART = re.compile(r"(?P<symbol>[^,]+), ?(?P<interval>[0-9]*[A-Z]?)(?:_[0-9a-f]+)?")
"""The names of exported charts: ``NASDAQ_AAPL, 1D_8a2f1.csv``."""
_FEED_MARK = re.compile(r"BATS_|(?<=[A-Z])_DLY(?=_)")
"""The part of a chart's name that names the feed, and not the exchange that lists the share."""
_TICKER_AND_COUNTRY = re.compile(r"(?P<ticker>[a-z0-9.^-]+)_(?P<country>us|uk|jp|hk|de)_d")
"""The names of Stooq's downloads: ``aapl_us_d.csv`` is of ``AAPL.US``."""
_COPY = re.compile(r"(?:\s*\(\d+\)|\s*-\s*copy|_copy)+$", re.IGNORECASE)
_DAILY = frozenset({"1d", "d", "d1", "1day", "day", "daily", "1440", "24h", "eod"})
_OTHER_INTERVALS = re.compile(
    r"[1-9]\d{0,2}(?:s|sec|m|min|minute|h|hr|hour|w|week|mo|mn|month)|hourly|weekly|monthly|minute|"
    r"[mh][1-9]\d?|w1|mn1|intraday|15|30|60|120|180|240|360|480|720",
)
_DATE_PART = re.compile(r"(?:19|20)\d{2}(?:[-.]?[01]\d(?:[-.]?[0-3]\d)?)?|\d{9,}")
_SPAN_OF_TIME = re.compile(r"\d{1,2}(?:y|yr|yrs|years?)|from|to|since|until|max|full|all")
_DESCRIPTIONS = frozenset(
    re.findall(
        r"\S+",
        """
        data dataset bulk price prices stockprices stockdata export exports exported download
        downloads quote quotes history histories historical historicaldata hist bars bar ohlc
        ohlcv ohlcvt candle candles kline klines chart charts table tables file files output
        result results stock stocks share shares equity equities securities security ticker
        tickers symbol symbols universe market markets portfolio watchlist timeseries series csv
        untitled unknown new part chunk dump database db sheet sheet1 book1 adjusted adj
        unadjusted raw spot combined merged final sample test
        """,
    )
)
"""Words that describe a file and name no instrument."""


def name_in(path: Path) -> str:
    """Return the vendor's name of the one instrument that a file is of, by the file's name.

    Known are ``{EXCHANGE}_{TICKER}_1d``, TradingView's ``{EXCHANGE}_{TICKER}, 1D``, and a ticker
    among words, intervals and dates: ``AAPL_daily``, ``BTCUSDT-1d-2021-03``, ``daily_AAPL``.

    Raises
    ------
    InputError
        If it names none, or says that the bars are not of days.

    Examples
    --------
    >>> name_in(Path("NASDAQ_AAPL_1d.parquet")), name_in(Path("AAPL.csv"))
    ('NASDAQ:AAPL', 'AAPL')
    >>> name_in(Path("FX_IDC_EURUSD_1d.parquet")), name_in(Path("BTCUSDT-1d-2021-03.csv"))
    ('FX_IDC:EURUSD', 'BTCUSDT')
    """
    stem = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    stem = _COPY.sub("", stem).strip()
    match = _ONE_SYMBOL.fullmatch(stem)
    if match and match["ticker"] not in QUOTES:
        return _after_venue(stem[:-3]) or f"{match['exchange']}:{match['ticker']}"
    if match := _CHART.fullmatch(stem):
        if match["interval"] not in ("1D", "D"):
            raise _not_daily(path, match["interval"])
        stem = _FEED_MARK.sub("", match["symbol"], count=1)
        if symbol := _after_venue(stem):
            return symbol
    if match := _TICKER_AND_COUNTRY.fullmatch(stem):
        return f"{match['ticker']}.{match['country']}"
    left = _without_description(path, stem)
    if not left:
        raise InputError(
            f"{path} has no column of symbols, and its name names none: name it after its symbol "
            "(AAPL.csv), or add a column symbol"
        )
    return _after_venue("_".join(left)) or "_".join(left)


def _without_description(path: Path, stem: str) -> list[str]:
    """Return the parts of a name that describe nothing, those between underscores and blanks."""
    parts = [part for part in re.split(r"[_,\s]+", stem) if part]
    left = []
    for part in parts:
        pieces = [piece for piece in part.split("-") if piece]
        described = [
            _describes(path, piece, alone=len(parts) == 1 == len(pieces)) for piece in pieces
        ]
        if _DATE_PART.fullmatch(part) or all(described):
            continue
        # BRK-B and BTC-USD are one name; BTCUSDT-1d-2021-03 is one name and its description.
        first = described.index(False)
        last = len(pieces) - described[::-1].index(False)
        left.append("-".join(pieces[first:last]))
    return left


def _describes(path: Path, piece: str, *, alone: bool) -> bool:
    word = piece.casefold()
    # Tickers too are words: ALL, D, DAY. In capitals and alone they name a file.
    if alone and piece.isupper() and piece.isalpha() and len(piece) <= 4 and piece != "BULK":
        return False
    if not alone and _OTHER_INTERVALS.fullmatch(word):
        raise _not_daily(path, piece)
    return (
        word in _DESCRIPTIONS | _DAILY
        or bool(_DATE_PART.fullmatch(word))
        or (not alone and bool(_SPAN_OF_TIME.fullmatch(word) or re.fullmatch(r"\d{1,2}", word)))
        or (alone and word == "all")
    )


def _not_daily(path: Path, interval: str) -> InputError:
    return InputError(
        f"{path} is named as bars of {interval}, and only daily bars are imported: rename it if "
        "they are of days"
    )


def _after_venue(stem: str) -> str | None:
    """Return the unified symbol of ``{EXCHANGE}_{TICKER}``; none if the exchange is not known."""
    # An exchange code may have an underscore itself, so known codes are tried longest first.
    for code in sorted(KNOWN_EXCHANGES, key=len, reverse=True):
        # Short codes are words too: set_a.csv is of no Thai share.
        start = stem[: len(code) + 1]
        start = start.upper() if len(code) > 4 else start
        if start == f"{code}_" and len(stem) > len(start):
            return f"{code}:{stem[len(start) :]}"
    return None
