"""What the names of a table's columns mean.

Most tables have one line of names. Data frames with two levels of columns have two, of prices and
of symbols in either order, and often a third that names the index alone. Some write both in one
name: ``AAPL.Open``, ``Close_AAPL``, ``('Close', 'AAPL')``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ingestion.bars.cells import EMPTY_CELLS


class Role(StrEnum):
    """What a column means to the import."""

    TIME = "time"
    SYMBOL = "symbol"
    OPEN = "open"
    HIGH = "high"
    LOW = "low"
    CLOSE = "close"
    UNADJUSTED_CLOSE = "unadjusted close"
    VOLUME = "volume"
    SPLIT_RATIO = "split_ratio"
    SPLIT_FROM = "split_from"
    SPLIT_TO = "split_to"
    AMOUNT = "amount"
    CURRENCY = "currency"


PRICES = (Role.OPEN, Role.HIGH, Role.LOW, Role.CLOSE)
NEEDED = (Role.TIME, *PRICES)
"""The columns that every file of bars must have."""

# If a file has several of these spellings, the first one here is taken: an opening time says more
# than a date, a `name` beside a `symbol` is the company's, and `close` is the day's last price
# where `last` is that of some minute. Adjusted columns (`Adj Close`) are in no list: bars are
# stored as traded.
_SPELLED: dict[Role, str] = {
    Role.TIME: """
        time open, window start, time period start, timestamp, open time, unix, unix timestamp,
        unix time, epoch, datetime, date time, date, dates, gmt time, local time, trade date,
        trading date, traddt, date1, data date, cal dt, price date, quote date, session date, bizdt,
        begin, start date, start time, start, ex date, execution date, effective date, split date,
        time, mts, ts, t, day,
        日期, 交易日期, 日付, 날짜, 일자, datum, fecha, data
    """,
    Role.SYMBOL: """
        symbol, ticker, tckrsymb, ts code, act symbol, ticker symbol, stock symbol, trading symbol,
        securities code, security code, stock code, stock id, scrip code, sc code, local code, ric,
        tic, codneg, secid, stock, scrip, instrument, instrument id, code, pair, permno, name,
        代码, 股票代码, コード, 銘柄コード, 종목코드
    """,
    Role.OPEN: """
        open, open price, price open, px open, opening, opening price, opnpric, open prc, openprc,
        prcod, day open, mid open, o, 开盘, 开盘价, 開盤價, 始値, 시가,
        eröffnung, erster, abertura, apertura, ouverture, ouv
    """,
    Role.HIGH: """
        high, high price, price high, px high, day high, high 1, hghpric, askhi, prchd, max, h,
        最高, 最高价, 最高價, 高値, 고가, hoch, tageshoch, máxima, máximo, plus haut, haut
    """,
    Role.LOW: """
        low, low price, price low, px low, day low, low 1, lwpric, bidlo, prcld, min, l,
        最低, 最低价, 最低價, 安値, 저가, tief, tagestief, mínima, mínimo, plus bas, bas
    """,
    Role.CLOSE: """
        close, close price, price close, px last, px close, closing, closing price, close last,
        clspric, day close, trdprc 1, prccd, prc, last, last price, latest, ltp, price, settle, c,
        收盘, 收盘价, 收盤價, 終値, 종가,
        schluss, schlusskurs, zuletzt, fechamento, cierre, clôture, dernier, último
    """,
    Role.UNADJUSTED_CLOSE: """
        close unadj, unadjusted close, close unadjusted, unadj close, raw close, close raw
    """,
    Role.VOLUME: """
        volume, vol, px volume, total volume, day volume, base volume, volume base, trade volume,
        trading volume, acvol uns, tottrdqty, ttltradgvol, ttl trd qnty, total traded quantity,
        no of shares, cshtrd, shares traded, tick volume, tickvol, vo, v,
        成交量, 出来高, 売買高, 거래량, volumen, volumes
    """,
    Role.SPLIT_RATIO: """
        split ratio, split coefficient, split factor, stock splits, stock split, split, splits,
        ratio
    """,
    Role.SPLIT_FROM: "split from, from, denominator, before, old shares, old, from factor",
    Role.SPLIT_TO: "split to, to, numerator, after, new shares, new, to factor",
}

# Files of bars have a turnover called `amount`, so these count in files of dividends alone.
# Adjusted amounts (`adjDividend`) are in no list, and of several dates the ex-date counts.
_OF_DIVIDENDS: dict[Role, str] = {
    Role.TIME: f"""
        ex date, ex dividend date, ex div date, exdividend, ex or eff date, ex, exdate,
        ex dividend, {_SPELLED[Role.TIME]}
    """,
    Role.AMOUNT: """
        amount, cash amount, unadjusted value, unadjusted amount, dividend, dividends,
        dividend amount, cash dividend, cash dividends, dividend per share, distribution, div cash,
        divcash, dps, value, gross amount, div, cash, rate
    """,
    Role.CURRENCY: "currency, currency code, ccy, curr, dividend currency",
}

EXAMPLE_NAMES = {
    Role.TIME: "date, timestamp or datetime",
    Role.CLOSE: "close, last or price",
    Role.SPLIT_RATIO: "ratio or split, or be two columns split_to and split_from",
    Role.AMOUNT: "amount or dividend",
}


def plain_name(name: str) -> str:
    """Return a column's name without case, accents, blanks, punctuation and a leading number.

    Examples
    --------
    >>> plain_name("1. Open"), plain_name("<VOL>"), plain_name("Máxima")
    ('open', 'vol', 'maxima')
    """
    name = re.sub(r"^\s*\d+[a-z]?\s*[.:)]\s*", "", name)
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in letters if letter.isalnum())


def _plain_spellings(spelled: Mapping[Role, str]) -> dict[Role, tuple[str, ...]]:
    return {
        role: tuple(plain_name(spelling) for spelling in spellings.split(","))
        for role, spellings in spelled.items()
    }


SPELLINGS = _plain_spellings(_SPELLED)
_SPELLINGS_OF_DIVIDENDS = SPELLINGS | _plain_spellings(_OF_DIVIDENDS)
_ROLE_OF = {spelling: role for role, several in SPELLINGS.items() for spelling in several}
_VOLUME_OF_ASSET = re.compile(r"volume (?!ma\b|sma\b|usd|eur|from|to\b)\w+", re.IGNORECASE)


def roles_of(header: Sequence[str], needed: Sequence[Role] = NEEDED) -> dict[Role, tuple[int, ...]]:
    """Find the columns of a file by their names; case, blanks and punctuation do not matter.

    Columns that have no role (``Adj Close``, dividends and the like) are left out: the import takes
    prices before dividends, as TradingView charts them.

    Returns
    -------
    dict[Role, tuple[int, ...]]
        Positions in ``header`` of each role's column: more than one where its name is repeated.
    """
    header = list(header)
    if "T" in header and "t" in header:  # one vendor calls ticker and time so
        header[header.index("T")] = "symbol"
    if "timeHigh" in header and "name" in header:
        header[header.index("name")] = ""  # a number of that vendor's own
    names = [plain_name(name) for name in header]
    bare = [plain_name(re.sub(r"[(\[].*?[)\]]", "", name)) for name in header]
    found: dict[Role, tuple[int, ...]] = {}
    spelled = _SPELLINGS_OF_DIVIDENDS if Role.AMOUNT in needed else SPELLINGS
    for role, spellings in spelled.items():
        # Words in brackets are left out only if no column has the name otherwise.
        for spelling, among in ((each, cells) for cells in (names, bare) for each in spellings):
            if spelling in among:
                found[role] = tuple(at for at, name in enumerate(among) if name == spelling)
                break
    if Role.VOLUME not in found:
        asset = [at for at, name in enumerate(header) if _VOLUME_OF_ASSET.fullmatch(name.strip())]
        if asset:
            found[Role.VOLUME] = (asset[0],)
    return found


def role_of(name: str) -> Role | None:
    """Return what a column of this name means; none where it means nothing."""
    return _ROLE_OF.get(plain_name(name))


@dataclass(frozen=True)
class Series:
    """The columns of one instrument, or of many that a column of symbols distinguishes."""

    columns: Mapping[Role, tuple[int, ...]]
    """Positions in the header; more than one where a name is repeated."""
    name: str | None = None
    """The vendor's name, where the header has it."""


@dataclass(frozen=True)
class Header:
    """What the names of a file's columns say."""

    names: tuple[str, ...]
    series: tuple[Series, ...]
    lines: int = 1
    """How many lines it has."""


_INDEX = re.compile(r"|unnamed\s*:?\s*0.*|index|level_0|__index_level_0__", re.IGNORECASE)
_LEVEL_NAMES = frozenset(
    {"", "price", "prices", "ticker", "tickers", "symbol", "symbols", "attributes"}
)
_TUPLE = re.compile(r"\(\s*['\"](.*?)['\"]\s*,\s*['\"](.*?)['\"]\s*\)")
_NO_SYMBOLS = frozenset(
    re.findall(
        r"\S+",
        """
        adj adjusted adjclose unadj unadjusted raw split splits price prices px last first prev
        previous next pre post after day daily week weekly month monthly year bid ask mid usd
        eur gbp jpy cny inr chf cad aud market mkt session trade total avg average mean norm log
        scaled stock shares opening closing intraday regular extended overnight high low open
        close volume range true heikin ha
        """,
    )
)
"""Words beside a price's name that are no instrument, and units below one."""


def header_of_line(names: Sequence[str], needed: Sequence[Role] = NEEDED) -> Header:
    """Return what one line of names says; columns without a role are left out."""
    roles = roles_of(names, needed)
    # The index of a data frame is the first column of a CSV, and the last of a Parquet file.
    index = [at for at in (0, -1) if names and _INDEX.fullmatch(names[at].strip())]
    if Role.TIME not in roles and index:
        roles[Role.TIME] = (range(len(names))[index[0]],)
    if not all(price in roles for price in PRICES):
        series = _series_by_symbol(
            [_symbol_and_price(name) for name in names], roles.get(Role.TIME)
        )
        if series:
            return Header(tuple(names), series)
    return Header(tuple(names), (Series(roles),))


def header_of_two_lines(upper: Sequence[str], lower: Sequence[str]) -> Header | None:
    """Return what two lines say of prices and symbols; none if they are not such lines."""
    if len(upper) != len(lower) or list(upper) == list(lower):
        return None
    for prices, symbols in ((upper, lower), (lower, upper)):
        roles = roles_of(prices)
        if not all(price in roles for price in PRICES) or plain_name(
            symbols[0]
        ) not in _LEVEL_NAMES | {"date"}:
            continue
        below = [symbols[at] for price in PRICES for at in roles[price]]
        # Beside a name of the level they cannot be a row's prices.
        by_number = bool(symbols[0].strip())
        if not all(_is_symbol(name, by_number) for name in below):
            continue
        names = tuple(
            f"{symbol} {price}".strip() for price, symbol in zip(prices, symbols, strict=True)
        )
        time = next(
            (
                at
                for at, name in enumerate(prices)
                if role_of(name) is Role.TIME and not symbols[at]
            ),
            0,
        )
        pairs = [
            (symbol, price) if _is_symbol(symbol, by_number) and at != time else None
            for at, (price, symbol) in enumerate(zip(prices, symbols, strict=True))
        ]
        if series := _series_by_symbol(pairs, (time,)):
            return Header(names, series, lines=2)
    return None


def names_index_alone(cells: Sequence[str]) -> bool:
    """Return whether a line is the one below two levels of names that only names the index."""
    return role_of(cells[0]) is Role.TIME and all(
        not cell.strip() or cell.startswith("Unnamed") for cell in cells[1:]
    )


def _series_by_symbol(
    pairs: Sequence[tuple[str, str] | None], time: tuple[int, ...] | None
) -> tuple[Series, ...]:
    """Return the instruments that have all prices, from symbol and price of each column."""
    if time is None:
        return ()
    columns: dict[str, dict[int, str]] = {}
    for at, pair in enumerate(pairs):
        if pair is not None and at not in time:
            columns.setdefault(pair[0], {})[at] = pair[1]
    series = []
    for symbol, named in columns.items():
        roles = roles_of(list(named.values()))
        if all(price in roles for price in PRICES):
            positions = list(named)
            found = {role: tuple(positions[at] for at in found) for role, found in roles.items()}
            series.append(Series({**found, Role.TIME: time}, symbol))
    return tuple(series)


def _symbol_and_price(name: str) -> tuple[str, str] | None:
    """Split a column's name into symbol and price."""
    if match := _TUPLE.fullmatch(name.strip()):
        first, last = match.groups()
        return (last, first) if role_of(first) in _VALUE_ROLES else (first, last)
    for mark in ("_", ".", " ", "|", ":", "-"):
        for symbol, _, price in (name.rpartition(mark), name.partition(mark)[::-1]):
            if symbol and role_of(price) in _VALUE_ROLES and _is_symbol(symbol):
                return symbol.strip(), price
    return None


_VALUE_ROLES = (*PRICES, Role.VOLUME, Role.SPLIT_RATIO)


def _is_symbol(text: str, by_number: bool = False) -> bool:
    word = text.strip().casefold()
    if word in _NO_SYMBOLS | EMPTY_CELLS or word.startswith("unnamed"):
        return False
    return by_number or not re.fullmatch(r"[+-]?[\d.,]+(e[+-]?\d+)?%?", word)
