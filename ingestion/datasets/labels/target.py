"""Labels by their names: the text that ``--target`` takes, and that a set keeps.

``NAME[,OPTION=VALUE]…``; the name is read from right to left, and is the column's:

``fwd_return_<n>d``, ``total_return_<n>d``   a return of n sessions, of the price or with dividends
``excess_…``     of such a return, over ``benchmark=SYMBOL``
``scaled_…``     of any return, by the volatility of the last ``volatility=20`` returns
``sign_…``       −1, 0, 1 of any of these
``quantile_…``   0 to ``classes=5`` − 1, among the day's members
``barrier_<n>d``, ``barrier_return_<n>d``    ``profit=5%`` or ``2sd``, ``loss=…``, ``both=loss``

``as=COLUMN`` names the column otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from ingestion.base.errors import InputError
from ingestion.base.wording import did_you_mean
from ingestion.datasets.labels.barrier import Barrier, BarrierReturn, Width
from ingestion.datasets.labels.classes import CLASSES, Quantile, Sign
from ingestion.datasets.labels.excess import Excess
from ingestion.datasets.labels.label import LONGEST, Label
from ingestion.datasets.labels.returns import ForwardReturn, Return, TotalReturn
from ingestion.datasets.labels.scaled import VOLATILITY_BARS, Scaled

T = TypeVar("T")
D = TypeVar("D")

_NAME = re.compile(
    r"(?P<order>sign_|quantile_)?(?P<scaled>scaled_)?(?P<excess>excess_)?"
    r"(?P<kind>fwd|total)_return_(?P<days>[1-9][0-9]{0,3})d"
)
_BARRIER = re.compile(r"barrier_(?P<return>return_)?(?P<days>[1-9][0-9]{0,3})d")
_COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED = {"symbol", "event_timestamp", "label_start_timestamp", "label_end_timestamp"}
_FORMS = (
    f"a target is fwd_return_<n>d with n sessions from 1 to {LONGEST}, such as fwd_return_1d, "
    "fwd_return_5d, fwd_return_20d; also total_return_<n>d, excess_fwd_return_<n>d,"
    "benchmark=SYMBOL, scaled_…, sign_…, quantile_… of these, and "
    "barrier_<n>d,profit=5%,loss=2sd"
)


def label_of(text: str) -> Label:
    """Return the label of a text.

    Raises
    ------
    InputError
        If there is no such label, or an option of it is missing, unknown or wrong.

    Examples
    --------
    >>> label_of("quantile_excess_fwd_return_5d,benchmark=AMEX:SPY").column
    'quantile_excess_fwd_return_5d'
    >>> print(label_of("barrier_10d,profit=2sd,loss=1sd,as=exit"))
    barrier_10d,profit=2sd,loss=1sd,volatility=20,as=exit
    """
    name, *given = text.split(",")
    options = _Options(text, given)
    if (match := _NAME.fullmatch(name)) is not None:
        label = _of_return(match, options)
    elif (match := _BARRIER.fullmatch(name)) is not None:
        kind = BarrierReturn if match["return"] else Barrier
        label = kind(
            int(match["days"]),
            options.take("profit", Width.of, None),
            options.take("loss", Width.of, None),
            options.take("both", str, "loss"),  # type: ignore[arg-type]
            options.take("volatility", int, VOLATILITY_BARS),
        )
    else:
        raise InputError(f'no target "{name}"; {_FORMS}')
    column = options.take("as", str, "")
    options.refuse_others()
    if column and (not _COLUMN.fullmatch(column) or column in _RESERVED or "__" in column):
        raise InputError(f'{text}: as="{column}" is no name for a label\'s column')
    return replace(label, renamed=column) if column else label


def labels_of(texts: str | Sequence[str]) -> tuple[Label, ...]:
    """Return the labels of texts, or of one with spaces between them.

    Raises
    ------
    InputError
        If there is none, :func:`label_of` refuses one, or two are to be one column.

    Examples
    --------
    >>> [each.column for each in labels_of("fwd_return_5d sign_fwd_return_20d")]
    ['fwd_return_5d', 'sign_fwd_return_20d']
    """
    several = texts.split() if isinstance(texts, str) else list(texts)
    found: dict[str, Label] = {}
    for label in (label_of(each) for each in several):
        if label.column in found:
            raise InputError(
                f"{found[label.column]} and {label} are both to be the column {label.column}: give "
                "one another name with ,as=COLUMN"
            )
        found[label.column] = label
    if not found:
        raise InputError(f'no target "{texts}"; {_FORMS}')
    return tuple(found.values())


class _Options:
    """The options of one text; each is taken once."""

    def __init__(self, text: str, given: Sequence[str]) -> None:
        self._text = text
        self._known: list[str] = []
        self._given: dict[str, str] = {}
        for each in given:
            name, equals, value = each.partition("=")
            if not (equals and value) or name in self._given:
                raise InputError(f'{text}: "{each}" is no option; write each once, as NAME=VALUE')
            self._given[name] = value

    def take(self, name: str, read: Callable[[str], T], default: D) -> T | D:
        self._known.append(name)
        value = self._given.pop(name, None)
        if value is None:
            return default
        try:
            return read(value)
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f'{self._text}: {name}="{value}" is no whole number') from None

    def refuse_others(self) -> None:
        for name in self._given:
            near = did_you_mean(name, self._known)
            raise InputError(
                f"{self._text} has no option {name}{near}; it has {', '.join(self._known)}"
            )


def _of_return(match: re.Match[str], options: _Options) -> Label:
    days = int(match["days"])
    kept: Return = ForwardReturn(days) if match["kind"] == "fwd" else TotalReturn(days)
    label: Label = kept
    if match["excess"]:
        benchmark = options.take("benchmark", str, None)
        if benchmark is None:
            raise InputError(
                f"{match[0]} needs a benchmark: {match[0]},benchmark=SYMBOL, such as AMEX:SPY"
            )
        label = Excess(kept, benchmark)
    if match["scaled"]:
        label = Scaled(label, options.take("volatility", int, VOLATILITY_BARS))
    if match["order"] == "sign_":
        label = Sign(label)
    elif match["order"] == "quantile_":
        label = Quantile(label, options.take("classes", int, CLASSES))
    return label
