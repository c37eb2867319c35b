"""Splits into training and test rows that share no label: walk-forward, purged, combinatorial.

A label is known at its end, so a row of training whose span touches a test row's would know a part
of what is tested. Such rows are purged; with an embargo, so are rows that were decided soon after a
test label's end. Each splitter is one of scikit-learn's in its use: give it as ``cv``.

``LabelSpans``  decision and label's end of each row; start there
``WalkForward``, ``PurgedKFold``, ``CombinatorialPurged``  the splitters
:mod:`ingestion.datasets.sample_weights` weighs rows whose labels overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations, pairwise
from math import comb

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.columns import INSTANT
from ingestion.base.errors import InputError
from ingestion.base.instants import to_micros

Integers = NDArray[np.int64]
Split = tuple[Integers, Integers]
"""The places of the rows of training and of test, each ascending."""

DECISION, LABEL_END = "event_timestamp", "label_end_timestamp"


class LabelSpans:
    """When each row was decided, and when its label was known.

    Parameters
    ----------
    decided, ends
        Unix µs, shape ``(n,)``, in any order. A span includes both: a label that ends at the
        instant of another row's decision overlaps that row's.

    Raises
    ------
    InputError
        If they are not of one length, or a label ends before its decision.

    Examples
    --------
    >>> spans = LabelSpans([0, 10, 20], [15, 25, 35])
    >>> len(spans)
    3
    """

    def __init__(self, decided: Sequence[int] | Integers, ends: Sequence[int] | Integers) -> None:
        self.decided, self.ends = np.asarray(decided, np.int64), np.asarray(ends, np.int64)
        if self.decided.ndim != 1 or self.decided.shape != self.ends.shape:
            raise InputError(
                f"decisions have the shape {self.decided.shape} and ends {self.ends.shape}: give "
                "one of each for each row"
            )
        if len(early := np.flatnonzero(self.ends < self.decided)):
            raise InputError(f"row {early[0]}: its label ends before its decision")
        order = np.argsort(self.decided, kind="stable")
        self.order: Integers = order
        """The rows in the order of their decisions."""
        self.sorted_decided: Integers = self.decided[order]
        self.sorted_ends: Integers = self.ends[order]
        self.longest = int((self.ends - self.decided).max(initial=0))
        """The longest span, µs."""

    @classmethod
    def of(cls, rows: pa.Table, decision: str = DECISION, end: str = LABEL_END) -> LabelSpans:
        """Take the spans from a training set's columns.

        Raises
        ------
        InputError
            If a column is missing, has no timestamps, or a null.
        """
        return cls(_micros(rows, decision), _micros(rows, end))

    def __len__(self) -> int:
        return len(self.decided)

    def cut(self, groups: int) -> Integers:
        """Cut the rows, in the order of their decisions, into groups of about one size.

        Rows of one instant are in one group.

        Returns
        -------
        Integers
            Where each group begins, and the number of rows; shape ``(groups + 1,)``.

        Raises
        ------
        InputError
            If there are fewer instants than groups.
        """
        first = np.flatnonzero(np.diff(self.sorted_decided, prepend=self.sorted_decided[:1] - 1))
        if groups > len(first):
            raise InputError(
                f"{groups} groups cannot be made of decisions at {len(first)} instants: ask for "
                "fewer, or give more rows"
            )
        edges = [0]
        for group in range(1, groups):
            wanted = np.searchsorted(first, len(self) * group / groups)
            # Each group needs an instant of its own, those that follow too.
            lowest = int(np.searchsorted(first, edges[-1])) + 1
            edges.append(int(first[np.clip(wanted, lowest, len(first) - groups + group)]))
        return np.array([*edges, len(self)], np.int64)

    def training(self, tests: Sequence[slice], embargo: int) -> NDArray[np.bool_]:
        """Say which rows, in the order of their decisions, may train beside tests.

        Parameters
        ----------
        tests
            Each a group of :meth:`cut`, or some that lie side by side.
        embargo
            For how long after a test label's end nothing that trains may be decided, µs, inclusive.
        """
        may = np.ones(len(self), dtype=bool)
        for test in tests:
            first = self.sorted_decided[test.start]
            # Only rows this near before it can have a label that is not over.
            near = int(np.searchsorted(self.sorted_decided, first - self.longest))
            may[near : test.start] &= self.sorted_ends[near : test.start] < first
            last = self.sorted_ends[test].max() + embargo
            may[test.start : np.searchsorted(self.sorted_decided, last, side="right")] = False
            may[test] = False
        return may

    def places(self, some: NDArray[np.bool_]) -> Integers:
        """Return the places of some rows, which are given in the order of their decisions."""
        here = np.empty_like(some)
        here[self.order] = some
        return np.flatnonzero(here)


@dataclass(frozen=True)
class _Splitter:
    """What scikit-learn asks of ``cv``."""

    spans: LabelSpans

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:  # noqa: N803 as scikit-learn calls it
        """Return how many splits there are."""
        return self._count()

    def split(
        self,
        X: Sized | None = None,  # noqa: N803 as scikit-learn calls it
        y: object = None,
        groups: object = None,
    ) -> Iterator[Split]:
        """Yield the places of each split's rows of training and of test.

        Parameters
        ----------
        X
            The rows whose spans these are, or None.
        y, groups
            Not used.

        Raises
        ------
        InputError
            If ``X`` has another number of rows, there are too few instants, or a split has no row
            that may train.
        """
        rows = len(self.spans) if X is None else getattr(X, "shape", (len(X),))[0]
        if rows != len(self.spans):
            raise InputError(f"{rows:,} rows cannot be split by {len(self.spans):,} spans")
        for number, (train, tests) in enumerate(self._splits()):
            if not train.any():
                raise InputError(
                    f"split {number} has no row that may train: ask for fewer splits, a shorter "
                    "embargo, or give more rows"
                )
            tested = np.zeros(len(self.spans), dtype=bool)
            for test in tests:
                tested[test] = True
            yield self.spans.places(train), self.spans.places(tested)

    def _count(self) -> int:
        raise NotImplementedError

    def _splits(self) -> Iterator[tuple[NDArray[np.bool_], Sequence[slice]]]:
        """Yield what trains and the tests, in the order of the decisions."""
        raise NotImplementedError


@dataclass(frozen=True)
class WalkForward(_Splitter):
    """Train on the past, test on what follows; one test after another.

    The rows are cut into ``n_splits + 1`` groups of about one size in the order of time. Each but
    the first is a test, and rows that were decided before it train, purged.

    Parameters
    ----------
    window
        How long before the test's first decision training begins; None for the first row.

    Examples
    --------
    >>> spans = LabelSpans([0, 10, 20, 30], [15, 25, 35, 45])
    >>> [(train.tolist(), test.tolist()) for train, test in WalkForward(spans, 1).split()]
    [([0], [2, 3])]
    """

    n_splits: int = 5
    window: timedelta | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _at_least(self.n_splits, 1, "n_splits")

    def _count(self) -> int:
        return self.n_splits

    def _splits(self) -> Iterator[tuple[NDArray[np.bool_], Sequence[slice]]]:
        edges = self.spans.cut(self.n_splits + 1).tolist()
        decided = self.spans.sorted_decided
        for begin, end in pairwise(edges[1:]):
            test = slice(begin, end)
            train = self.spans.training([test], 0)
            train[end:] = False
            if self.window is not None:
                train[: np.searchsorted(decided, decided[begin] - to_micros(self.window))] = False
            yield train, [test]


@dataclass(frozen=True)
class PurgedKFold(_Splitter):
    """Each group of rows in the order of time is a test once; the others train, purged.

    Parameters
    ----------
    embargo
        For how long after a test label's end no row of training may be decided, inclusive.

    Examples
    --------
    >>> spans = LabelSpans([0, 10, 20, 30], [5, 20, 25, 35])
    >>> [(train.tolist(), test.tolist()) for train, test in PurgedKFold(spans, 2).split()]
    [([3], [0, 1]), ([0], [2, 3])]
    """

    n_splits: int = 5
    embargo: timedelta = field(default=timedelta(0), kw_only=True)

    def __post_init__(self) -> None:
        _at_least(self.n_splits, 2, "n_splits")
        _refuse_negative(self.embargo)

    def _count(self) -> int:
        return self.n_splits

    def _splits(self) -> Iterator[tuple[NDArray[np.bool_], Sequence[slice]]]:
        edges = self.spans.cut(self.n_splits).tolist()
        for begin, end in pairwise(edges):
            test = slice(begin, end)
            yield self.spans.training([test], to_micros(self.embargo)), [test]


@dataclass(frozen=True)
class CombinatorialPurged(_Splitter):
    """Each choice of some groups is a test once; the others train, purged.

    So each row is tested several times, by models that trained on other rows: see :meth:`paths`.
    Source: M. López de Prado, Advances in Financial Machine Learning (2018), chapter 12.

    Parameters
    ----------
    embargo
        As of :class:`PurgedKFold`.

    Examples
    --------
    >>> spans = LabelSpans([0, 10, 20, 30], [5, 15, 25, 35])
    >>> cv = CombinatorialPurged(spans, n_groups=4, n_test_groups=2)
    >>> cv.get_n_splits(), next(cv.split())[1].tolist(), len(cv.paths())
    (6, [0, 1], 3)
    """

    n_groups: int = 6
    n_test_groups: int = 2
    embargo: timedelta = field(default=timedelta(0), kw_only=True)

    def __post_init__(self) -> None:
        _refuse_negative(self.embargo)
        _at_least(self.n_test_groups, 1, "n_test_groups")
        _at_least(self.n_groups, self.n_test_groups + 1, "n_groups")

    def _count(self) -> int:
        return comb(self.n_groups, self.n_test_groups)

    def paths(self) -> list[list[int]]:
        """Return histories of tests, each of which has every group once.

        Returns
        -------
        list
            Of each path, for each group in the order of time, the number of the split whose test
            of that group it takes. No two paths take the same test.
        """
        tested: list[list[int]] = [[] for _ in range(self.n_groups)]
        for number, chosen in enumerate(combinations(range(self.n_groups), self.n_test_groups)):
            for group in chosen:
                tested[group].append(number)
        return [list(path) for path in zip(*tested, strict=True)]

    def _splits(self) -> Iterator[tuple[NDArray[np.bool_], Sequence[slice]]]:
        edges = self.spans.cut(self.n_groups).tolist()
        for chosen in combinations(range(self.n_groups), self.n_test_groups):
            tests = [slice(edges[group], edges[group + 1]) for group in chosen]
            yield self.spans.training(tests, to_micros(self.embargo)), tests


def _at_least(value: int, least: int, name: str) -> None:
    if value < least:
        raise InputError(f"{name} is {value}; it must be at least {least}")


def _refuse_negative(embargo: timedelta) -> None:
    if embargo < timedelta(0):
        raise InputError(f"an embargo of {embargo} is none: give a time from 0")


def _micros(rows: pa.Table, name: str) -> Integers:
    if name not in rows.column_names:
        raise InputError(
            f"the rows have no column {name}; they have {', '.join(rows.column_names)}"
        )
    if not pa.types.is_timestamp(rows.schema.field(name).type):
        raise InputError(f"{name} is {rows.schema.field(name).type}, but must be a timestamp")
    column = rows[name].combine_chunks()
    if column.null_count:
        raise InputError(f"{name} is null in {column.null_count:,} rows: leave those out")
    return np.asarray(column.cast(INSTANT, safe=False).cast(pa.int64()))
