"""What vendors call things: column names, and symbols in file names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from ingestion.errors import InputError
from ingestion.exchanges import CALENDARS, FX_VENUES, ROUND_THE_CLOCK_VENUES


class Role(StrEnum):
    """What a column means to the import."""

    TIME = "time"
    SYMBOL = "symbol"
    OPEN = "open"
    HIGH = "high"
    LOW = "low"
    CLOSE = "close"
    VOLUME = "volume"
    SPLIT_RATIO = "split_ratio"


PRICES = (Role.OPEN, Role.HIGH, Role.LOW, Role.CLOSE)
NEEDED = (Role.TIME, *PRICES)
"""What a file of bars cannot do without."""

# Of several spellings in one file the first here is meant: `timestamp` says more than `date`, and
# a `name` beside a `symbol` is the company's.
_SPELLINGS: dict[Role, tuple[str, ...]] = {
    Role.TIME: ("timestamp", "opentime", "unix", "datetime", "date", "time"),
    Role.SYMBOL: ("symbol", "ticker", "name"),
    Role.OPEN: ("open",),
    Role.HIGH: ("high",),
    Role.LOW: ("low",),
    Role.CLOSE: ("close",),
    Role.VOLUME: ("volume",),
    Role.SPLIT_RATIO: (
        "splitratio",
        "splitcoefficient",
        "splitfactor",
        "stocksplits",
        "stocksplit",
        "split",
        "splits",
        "ratio",
    ),
}

_ONE_SYMBOL = re.compile(r"(?P<exchange>[A-Z0-9_]+?)_(?P<ticker>.+)_1[dD]")
_VENUES = CALENDARS.keys() | FX_VENUES | ROUND_THE_CLOCK_VENUES


def recognise(
    path: Path, header: Sequence[str], needed: Sequence[Role] = NEEDED
) -> dict[Role, int]:
    """Find the columns of a file by their names; case, blanks and punctuation do not matter.

    Columns that have no role (``Adj Close``, dividends and the like) are left out: the import takes
    prices before dividends, as TradingView charts them.

    Returns
    -------
    dict[Role, int]
        Position in ``header`` of each role's column.

    Raises
    ------
    InputError
        If a needed column is missing, or two columns have the same name.
    """
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in header]
    found: dict[Role, int] = {}
    for role, spellings in _SPELLINGS.items():
        for spelling in spellings:
            if plain.count(spelling) > 1:
                raise InputError(f"{path} has two columns {spelling!r}; remove one of them")
            if spelling in plain:
                found[role] = plain.index(spelling)
                break
    if missing := [role for role in needed if role not in found]:
        has = ", ".join(name[:40] for name in header[:20]) or "none"
        raise InputError(
            f"{path} has no column for {', '.join(missing)}; it has {has} "
            f"({missing[0]} may be called {', '.join(_SPELLINGS[missing[0]])})"
        )
    return found


def name_in(path: Path) -> str:
    """Return the vendor's name of the one symbol that a file without a symbol column holds.

    ``{EXCHANGE}_{SYMBOL}_1d.parquet`` gives a unified symbol; of any other file name the part
    before the extension is a bare ticker.

    Examples
    --------
    >>> name_in(Path("NASDAQ_AAPL_1d.parquet")), name_in(Path("AAPL.csv"))
    ('NASDAQ:AAPL', 'AAPL')
    >>> name_in(Path("FX_IDC_EURUSD_1d.parquet"))
    'FX_IDC:EURUSD'
    """
    stem = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    match = _ONE_SYMBOL.fullmatch(stem)
    if match is None:
        return stem
    # An exchange code may hold an underscore itself, so known codes are tried first, longest first.
    for code in sorted(_VENUES, key=len, reverse=True):
        if stem.startswith(f"{code}_") and len(stem) > len(code) + len("__1d"):
            return f"{code}:{stem[len(code) + 1 : -3]}"
    return f"{match['exchange']}:{match['ticker']}"
