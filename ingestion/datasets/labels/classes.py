"""Classes of returns: their sign, and their place among the day's members."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ingestion.base.errors import InputError
from ingestion.base.instants import DAY, MICROSECONDS
from ingestion.datasets.labels.label import Decisions, DropReason, OfAnother, Outcome

CLASSES = 5
"""Quantile classes unless said otherwise: quintiles."""
_MOST_CLASSES = 1_000


@dataclass(frozen=True)
class Sign(OfAnother):
    """``sign_<return>``: −1, 0 or 1, ``int64``.

    Examples
    --------
    >>> from ingestion.datasets.labels.returns import ForwardReturn
    >>> str(Sign(ForwardReturn(5)))
    'sign_fwd_return_5d'
    """

    prefix: ClassVar[str] = "sign"

    def make(self, decisions: Decisions) -> Outcome:
        outcome = self.of.make(decisions)
        with np.errstate(invalid="ignore"):
            sign = np.sign(np.nan_to_num(outcome.values)).astype(np.int64)
        return replace(outcome, values=sign)


@dataclass(frozen=True)
class Quantile(OfAnother):
    """``quantile_<return>``: the class of a return among the day's, from 0 (lowest), ``int64``.

    Compared are all labelled members that decided on the same UTC date. Of m members, one with b
    smaller returns and e equal ones (its own included) is in class ⌊classes × (b + e/2) / m⌋: equal
    returns are in one class, that of their middle place, and without equal ones the classes differ
    by one member at most. The value was known when the last of these members' labels was, so it
    ends there.

    Examples
    --------
    >>> from ingestion.datasets.labels.returns import ForwardReturn
    >>> str(Quantile(ForwardReturn(5), classes=10))
    'quantile_fwd_return_5d,classes=10'
    """

    classes: int = CLASSES

    prefix: ClassVar[str] = "quantile"

    def __post_init__(self) -> None:
        if not 2 <= self.classes <= _MOST_CLASSES:
            raise InputError(f"{self.name}: 2 to {_MOST_CLASSES:,} classes, not {self.classes:,}")

    def options(self) -> dict[str, object]:
        return self.of.options() | {"classes": self.classes}

    def make(self, decisions: Decisions) -> Outcome:
        outcome = self.of.make(decisions)
        size = len(outcome.values)
        there = np.flatnonzero(~outcome.missing)
        days = decisions.series.closed[decisions.rows[there]] // (DAY * MICROSECONDS)
        order = np.lexsort((outcome.values[there], days))
        there, days = there[order], days[order]
        values = outcome.values[there]
        begins_day = np.diff(days, prepend=days[:1] - 1) != 0
        begins_run = begins_day | (np.diff(values, prepend=values[:1]) != 0)
        day, run = np.cumsum(begins_day) - 1, np.cumsum(begins_run) - 1
        first_of_day, members = np.flatnonzero(begins_day)[day], np.bincount(day)[day]
        below, equal = np.flatnonzero(begins_run)[run] - first_of_day, np.bincount(run)[run]
        classes = np.zeros(size, dtype=np.int64)
        classes[there] = self.classes * (2 * below + equal) // (2 * members)
        ends, few = outcome.ends.copy(), np.zeros(size, dtype=bool)
        if len(there):
            ends[there] = np.maximum.reduceat(ends[there], np.flatnonzero(begins_day))[day]
        few[there] = members < self.classes
        problems = dict(outcome.problems) | {DropReason.FEW_MEMBERS: few}
        return replace(outcome, values=classes, ends=ends, problems=problems)
