"""What vendors call the columns of daily bars."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from enum import StrEnum


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


PRICES = (Role.OPEN, Role.HIGH, Role.LOW, Role.CLOSE)
NEEDED = (Role.TIME, *PRICES)
"""What a file of bars cannot do without."""

# Of several spellings in one file the first here is meant: an opening time says more than a date, a
# `name` beside a `symbol` is the company's, and `close` is the day's last price where `last` is
# that of some minute. What is adjusted (`Adj Close`) is in no list: bars are stored as traded.
_SPELLINGS: dict[Role, str] = {
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


_EXAMPLES = {
    Role.TIME: "date, timestamp or datetime",
    Role.CLOSE: "close, last or price",
    Role.SPLIT_RATIO: "ratio or split, or be two columns split_to and split_from",
}


def plain(name: str) -> str:
    """Return a column's name without case, accents, blanks, punctuation and a leading number.

    Examples
    --------
    >>> plain("1. Open"), plain("<VOL>"), plain("Máxima")
    ('open', 'vol', 'maxima')
    """
    name = re.sub(r"^\s*\d+[a-z]?\s*[.:)]\s*", "", name)
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in letters if letter.isalnum())


SPELLINGS: dict[Role, tuple[str, ...]] = {
    role: tuple(plain(spelling) for spelling in spellings.split(","))
    for role, spellings in _SPELLINGS.items()
}
_ROLE_OF = {spelling: role for role, several in SPELLINGS.items() for spelling in several}
_VOLUME_OF_ASSET = re.compile(r"volume (?!ma\b|sma\b|usd|eur|from|to\b)\w+", re.IGNORECASE)


def recognise(header: Sequence[str]) -> dict[Role, tuple[int, ...]]:
    """Find the columns of a file by their names; case, blanks and punctuation do not matter.

    Columns that have no role (``Adj Close``, dividends and the like) are left out: the import takes
    prices before dividends, as TradingView charts them.

    Returns
    -------
    dict[Role, tuple[int, ...]]
        Positions in ``header`` of each role's column: more than one where its name is repeated.
    """
    header = list(header)
    if "T" in header and "t" in header:  # what one vendor calls ticker and time
        header[header.index("T")] = "symbol"
    if "timeHigh" in header and "name" in header:
        header[header.index("name")] = ""  # a number of that vendor's own
    names = [plain(name) for name in header]
    bare = [plain(re.sub(r"[(\[].*?[)\]]", "", name)) for name in header]
    found: dict[Role, tuple[int, ...]] = {}
    for role, spellings in SPELLINGS.items():
        # Units in brackets are not read unless nothing else has the name.
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
    return _ROLE_OF.get(plain(name))


def missing_columns(
    found: Iterable[Role], header: Sequence[str], needed: Sequence[Role] = NEEDED
) -> str | None:
    """Say which needed columns a header lacks; none where it has them all."""
    missing = [role for role in needed if role not in found]
    if not missing:
        return None
    has = ", ".join(name[:40] or "a column without a name" for name in header[:20]) or "none"
    spelled = [f"{role} may be called {_EXAMPLES[role]}" for role in missing if role in _EXAMPLES]
    told = f" ({'; '.join(spelled)})" if spelled else ""
    return f"no column for {', '.join(missing)}; it has {has}{told}"
