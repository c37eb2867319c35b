"""Several features, universes and horizons, studied together over the same dates."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ingestion.datasets.factors import (
    CrossSection,
    FactorSeries,
    Floats,
    Integers,
    average_ranks,
    correlation,
)


@dataclass(frozen=True)
class DateRows:
    """The decisions of one UTC date, n of them; NaN stands for no value and for no label."""

    day: int
    """Days since 1970."""
    codes: NDArray[np.int32]
    """A number from 0 for each symbol, the same at all dates."""
    decided: Integers
    """Unix µs."""
    values: Floats
    """Shape ``(features, n)``."""
    labels: Floats
    """Shape ``(horizons, n)``."""
    ends: Integers
    """When each label ends, Unix µs; shape ``(horizons, n)``."""
    sectors: NDArray[np.int32]
    """A number from 0 for each sector; -1 where it is not known."""
    members: NDArray[np.bool_]
    """Who was in which universe; shape ``(universes, n)``."""

    def of(self, rows: Integers) -> DateRows:
        """Return some of the rows."""
        return DateRows(
            self.day,
            self.codes[rows],
            self.decided[rows],
            self.values[:, rows],
            self.labels[:, rows],
            self.ends[:, rows],
            self.sectors[rows],
            self.members[:, rows],
        )


@dataclass
class Sectors:
    """Rank correlations within each sector, by date."""

    days: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    ic: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    counts: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, rows: CrossSection, sectors: NDArray[np.int32]) -> None:
        """Take the rows of the next date, with the sector of each; -1 is none."""
        order = np.argsort(sectors, kind="stable")[np.count_nonzero(sectors < 0) :]
        if not len(order):
            return
        numbers, begins = np.unique(sectors[order], return_index=True)
        for number, places in zip(numbers.tolist(), np.split(order, begins[1:]), strict=True):
            ranks = average_ranks(rows.values[places]), average_ranks(rows.labels[places])
            self.days[number].append(rows.day)
            self.ic[number].append(correlation(*ranks))
            self.counts[number].append(len(places))


@dataclass
class Coverage:
    """How many of the rows that were asked about have a value, by date."""

    days: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    valued: list[int] = field(default_factory=list)


class FactorStudy:
    """Takes the rows of one date after another; what it gives is by feature, universe and horizon.

    Parameters
    ----------
    features, universes
        How many there are.
    horizons
        Of the labels, ascending.
    quantiles
        How many quantiles the rows of a date are cut into.
    least
        Dates of fewer rows in a universe are no dates of it, such as the Sundays of a few coins.

    Examples
    --------
    Two dates of three symbols, one feature that ranks them as their labels do:

    >>> study = FactorStudy(1, 1, (1,), quantiles=3)
    >>> one = np.array([[1.0, 2.0, 3.0]])
    >>> for day in (0, 1):
    ...     study.add(DateRows(
    ...         day, np.arange(3, dtype=np.int32), np.full(3, day), one, one / 100,
    ...         np.full((1, 3), day + 1), np.zeros(3, np.int32), np.ones((1, 3), bool),
    ...     ))
    >>> study.series[0, 0, 0].ic
    [1.0, 1.0]
    >>> study.decay(0, 0)  # with the value known that day, and the one of the date before
    [1.0, 1.0]
    """

    def __init__(
        self,
        features: int,
        universes: int,
        horizons: Sequence[int],
        *,
        quantiles: int,
        least: int = 1,
    ) -> None:
        keys = list(product(range(features), range(universes), range(len(horizons))))
        pairs = list(product(range(features), range(universes)))
        self.lags = (0, *horizons)
        """Of the decay, in dates."""
        self.series = {key: FactorSeries(quantiles) for key in keys}
        self.sectors = {key: Sectors() for key in keys}
        self.coverage = {pair: Coverage() for pair in pairs}
        self._decay: dict[tuple[int, int], list[list[float]]] = {
            pair: [[] for _ in self.lags] for pair in pairs
        }
        self.few = [0] * universes
        """Dates of each universe that have too few rows."""
        self._least = least
        self._before: list[deque[Floats]] = [deque(maxlen=max(horizons)) for _ in range(universes)]
        """By universe the values of earlier dates, newest first: by code, a row each feature."""

    def add(self, rows: DateRows) -> None:
        """Take the rows of the next date."""
        for universe, who in enumerate(rows.members):
            count = int(np.count_nonzero(who))
            if count >= self._least:
                self._add(universe, rows.of(np.flatnonzero(who)))
            elif count:
                self.few[universe] += 1

    def _add(self, universe: int, rows: DateRows) -> None:
        """Take the rows of one universe's members."""
        there, labelled = np.isfinite(rows.values), np.isfinite(rows.labels)
        decided = int(np.median(rows.decided))
        for feature, has_value in enumerate(there):
            coverage = self.coverage[feature, universe]
            coverage.days.append(rows.day)
            coverage.asked.append(len(has_value))
            coverage.valued.append(int(np.count_nonzero(has_value)))
            for horizon, has_label in enumerate(labelled):
                key = (feature, universe, horizon)
                chosen = np.flatnonzero(has_value & has_label)
                section = CrossSection(
                    rows.day,
                    decided,
                    rows.codes[chosen],
                    rows.values[feature, chosen],
                    rows.labels[horizon, chosen],
                    rows.ends[horizon, chosen],
                )
                if len(chosen):
                    self.series[key].add(section)
                    self.sectors[key].add(section, rows.sectors[chosen])
        self._add_decay(universe, rows.of(np.flatnonzero(labelled[0])))
        self._keep(universe, rows)

    def decay(self, feature: int, universe: int) -> list[float | None]:
        """Return the mean rank correlation of the shortest horizon's label by lag of the value."""
        means = []
        for found in self._decay[feature, universe]:
            finite = [each for each in found if np.isfinite(each)]
            means.append(float(np.mean(finite)) if finite else None)
        return means

    def _add_decay(self, universe: int, rows: DateRows) -> None:
        """Take the rows that have a label of the shortest horizon."""
        before = self._before[universe]
        for number, lag in enumerate(self.lags[: len(before) + 1]):
            if lag > len(before):
                break
            values = rows.values if lag == 0 else _at(before[lag - 1], rows.codes)
            for feature, there in enumerate(np.isfinite(values)):
                if there.any():
                    ranks = average_ranks(values[feature, there])
                    labels = average_ranks(rows.labels[0, there])
                    self._decay[feature, universe][number].append(correlation(ranks, labels))

    def _keep(self, universe: int, rows: DateRows) -> None:
        values = np.full((len(rows.values), int(rows.codes.max()) + 1), np.nan)
        values[:, rows.codes] = rows.values
        self._before[universe].appendleft(values)


def _at(values: Floats, codes: NDArray[np.int32]) -> Floats:
    """Return the columns of some symbols; NaN for those that were not there."""
    found = np.full((len(values), len(codes)), np.nan)
    known = codes < values.shape[1]
    found[:, known] = values[:, codes[known]]
    return found
