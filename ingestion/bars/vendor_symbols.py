"""From a vendor's name of an instrument to the unified symbol.

The name is in a column or in a header, or else in the file's own name. It becomes a unified symbol
by a map that the user gives, or by what is known of vendors' spellings: only what can mean a single
instrument is translated. Everything else stays as it is, and :func:`looks_foreign` reports symbols
that TradingView may write otherwise.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from ingestion.bars.file_names import name_in
from ingestion.bars.refusals import Reason
from ingestion.base.errors import InputError
from ingestion.base.wording import reason_of, some_of
from ingestion.markets.exchanges import (
    CALENDARS,
    FX_VENUES,
    INDEX_CODES,
    KNOWN_EXCHANGES,
    QUOTES,
    ROUND_THE_CLOCK_VENUES,
)
from ingestion.markets.symbols import symbol_problem

AMERICAN = frozenset({"NASDAQ", "NYSE", "AMEX", "OTC", "CBOE"})
# After the last point of a ticker, as Yahoo, Stooq, EODHD, Tushare and Chinese libraries write it.
_EXCHANGE_OF_SUFFIX = {
    **{"HK": "HKEX", "T": "TSE", "SH": "SSE", "SS": "SSE", "XSHG": "SSE"},
    **{"SHG": "SSE", "SZ": "SZSE", "XSHE": "SZSE", "SHE": "SZSE", "NS": "NSE", "NSE": "NSE"},
    **{"BO": "BSE", "BSE": "BSE", "L": "LSE", "LSE": "LSE", "DE": "XETR", "XETRA": "XETR"},
    **{"PA": "EURONEXT", "AS": "EURONEXT", "BR": "EURONEXT", "LS": "EURONEXT", "MI": "MIL"},
    **{"MC": "BME", "SW": "SIX", "VI": "VIE", "TO": "TSX", "V": "TSXV", "NE": "NEO", "AX": "ASX"},
    **{"NZ": "NZX", "SI": "SGX", "KS": "KRX", "KQ": "KRX", "TW": "TWSE", "TWO": "TPEX"},
    **{"KL": "MYX", "JK": "IDX", "BK": "SET", "ST": "OMXSTO", "HE": "OMXHEX", "CO": "OMXCOP"},
    **{"OL": "OSL", "SA": "BMFBOVESPA", "MX": "BMV", "BA": "BCBA", "JO": "JSE", "IS": "BIST"},
    **{"TA": "TASE", "SR": "TADAWUL", "WA": "GPW", "OQ": "NASDAQ"},
    **{"UK": "LSE", "JP": "TSE"},
}
# Before the colon, as another finance site writes it.
_EXCHANGES = {
    **{"TYO": "TSE", "LON": "LSE", "HKG": "HKEX", "ETR": "XETR", "FRA": "FWB", "EPA": "EURONEXT"},
    **{"AMS": "EURONEXT", "EBR": "EURONEXT", "ELI": "EURONEXT", "BIT": "MIL", "SWX": "SIX"},
    **{"SHA": "SSE", "SHE": "SZSE", "BOM": "BSE", "NYSEARCA": "AMEX", "NYSEAMERICAN": "AMEX"},
    **{"KOSDAQ": "KRX", "TPE": "TWSE", "NZE": "NZX", "CVE": "TSXV", "BVMF": "BMFBOVESPA"},
    **{"STO": "OMXSTO", "HEL": "OMXHEX", "CPH": "OMXCOP", "WSE": "GPW", "TLV": "TASE"},
    **{"IST": "BIST", "KLSE": "MYX", "BKK": "SET", "XNAS": "NASDAQ", "XNYS": "NYSE"},
}
# ISO 10383's codes of markets, and those that American data come with.
_EXCHANGES |= {
    **{"XNMS": "NASDAQ", "XNGS": "NASDAQ", "XNCM": "NASDAQ", "NMS": "NASDAQ", "NGM": "NASDAQ"},
    **{"NCM": "NASDAQ", "NYQ": "NYSE", "XASE": "AMEX", "ARCX": "AMEX", "PCX": "AMEX"},
    **{"OTCMKTS": "OTC", "PNK": "OTC", "OTCBB": "OTC", "OTCM": "OTC", "XLON": "LSE"},
    **{"XETRA": "XETR", "XPAR": "EURONEXT", "XAMS": "EURONEXT", "XBRU": "EURONEXT"},
    **{"XLIS": "EURONEXT", "XMIL": "MIL", "MTAA": "MIL", "XMAD": "BME", "XSWX": "SIX"},
    **{"XTKS": "TSE", "XHKG": "HKEX", "XSHG": "SSE", "XSHE": "SZSE", "XNSE": "NSE"},
    **{"XBOM": "BSE", "XASX": "ASX", "XTSE": "TSX", "XTSX": "TSXV", "XKRX": "KRX"},
    **{"XKOS": "KRX", "XTAI": "TWSE", "XSES": "SGX", "XSTO": "OMXSTO", "XHEL": "OMXHEX"},
    **{"XCSE": "OMXCOP", "XOSL": "OSL", "XWAR": "GPW", "XWBO": "VIE", "XJSE": "JSE"},
}
_FEEDS = frozenset(
    re.findall(r"\S+", "BATS BZX BYX EDGX EDGA IEX ARCA ISLAND SMART SIP UTP CTA US USA")
)
"""Codes before the colon that list no share: American feeds, and routes of orders."""
_DELAYED = re.compile(r"(?P<code>[A-Z0-9_]+?)_DLY?")
"""TradingView's code of an exchange's delayed feed: ``NASDAQ_DLY``, ``CME_DL``."""
# Of a share's name with its country, as terminals write it: 7203 JP Equity.
_EXCHANGE_OF_COUNTRY = {
    **{"JP": "TSE", "JT": "TSE", "LN": "LSE", "HK": "HKEX", "GY": "XETR", "FP": "EURONEXT"},
    **{"NA": "EURONEXT", "BB": "EURONEXT", "IM": "MIL", "SM": "BME", "SE": "SIX", "SW": "SIX"},
    **{"AU": "ASX", "AT": "ASX", "CG": "SSE", "CS": "SZSE", "KS": "KRX", "KP": "KRX"},
    **{"TT": "TWSE", "SP": "SGX", "UW": "NASDAQ", "UQ": "NASDAQ", "UN": "NYSE", "UP": "AMEX"},
}
_TERMINAL = re.compile(r"(?P<ticker>\S+) (?P<country>[A-Z]{2}) EQUITY")
_PAIR = re.compile(r"(?P<base>[A-Z0-9]{1,15})[/\-_](?P<quote>[A-Z]{3,5})(?P<swap>:(?P=quote))?")
_CHINESE = re.compile(r"(?P<city>SH|SZ)\.?(?P<code>\d{6})")
_SHARE_CLASS = re.compile(r"(?P<ticker>[A-Z]{1,5})[\-/_](?P<letter>[A-E])")
_PREFERRED = re.compile(r"(?P<ticker>[A-Z]{1,5})-P(?P<letter>[A-Z])")
_WIDTHS = {"KRX": 6, "SSE": 6, "SZSE": 6}
"""By exchange, the length of its codes: their leading zeros get lost where they become numbers."""


def unified(name: str, exchange: str | None) -> str:
    """Return a vendor's name as TradingView writes it, as far as that is certain.

    Parameters
    ----------
    name
        Upper case.
    exchange
        Of bare tickers, where the user gave one.

    Returns
    -------
    str
        ``EXCHANGE:TICKER``, or a bare ticker where nothing says of which exchange.

    Examples
    --------
    >>> unified("0700.HK", None), unified("BTC/USDT", "BINANCE"), unified("BRK-B.US", "NYSE")
    ('HKEX:700', 'BINANCE:BTCUSDT', 'NYSE:BRK.B')
    """
    code, colon, ticker = name.partition(":")
    if is_of_a_feed(name):
        return unified(ticker, exchange) if exchange in AMERICAN else name
    if colon and not _PAIR.fullmatch(name):
        if ticker == "US" and code not in KNOWN_EXCHANGES:
            return unified(f"{code}.US", exchange)
        delayed = _DELAYED.fullmatch(code)
        code = delayed["code"] if delayed else code
        code = code if code in KNOWN_EXCHANGES else _EXCHANGES.get(code, code)
        return f"{code}:{_ticker(ticker, code)}"
    if name.startswith("WIKI/"):
        name = name.removeprefix("WIKI/")
    found, ticker = _named_exchange(name, exchange)
    code = found or exchange or ""
    ticker = _ticker(ticker, code)
    return f"{code}:{ticker}" if code else ticker


def is_of_a_feed(name: str) -> bool:
    """Return whether a name says from which feed its prices are, and not who lists the share.

    Examples
    --------
    >>> is_of_a_feed("BATS:MSFT"), is_of_a_feed("NASDAQ:MSFT")
    (True, False)
    """
    code, colon, ticker = name.upper().partition(":")
    return bool(colon and ticker) and code in _FEEDS


def unknown_exchanges(symbols: Iterable[str]) -> list[str]:
    """Return the exchange codes that are not known, each with how many symbols and what it may be.

    Examples
    --------
    >>> unknown_exchanges(["NASDQ:AAPL", "NASDQ:MSFT", "NYSE:IBM"])
    ['NASDQ 2 (NASDQ:AAPL; NASDAQ:AAPL?)']
    """
    of_code: dict[str, list[str]] = {}
    for symbol in sorted(symbols):
        code = symbol.partition(":")[0]
        if code not in KNOWN_EXCHANGES | INDEX_CODES:
            of_code.setdefault(code, []).append(symbol)
    found = []
    for code, symbols_of in of_code.items():
        first, near = symbols_of[0], _misspelt(code)
        meant = f"; {near}:{first.partition(':')[2]}?" if near else ""
        found.append(f"{code} {len(symbols_of):,} ({first}{meant})")
    return found


def _misspelt(code: str) -> str | None:
    """Return the exchange that a code which is not known may mean; None for a known one."""
    if code in KNOWN_EXCHANGES | INDEX_CODES:
        return None
    return next(iter(get_close_matches(code, sorted(KNOWN_EXCHANGES), 1, cutoff=0.8)), None)


def looks_foreign(symbol: str) -> bool:
    """Return whether TradingView may write a symbol otherwise.

    Examples
    --------
    >>> looks_foreign("NASDAQ:^GSPC"), looks_foreign("NYSE:BRK.B"), looks_foreign("NYSE:BAC/PB")
    (True, False, False)
    """
    exchange, _, ticker = symbol.partition(":")
    if ticker in KNOWN_EXCHANGES:
        return True
    if exchange in AMERICAN:
        return not re.fullmatch(r"[A-Z]{1,5}(\.[A-Z]{1,2})?(/P[A-Z]?|/W[SA-Z]?|/U|/R)?", ticker)
    if exchange in ROUND_THE_CLOCK_VENUES | FX_VENUES:
        return not re.fullmatch(r"[A-Z0-9]+(\.[A-Z0-9]+)*!?", ticker)
    return not re.fullmatch(r"[A-Z0-9&]+([._][A-Z0-9]{0,4})?!?", ticker)


def _named_exchange(name: str, exchange: str | None) -> tuple[str | None, str]:
    """Return the exchange that a name contains, and the rest of the name."""
    if match := _TERMINAL.fullmatch(name):
        if match["country"] == "US":
            return None, match["ticker"].replace("/", ".")
        if match["country"] in _EXCHANGE_OF_COUNTRY:
            return _EXCHANGE_OF_COUNTRY[match["country"]], match["ticker"]
    if match := _CHINESE.fullmatch(name):
        return {"SH": "SSE", "SZ": "SZSE"}[match["city"]], match["code"]
    ticker, point, suffix = name.rpartition(".")
    if point and ticker:
        if suffix == "US" and (exchange is None or exchange in AMERICAN):
            return None, ticker
        found = _EXCHANGE_OF_SUFFIX.get(suffix)
        # One letter after an American ticker is a class of shares: BRK.B is like VOD.L.
        is_class = len(suffix) == 1 and exchange in AMERICAN and not ticker.isdigit()
        # With a crypto venue's or dealer's exchange a suffix is part of the name.
        in_sessions = exchange is None or exchange in CALENDARS
        if found and in_sessions and not is_class:
            return found, ticker
    return None, name


def _ticker(ticker: str, exchange: str) -> str:
    """Return a ticker as TradingView writes those of an exchange."""
    ticker = re.sub(r"^(\d+)\.0$", r"\1", ticker)  # a number that was a float on the way
    if exchange in ROUND_THE_CLOCK_VENUES or exchange in FX_VENUES:
        return _pair(ticker, exchange)
    if exchange in AMERICAN:
        if match := _SHARE_CLASS.fullmatch(ticker):
            return f"{match['ticker']}.{match['letter']}"
        match = _PREFERRED.fullmatch(ticker)
        return f"{match['ticker']}/P{match['letter']}" if match else ticker
    match exchange:
        case "HKEX" if ticker.isdigit():
            return ticker.lstrip("0") or ticker
        case "TSE" if re.fullmatch(r"\d[0-9A-Z]{3}0", ticker):
            return ticker[:4]
        case "NSE":
            return ticker.removesuffix("-EQ").replace("-", "_")
        case "OMXSTO" | "OMXCOP" | "OMXHEX":
            return ticker.replace("-", "_")
        case "TSX" | "TSXV" | "NEO":
            return ticker.replace("-", ".")
        case "LSE":  # has no ticker of two characters: BP is BP.
            ticker = ticker.rstrip("/").replace("-", ".")
            return f"{ticker}." if re.fullmatch(r"[A-Z]{2}", ticker) else ticker
    width = _WIDTHS.get(exchange)
    return ticker.zfill(width) if width and ticker.isdigit() else ticker


def _pair(ticker: str, exchange: str) -> str:
    match = _PAIR.fullmatch(ticker)
    if match and match["quote"] in QUOTES:
        return f"{match['base']}{match['quote']}{'.P' if match['swap'] else ''}"
    if exchange in FX_VENUES:
        return ticker.removesuffix("=X")
    if exchange == "BITFINEX" and re.fullmatch(r"T[A-Z0-9]{6,}", ticker):
        quotes = tuple(quote for quote in QUOTES if len(quote) == 3)
        return ticker[1:] if ticker.endswith(quotes) else ticker
    return ticker


_FIRST_FEW = 5


@dataclass(frozen=True)
class Named:
    """The unified symbol of a vendor's name, or what is wrong with the name."""

    symbol: str | None
    """Unified; None if it is refused."""
    reason: Reason = Reason.SYMBOL
    problem: str = ""


NAMELESS = Named(None, Reason.SYMBOL, "no symbol")


@dataclass(frozen=True)
class Naming:
    """How to make a vendor's names unified."""

    exchange: str | None = None
    """Exchange of bare tickers; none if they are not to be guessed."""
    mapped: dict[str, str] = field(default_factory=dict)
    """Vendor name → unified symbol; decides before the exchange does."""

    @classmethod
    def of(cls, exchange: str | None, symbol_map: Path | None) -> Naming:
        """Check the exchange and read the map.

        Raises
        ------
        InputError
            If either is unusable.
        """
        code = exchange.upper() if exchange is not None else None
        if code is not None and (problem := symbol_problem(f"{code}:A")):
            raise InputError(f"--exchange {exchange}: {problem}")
        if code is not None and (near := _misspelt(code)):
            raise InputError(
                f"--exchange {exchange} is not known (did you mean {near}?); if it is right, write "
                f"the file's symbols with it, such as {code}:ABC, or give --symbol-map"
            )
        return cls(code, {} if symbol_map is None else _read_map(symbol_map))

    def of_file(self, path: Path) -> str:
        """Return the name of the instrument that a file is of, by the file's name.

        Raises
        ------
        InputError
            If the file's name says none.
        """
        return path.stem if path.stem in self.mapped else name_in(path)

    def unify(self, name: str) -> Named:
        """Return the unified symbol of a vendor's name, or what is wrong with that."""
        if not name:
            return NAMELESS
        symbol = self.mapped.get(name) or unified(name.upper(), self.exchange)
        if is_of_a_feed(symbol):
            return Named(None, Reason.EXCHANGE, _feed_problem(symbol))
        if ":" not in symbol:
            return Named(None, Reason.EXCHANGE, name[:80])
        problem = symbol_problem(symbol)
        if problem:
            return Named(None, Reason.SYMBOL, f"{name[:80]!r}: {problem}")
        return Named(symbol)


def _feed_problem(symbol: str) -> str:
    feed, _, ticker = symbol.partition(":")
    return (
        f"{symbol[:80]}: {feed} is where prices come from, not the exchange that lists the share: "
        f"write NASDAQ:{ticker[:40]}, NYSE:{ticker[:40]} or AMEX:{ticker[:40]}, or give --exchange"
    )


def demand_exchange(path: Path, names: Iterable[str], named: Iterable[Named]) -> None:
    """Refuse a file whose names are all bare tickers of no exchange.

    Raises
    ------
    InputError
        Naming some of them.
    """
    pairs = list(zip(names, named, strict=True))
    bare = sorted(name for name, each in pairs if each.reason is Reason.EXCHANGE)
    if bare and not any(each.symbol for _, each in pairs):
        if is_of_a_feed(bare[0]):
            raise InputError(f"{path}: {_feed_problem(bare[0])}, or --symbol-map FILE")
        raise InputError(
            f"{path}: no exchange for {some_of([name[:80] for name in bare], _FIRST_FEW)}: give "
            "--exchange, such as NASDAQ, or --symbol-map FILE (vendor name, unified symbol)"
        )


def _read_map(path: Path) -> dict[str, str]:
    """Read a JSON object, or a CSV whose first two columns are vendor name and unified symbol."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            document = json.loads(text)
            if not isinstance(document, dict):
                raise InputError(f"{path} is not a JSON object (vendor name: unified symbol)")
            pairs = [[name, symbol] for name, symbol in document.items()]
        else:
            pairs = [row[:2] for row in csv.reader(text.splitlines()) if any(row)]
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise InputError(f"the symbol map {path} cannot be read: {reason_of(error)}") from None
    mapped: dict[str, str] = {}
    for number, pair in enumerate(pairs, start=1):
        problem = symbol_problem(pair[1]) if len(pair) == 2 else "not two columns"
        if problem and number == 1 and path.suffix.lower() != ".json":
            continue  # a header
        if problem:
            raise InputError(f"the symbol map {path}, entry {number} ({pair[0]}): {problem}")
        mapped[pair[0].strip()] = pair[1]
    return mapped
