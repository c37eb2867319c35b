"""What the scanner is known to understand: markets, operations of a filter, columns.

A universe is checked against it before anybody asks, because the scanner rejects a whole request
for one word that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_COUNTRIES = """
    america argentina australia austria bahrain bangladesh belgium brazil bulgaria canada chile
    china colombia croatia cyprus czech denmark egypt estonia finland france germany greece hongkong
    hungary iceland india indonesia ireland israel italy japan kenya korea ksa kuwait latvia
    lithuania luxembourg malaysia mexico morocco netherlands newzealand nigeria norway pakistan peru
    philippines poland portugal qatar romania rsa russia serbia singapore slovakia slovenia spain
    srilanka sweden switzerland taiwan thailand tunisia turkey uae uk venezuela vietnam
"""

COUNTRIES = frozenset(_COUNTRIES.split())
"""Markets of stocks and funds, one per country."""

_CODES = {
    "crypto": "c",
    "forex": "f",
    "coin": "o",
    "cfd": "d",
    "futures": "u",
    "bonds": "b",
    "bond": "n",
    "economics2": "e",
    "options": "p",
}
"""By market that is no country, its letter in ``scanner_columns.txt``."""

GLOBAL = "global"
"""All markets at once."""

MARKETS = COUNTRIES.union(_CODES, [GLOBAL])
"""Every market that can be asked."""

NUMBER, VALUE, TEXT = "a number or a column", "a value or a column", "a text"
TEXTS, LIST = "a text or a list of texts", "a list"
COLUMN_AND_PERCENT, NOTHING = "a list of a column and percentages", "nothing"

OPERATIONS: Mapping[str, str] = {
    **dict.fromkeys(("greater", "egreater", "less", "eless"), NUMBER),
    **dict.fromkeys(("crosses", "crosses_above", "crosses_below"), NUMBER),
    **dict.fromkeys(("equal", "nequal"), VALUE),
    **dict.fromkeys(("match", "nmatch", "smatch"), TEXT),
    **dict.fromkeys(("has", "has_none_of"), TEXTS),
    **dict.fromkeys(("in_range", "not_in_range"), LIST),
    **dict.fromkeys(("in_day_range", "in_week_range", "in_month_range"), LIST),
    **dict.fromkeys(("above%", "below%", "in_range%", "not_in_range%"), COLUMN_AND_PERCENT),
    **dict.fromkeys(("empty", "nempty"), NOTHING),
}
"""By operation of a filter, what its right side is."""

_FRAMES = frozenset({"1", "5", "15", "30", "60", "120", "240", "1W", "1M"})
_SYMBOLSET = re.compile(r"[A-Z]{2,16}:[A-Z0-9_]{1,32};\S{1,64}")


def is_symbolset(text: str) -> bool:
    """Return whether a text has the form of a set of symbols.

    Examples
    --------
    >>> is_symbolset("SYML:SP;SPX"), is_symbolset("SP:SPX")
    (True, False)
    """
    return _SYMBOLSET.fullmatch(text) is not None


def is_column(name: str, market: str) -> bool:
    """Return whether a market is known to have a column.

    Examples
    --------
    >>> is_column("RSI|60", "america"), is_column("RSI|60", "futures"), is_column("RSI|3", "uk")
    (True, False, False)
    """
    known = columns()
    code = "s" if market in COUNTRIES else _CODES.get(market, "")
    base, bar, frame = name.rpartition("|")
    if bar and frame in _FRAMES and base in known:
        markets = known[base]
        if any(each.isupper() for each in markets) and code.upper() in markets:
            return True
    return name in known and code in known[name].lower()


@cache
def columns() -> Mapping[str, str]:
    """Return the letters of the markets that have a column, by its name without its frame."""
    text = Path(__file__).with_name("scanner_columns.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return dict(line.rsplit(" ", 1) for line in lines)
