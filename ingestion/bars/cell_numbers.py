"""The texts of vendors' cells as numbers.

A number may have a thousands separator, a decimal comma, a currency sign or, for a volume, a unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


EMPTY_CELLS = frozenset(
    {
        *("", "null", "none", "nan", "na", "n/a", "-", "--", "—", "–", ".", "\\n", "<na>", "nat"),
        *("#n/a", "#na", "#n/a n/a", "#value!", "nil"),
    }
)
"""What vendors write where they have no number; lower case."""

_CURRENCY = re.compile(r"^([+-]?)\s*(?:[$€£¥₹₩]|rs\.?|usd|us\$)\s*", re.IGNORECASE)
_GROUPS = re.compile(r"(?<=\d)[\s'’\u00a0\u202f](?=\d)")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+)(?:,\d*)?")
_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


class Comma(Enum):
    """What a comma in a number means."""

    THOUSANDS = "1,234.5"
    DECIMAL = "1.234,5"


def read_number(text: str, comma: Comma | None = None) -> float:
    """Read a number; NaN for none.

    Raises
    ------
    ValueError
        If it is no number, or its comma may mean either.

    Examples
    --------
    >>> read_number("$1,234.50", Comma.THOUSANDS), read_number("1,5", Comma.DECIMAL)
    (1234.5, 1.5)
    """
    short = text.strip()
    if short.casefold() in EMPTY_CELLS:
        return float("nan")
    if comma is not Comma.DECIMAL:
        try:
            return float(short)
        except ValueError:
            pass
    short = _GROUPS.sub("", _CURRENCY.sub(r"\1", short))
    if comma is Comma.THOUSANDS and _THOUSANDS.fullmatch(short):
        short = short.replace(",", "")
    elif comma is Comma.DECIMAL and _DECIMAL_COMMA.fullmatch(short):
        short = short.replace(".", "").replace(",", ".")
    return float(short)


def read_volume(text: str, comma: Comma | None = None) -> float:
    """Read a volume, which may be in thousands, millions or billions: ``1.25M``.

    Raises
    ------
    ValueError
        If it is no number.
    """
    short = text.strip()
    unit = _UNITS.get(short[-1:].casefold())
    if unit is None or len(short) < 2 or not (short[-2].isdigit() or short[-2] in " ."):
        return read_number(text, comma)
    # To the share: 1.1 millions are 1,100,000 and not 1,100,000.0000000002.
    return round(read_number(short[:-1], comma) * unit, 6)


def read_numbers(
    texts: Sequence[str | None], comma: Comma | None, *, as_volume: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read a column of texts.

    Returns
    -------
    tuple
        The values, NaN where there is none, and which of them are there but unreadable.
    """
    read = read_volume if as_volume else read_number
    values = np.full(len(texts), np.nan)
    unreadable = np.zeros(len(texts), dtype=bool)
    for at, text in enumerate(texts):
        if text is None:
            continue
        try:
            values[at] = read(text, comma)
        except ValueError:
            unreadable[at] = True
    return values, unreadable


def settle_comma(texts: Iterable[str], *, dots: bool, default: Comma | None) -> Comma | None:
    """Return what the comma means in a file's numbers.

    Parameters
    ----------
    texts
        Those that have a comma, or more than one point.
    dots
        Whether another number of the file has a point before other than three digits.
    default
        What it means where nothing proves it.

    Returns
    -------
    Comma | None
        None where both are proved.
    """
    proofs = {Comma.THOUSANDS} if dots else set()
    for text in texts:
        short = re.sub(r"[^\d.,]", "", text)
        last_comma, last_dot = short.rfind(","), short.rfind(".")
        commas, points = short.count(","), short.count(".")
        if commas and points:
            proofs.add(Comma.THOUSANDS if last_dot > last_comma else Comma.DECIMAL)
        elif commas > 1:
            proofs.add(Comma.THOUSANDS)
        elif points > 1 or (
            commas and (len(short) - last_comma != 4 or last_comma > 3 or short[0] in "0,")
        ):
            proofs.add(Comma.DECIMAL)
    if len(proofs) > 1:
        return None
    return next(iter(proofs), default)
