"""How well features rank the returns that follow, written as a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from ingestion.base import clock
from ingestion.base.disk import check_writable
from ingestion.base.errors import InputError
from ingestion.base.progress import watched
from ingestion.base.wording import counted
from ingestion.catalog import DIVIDENDS, OHLCV_1D, Column, FeatureGroup
from ingestion.datasets import Entry, Label, Schedule, labels_of, target_name
from ingestion.datasets.factor_study import FactorStudy
from ingestion.datasets.fingerprint import fingerprint
from ingestion.datasets.panel import by_group
from ingestion.datasets.significance import largest_by_chance, threshold
from ingestion.jobs.factor.figures import Factor, factors
from ingestion.jobs.factor.joined_rows import JoinedRows
from ingestion.jobs.factor.tries import RECEIPT_FILE, Try, tries
from ingestion.jobs.serve.provenance import feature_definitions
from ingestion.jobs.serve.show_universe import membership_of
from ingestion.lakehouse import RunFile, arrow_schema, newest_part
from ingestion.project import Project
from ingestion.runs.known_at import check_known, latest_known
from ingestion.runs.run import Run

HORIZONS = (1, 5, 10, 20)
"""Sessions, unless others are asked for."""
QUANTILES = 5
MIN_SYMBOLS = 10
_LEVEL = 0.05
_RETURN = re.compile(r"(scaled_)?(excess_)?(fwd|total)_return_\d+d")
"""Labels that are differences of prices, as quantile returns need them."""


@dataclass(frozen=True)
class FactorRequest:
    """Which features, over which decisions."""

    features: Sequence[str]
    """``FEATURE`` or ``GROUP:FEATURE``; each has numbers."""
    schedule: Schedule
    """Its ``at`` is not used: a decision is made at a bar's close."""
    out: Path
    """HTML file to write."""
    horizons: Sequence[int] = HORIZONS
    """Sessions of the forward returns."""
    targets: Sequence[str] = ()
    """Returns to measure against in their place, as ``training-set --target`` reads them: also
    total, excess and scaled ones."""
    universes: Sequence[str] = ()
    """Each is studied by itself: those who were known to be in at each decision."""
    symbols: Sequence[str] | None = None
    """Study these symbols; with neither, all that have bars."""
    candidates: Path | None = None
    """The file that names them, for the commands on the page."""
    quantiles: int = QUANTILES
    min_symbols: int = MIN_SYMBOLS
    """Dates of fewer rows with a label are left out, such as the Sundays of a few coins."""
    entry: Entry = "open"
    known_at: datetime | None = None
    """Read the lakehouse as it was then; None is now."""
    as_recorded: bool = False
    """Count only rows that had been written by the decision, not all that were knowable."""


@dataclass(frozen=True)
class FactorReport:
    """What was found."""

    SHOWN: ClassVar = ("passing",)

    out: Path
    at: datetime
    first: date
    last: date
    """Of the decisions."""
    universes: tuple[str, ...]
    """By name; without any, the symbols of ``candidates``, or all that have bars."""
    candidates: Path | None
    every: str
    entry: Entry
    quantiles: int
    min_symbols: int
    too_few: dict[str, int]
    """By universe, the dates that were left out: they have fewer rows with a label."""
    known_at: datetime
    decisions: int
    """Decisions that bars give, with a label or without."""
    dropped: dict[str, dict[str, int]]
    """By target, those without a label, by reason."""
    created_later: dict[str, int]
    """By group, the joined rows that were written after their decision."""
    no_sector: int
    """Joined rows of symbols whose sector was not known then."""
    tried: int
    """Features, universes and horizons that were ever tried on this lakehouse, these included."""
    threshold: float
    """What the size of a t-value must reach if so many were tried."""
    largest_by_chance: float
    """The mean of the largest of so many t-values of either sign where nothing is to find."""
    factors: tuple[Factor, ...]
    warnings: tuple[str, ...]
    receipt: RunFile
    features: tuple[tuple[FeatureGroup, Column], ...] = field(repr=False)
    request: FactorRequest = field(repr=False)

    @property
    def passing(self) -> list[str]:
        """Return what reaches the threshold, by name, universe and target."""
        return [
            f"{of.feature} in {of.universe}, {each.target}"
            for of in self.factors
            for each in of.horizons
            if each.passes
        ]


def factor_report(project: Project, request: FactorRequest) -> FactorReport:
    """Study how features rank the returns that follow, and write the page.

    Raises
    ------
    InputError
        If there is no such feature or universe, a feature has no numbers, a group has no rows, no
        decision has a label, or ``known_at`` is before the first row of what is read.
    GateRefused
        If an import of bars is half done, or wrote some meanwhile.
    CorruptPart
        If a part cannot be read.
    """
    with Run.open(project, "factor-report", request, file=RECEIPT_FILE, writes=False) as run:
        return _make(project, request, run)


def _make(project: Project, request: FactorRequest, run: Run) -> FactorReport:
    from ingestion.jobs.factor.factor_page import write_page

    check_writable(request.out)
    features = _features(project, request.features)
    labels = _labels(request)
    horizons, targets = [each.ahead for each in labels], [str(each) for each in labels]
    known_at = request.known_at or latest_known(project.lakehouse)
    groups = list({group.name: group for group, _ in features}.values())
    for group in groups:
        if newest_part(project.lakehouse, group) is None:
            command = f"tvfeast {group.source.command}"
            raise InputError(f"{project.lakehouse} has no {group.name}: run `{command}`")
    if request.known_at is not None:
        paid = [DIVIDENDS] if any(each.with_dividends for each in labels) else []
        check_known(project.lakehouse, [*groups, OHLCV_1D, *paid], known_at)
    universes = [
        membership_of(project, name, as_recorded=request.as_recorded, known_at=known_at)
        for name in request.universes
    ]
    joined = JoinedRows(
        project,
        [(group, column.name) for group, column in features],
        labels,
        request.schedule,
        request.entry,
        _symbols(request, [each.names for each in universes]),
        universes,
        known_at,
        request.as_recorded,
    )
    names = [f"{group.name}:{column.name}" for group, column in features]
    chosen = list(request.universes) or [_chosen(request.symbols)]
    study = FactorStudy(
        len(names), len(chosen), horizons, quantiles=request.quantiles, least=request.min_symbols
    )
    for rows in watched(joined.dates(), "dates studied"):
        study.add(rows)
    if not any(coverage.days for coverage in study.coverage.values()):
        raise InputError(
            f"none of {counted(sum(study.few), 'date')} has {request.min_symbols} symbols with a "
            "label: give a lower --min-symbols, or more symbols"
        )
    marks = {
        f"{each['group']}:{each['feature']}": each["sha256"]
        for each in feature_definitions(project, by_group((g, c.name, c.name) for g, c in features))
    }
    now = [Try(n, marks[n], u, target) for n in names for u in chosen for target in targets]
    tried = len(tries(project.lakehouse, now))
    limit = threshold(tried, _LEVEL)
    report = FactorReport(
        out=request.out,
        at=clock.now(),
        first=request.schedule.first,
        last=request.schedule.last,
        universes=tuple(request.universes),
        candidates=request.candidates,
        every=request.schedule.every,
        entry=request.entry,
        quantiles=request.quantiles,
        min_symbols=request.min_symbols,
        too_few=dict(zip(chosen, study.few, strict=True)),
        known_at=known_at,
        decisions=joined.decisions,
        dropped={target: dict(of) for target, of in joined.dropped.items()},
        created_later=joined.counts.created_later,
        no_sector=joined.no_sector,
        tried=tried,
        threshold=limit,
        largest_by_chance=largest_by_chance(2 * tried),  # of either sign
        factors=tuple(factors(study, names, chosen, targets, joined.sectors, limit)),
        warnings=tuple(_warnings(request, joined)),
        receipt=run.receipt,
        features=tuple(features),
        request=request,
    )
    write_page(project, report)
    run.tell(tried=[each._asdict() for each in now], tried_so_far=tried, threshold=limit)
    run.tell(known_at=known_at, passing=report.passing, warnings=report.warnings)
    run.tell(decisions=report.decisions, dropped=report.dropped)
    return report


def _labels(request: FactorRequest) -> list[Label]:
    """Return the returns to measure against, the shortest first."""
    labels = labels_of(request.targets or [target_name(each) for each in set(request.horizons)])
    for each in labels:
        if not _RETURN.fullmatch(each.name):
            raise InputError(
                f"{each.name} is no return that a factor report measures against: name "
                "fwd_return_<n>d, total_return_<n>d, or excess_… or scaled_… of these"
            )
    return sorted(labels, key=lambda each: each.ahead)


def _features(project: Project, names: Sequence[str]) -> list[tuple[FeatureGroup, Column]]:
    found = [project.catalog.feature(name) for name in dict.fromkeys(names)]
    for group, column in found:
        kind = arrow_schema(group).field(column.name).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or kind == pa.bool_()):
            raise InputError(
                f"{group.name}:{column.name} has no numbers to rank by, but {kind}: name another "
                "feature"
            )
    return list({(group.name, column.name): (group, column) for group, column in found}.values())


def _symbols(request: FactorRequest, members: Sequence[pa.Array]) -> list[str] | None:
    if request.symbols is not None:
        return sorted(set(request.symbols))
    return sorted(set().union(*(each.to_pylist() for each in members))) if members else None


def _chosen(symbols: Sequence[str] | None) -> str:
    """Return what stands in place of a universe's name; equal symbols, equal names."""
    if symbols is None:
        return "all with bars"
    names = pa.table({"symbol": pa.array(sorted(set(symbols)), pa.string())})
    return f"{counted(len(names), 'candidate')} {fingerprint([names]).rows[:8]}"


def _warnings(request: FactorRequest, joined: JoinedRows) -> list[str]:
    if not request.universes:
        return [
            "survivors: at each decision these symbols are studied, whichever could be chosen "
            "then: what was delisted before is missing, and figures are too good; --universe NAME "
            "studies the members at each decision"
        ]
    return [
        f"who was in {name} is not known at {counted(unknown, 'date')}, which have no rows: "
        "`tvfeast universe import` loads dated membership"
        for name, unknown in zip(request.universes, joined.unknown, strict=True)
        if unknown
    ]
