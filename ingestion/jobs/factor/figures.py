"""From what the dates gave to the figures of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ingestion.base.instants import date_of_day
from ingestion.datasets import target_name
from ingestion.datasets.factor_study import Coverage, FactorStudy, Sectors
from ingestion.datasets.factors import FactorSeries, Floats
from ingestion.datasets.significance import half_life, newey_west_lags, newey_west_t, plain_t

Figure = float | None
"""None where it cannot be said."""


@dataclass(frozen=True)
class OfYear:
    """A calendar year of decisions."""

    year: int
    dates: int
    ic: Figure
    t: Figure
    spread: Figure


@dataclass(frozen=True)
class OfSector:
    """One sector, as it was known at each decision."""

    sector: str
    dates: int
    symbols: float
    """Mean over dates."""
    ic: Figure
    t: Figure


@dataclass(frozen=True)
class OfHorizon:
    """One feature in one universe at one horizon."""

    target: str
    horizon: int
    """Sessions."""
    rows: int
    dates: int
    symbols: float
    """Mean over dates."""
    ic: Figure
    """Mean over dates of the rank correlation of feature and label."""
    ic_std: Figure
    undefined: int
    """Dates without a rank correlation: the feature or the label had one value only."""
    t: Figure
    """Newey and West's, of the mean rank correlation."""
    lags: int
    """That it counts in, in dates."""
    independent_dates: int
    """Dates whose labels do not overlap, and their plain t-value."""
    t_independent: Figure
    passes: bool
    """Whether ``t`` reaches the threshold in size."""
    quantile_returns: tuple[Figure, ...]
    """Mean label from the lowest to the highest quantile of the feature."""
    quantile_excess: tuple[Figure, ...]
    """The same, less the mean label of the date."""
    spread: Figure
    """Highest less lowest quantile."""
    spread_t: Figure
    turnover: tuple[Figure, ...]
    """By quantile, the share of symbols that are new since the date whose label is over."""
    rank_autocorrelation: Figure
    """Of the feature's ranks with those of that date."""
    by_year: tuple[OfYear, ...]
    by_sector: tuple[OfSector, ...]
    series: FactorSeries = field(repr=False)
    """By date; not in the JSON."""

    @property
    def label(self) -> str:
        """What a table calls it: a plain forward return by its sessions, others by their text."""
        return str(self.horizon) if self.target == target_name(self.horizon) else self.target


@dataclass(frozen=True)
class Decay:
    """Rank correlation of the shortest horizon's label with the feature of some dates before."""

    lags: tuple[int, ...]
    """In dates."""
    ic: tuple[Figure, ...]
    half_life: Figure
    """Dates until the first of them is halved."""


@dataclass(frozen=True)
class Factor:
    """One feature in one universe."""

    feature: str
    """``group:name``."""
    universe: str
    coverage: Figure
    """Of the rows with a label, those with a value."""
    asked: int
    """Rows with a label."""
    decay: Decay
    horizons: tuple[OfHorizon, ...]
    by_date: Coverage = field(repr=False)


def factors(
    study: FactorStudy,
    features: Sequence[str],
    universes: Sequence[str],
    targets: Sequence[str],
    sectors: Sequence[str],
    threshold: float,
) -> Iterator[Factor]:
    """Yield the figures of each feature in each universe."""
    for universe, name in enumerate(universes):
        for feature, column in enumerate(features):
            coverage = study.coverage[feature, universe]
            asked = sum(coverage.asked)
            ic = study.decay(feature, universe)
            yield Factor(
                feature=column,
                universe=name,
                coverage=sum(coverage.valued) / asked if asked else None,
                asked=asked,
                decay=Decay(study.lags, tuple(ic), half_life(study.lags, ic)),
                horizons=tuple(
                    _of_horizon(
                        target,
                        study.lags[1 + number],
                        study.series[feature, universe, number],
                        study.sectors[feature, universe, number],
                        sectors,
                        threshold,
                    )
                    for number, target in enumerate(targets)
                ),
                by_date=coverage,
            )


def _of_horizon(
    target: str,
    horizon: int,
    series: FactorSeries,
    sectors: Sectors,
    names: Sequence[str],
    threshold: float,
) -> OfHorizon:
    ic, overlap, spreads = np.array(series.ic), series.overlap(), series.spreads()
    t, lags = _t(ic, overlap)
    free = series.without_overlap()
    return OfHorizon(
        target=target,
        horizon=horizon,
        rows=sum(series.counts),
        dates=len(ic),
        symbols=float(np.mean(series.counts)) if series.counts else 0.0,
        ic=_mean(ic),
        ic_std=_std(ic),
        undefined=int(np.count_nonzero(~np.isfinite(ic))),
        t=t,
        lags=lags,
        independent_dates=len(free),
        t_independent=plain_t(free),
        passes=t is not None and abs(t) >= threshold,
        quantile_returns=_figures(series.mean_returns()),
        quantile_excess=_figures(series.mean_returns(demeaned=True)),
        spread=_mean(spreads),
        spread_t=_t(spreads, overlap)[0],
        turnover=_figures(series.mean_turnover()),
        rank_autocorrelation=_mean(np.array(series.autocorrelation)),
        by_year=tuple(_by_year(series, ic, spreads, overlap)),
        by_sector=tuple(_by_sector(sectors, names, overlap)),
        series=series,
    )


def _by_year(series: FactorSeries, ic: Floats, spreads: Floats, overlap: int) -> Iterator[OfYear]:
    years = np.array([date_of_day(day).year for day in series.days], int)
    for year in np.unique(years).tolist():
        of = years == year
        yield OfYear(year, int(of.sum()), _mean(ic[of]), _t(ic[of], overlap)[0], _mean(spreads[of]))


def _by_sector(sectors: Sectors, names: Sequence[str], overlap: int) -> Iterator[OfSector]:
    """Yield the sectors by name; rows of symbols whose sector was not known are left out."""
    for number in sorted(sectors.ic):
        ic, symbols = np.array(sectors.ic[number]), float(np.mean(sectors.counts[number]))
        yield OfSector(names[number], len(ic), symbols, _mean(ic), _t(ic, overlap)[0])


def _t(values: Floats, overlap: int) -> tuple[Figure, int]:
    """Return Newey and West's t-value of the dates that have one, and its lags."""
    there = values[np.isfinite(values)]
    lags = newey_west_lags(len(there), overlap)
    return newey_west_t(there, lags), lags


def _mean(values: Floats) -> Figure:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else None


def _std(values: Floats) -> Figure:
    there = values[np.isfinite(values)]
    return float(there.std(ddof=1)) if len(there) > 1 else None


def _figures(values: Floats) -> tuple[Figure, ...]:
    return tuple(value if np.isfinite(value) else None for value in values.tolist())
