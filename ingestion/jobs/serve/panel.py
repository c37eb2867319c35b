"""Features of a universe at each decision of a schedule, written to a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa

from ingestion.base.arrow import strings
from ingestion.base.errors import InputError
from ingestion.base.executors import engine_of
from ingestion.base.instants import EPOCH, from_micros, to_micros
from ingestion.base.progress import watched
from ingestion.base.reading import reading_again
from ingestion.base.wording import counted, did_you_mean, some_of
from ingestion.catalog import UNIVERSE_MEMBERS, FeatureGroup
from ingestion.datasets import Choice, Universe
from ingestion.datasets.panel import Counts, features_of, panel, schema_of
from ingestion.datasets.panel_tasks import panel_in_tasks
from ingestion.datasets.questions import Questions
from ingestion.datasets.schedule import Schedule
from ingestion.datasets.set_file import SetFile, json_beside
from ingestion.jobs.looking import one_look
from ingestion.jobs.serve.label_warnings import nothing_known_warning
from ingestion.jobs.serve.provenance import origin, parts_read, spans_of
from ingestion.jobs.serve.registered import references
from ingestion.jobs.serve.show_universe import membership_of
from ingestion.lakehouse import RunFile, list_parts, newest_part, read_part
from ingestion.markets.hours import ClosingRule, hours_of
from ingestion.markets.sessions import by_hours
from ingestion.plugins.offline.files import location_of
from ingestion.project import Project
from ingestion.runs.known_at import check_known, latest_known
from ingestion.runs.run import Run

RECEIPT_FILE = "panel.json"
_NAMED = 5
"""How many names a message lists."""


@dataclass(frozen=True)
class PanelRequest:
    """Whose features to write, of which decisions."""

    schedule: Schedule
    out: Path
    """Parquet file to write."""
    service: str | None = None
    """The catalog's default for a target if None."""
    features: Sequence[str] = ()
    """Features of any group in place of a service: ``FEATURE`` or ``GROUP:FEATURE``."""
    universe: str | None = None
    """Ask about those who were known to be in this universe at each decision."""
    symbols: Sequence[str] | None = None
    """Ask about these symbols at each decision. With neither: all that had a value then."""
    known_at: datetime | None = None
    """Read the lakehouse as it was then; None is now."""
    as_recorded: bool = False
    """Count only rows that had been written by the decision, not all that were knowable."""


@dataclass(frozen=True)
class PanelResult:
    """What was written."""

    out: Path
    rows: int
    matched: int
    """Rows with at least one feature value."""
    created_later: int
    """Joined rows that were written after their decision: knowable then, recorded later."""
    decisions: int
    symbols: int
    """Symbols that were asked about."""
    features: tuple[str, ...]
    known_at: datetime
    fingerprint: str
    """Of the rows in any order."""
    receipt: RunFile
    warnings: tuple[str, ...] = field(default=())


@one_look
def write_panel(project: Project, request: PanelRequest) -> PanelResult:
    """Write the features of each member at each decision, as they were known then.

    Raises
    ------
    InputError
        If there is no such service, feature or universe, a group has no rows, there is nobody to
        ask about or no decision, no feature is known of any of the symbols, or ``known_at`` is
        before the first row of what is read.
    CorruptPart
        If a part cannot be read.
    """
    with Run.open(project, "panel", request, file=RECEIPT_FILE, writes=False) as run:
        return _make(project, request, run)


def _make(project: Project, request: PanelRequest, run: Run) -> PanelResult:
    features = features_of(_named(project, request))
    groups = [each.group for each in features]
    for group in groups:
        if newest_part(project.lakehouse, group) is None:
            command = f"tvfeast {group.source.command}"
            raise InputError(f"{project.lakehouse} has no {group.name}: run `{command}`")
    known_at = request.known_at or latest_known(project.lakehouse)
    if request.known_at is not None:
        check_known(project.lakehouse, groups, known_at)
    names, choice = _choice(project, request, groups, known_at)
    asked = Questions(names, request.schedule, choice, to_micros(known_at))
    decisions = asked.decisions()
    if not len(names):
        raise InputError(
            f"nobody to ask about: {_nobody(request)} as of {known_at:%Y-%m-%d %H:%M} UTC"
        )
    if not len(decisions):
        raise InputError(
            f"no decision from {request.schedule.first} to {request.schedule.last} by "
            f"{known_at:%Y-%m-%d %H:%M} UTC: give another --from or --to"
        )
    warnings = _warnings(request, asked, len(decisions))
    first, last = from_micros(int(decisions[0])), from_micros(int(decisions[-1]))
    spans = spans_of(groups, first, last)
    if request.universe is not None:
        spans.append((UNIVERSE_MEMBERS, date.min, date.max))
    parts = parts_read(project.lakehouse, spans)
    counts, schema = Counts(), schema_of(features)
    engine = engine_of(project)
    answer: Callable[..., Iterator[pa.Table]] = panel
    if engine.executor != "local":
        staging = location_of(engine.staging or str(request.out.absolute().parent))
        answer = partial(panel_in_tasks, engine, staging)
    slices = answer(
        project.lakehouse,
        features,
        asked,
        known_at=known_at,
        as_recorded=request.as_recorded,
        only_with_values=request.universe is None and request.symbols is None,
        counts=counts,
    )
    with SetFile(request.out, schema, run.id) as file:
        for rows in watched(slices, "slices written"):
            file.write(rows)
        if not counts.rows:
            raise InputError(
                f"nobody to ask about at any of {counted(len(decisions), 'decision')}: "
                f"{'; '.join(warnings) or 'no symbol had a value then'}"
            )
        if request.symbols is not None and counts.matched < counts.rows:
            there = reading_again(lambda: _with_rows(project, request, groups))
            if without := {*request.symbols} - there:
                unknown = nothing_known_warning(without, there)
                if without == {*request.symbols}:
                    raise InputError(
                        f"{unknown}, and there is no other symbol: look at --from, too"
                    )
                warnings.append(unknown)
        file.record(
            kind="panel",
            **origin(project, run.id, features),
            service=None if request.features else _service(project, request),
            schedule=request.schedule,
            universe=request.universe,
            symbols=request.symbols,
            known_at=known_at,
            as_recorded=request.as_recorded,
            parts=parts,
            rows=counts.rows,
            matched=counts.matched,
            created_later=counts.created_later,
            warnings=warnings,
        )
    run.tell(fingerprint=file.provenance["fingerprint"], provenance=str(json_beside(file.place)))
    run.tell(rows=counts.rows, matched=counts.matched, created_later=counts.created_later)
    run.tell(decisions=len(decisions), symbols=len(names), known_at=known_at, warnings=warnings)
    return PanelResult(
        out=request.out,
        rows=counts.rows,
        matched=counts.matched,
        created_later=sum(counts.created_later.values()),
        decisions=len(decisions),
        symbols=len(names),
        features=tuple(schema.names[2:]),
        known_at=known_at,
        fingerprint=file.provenance["fingerprint"]["rows"],
        receipt=run.receipt,
        warnings=tuple(warnings),
    )


def _nobody(request: PanelRequest) -> str:
    if request.universe is not None:
        return f"no member of {request.universe} is known"
    return "no group has a row in these dates" if request.symbols is None else "no symbol is named"


def _named(project: Project, request: PanelRequest) -> list[tuple[FeatureGroup, str]]:
    catalog = project.catalog
    if request.features:
        found = [catalog.feature(name) for name in dict.fromkeys(request.features)]
        return [(group, column.name) for group, column in found]
    services = {each.name: each for each in catalog.services}
    name = _service(project, request)
    if name not in services:
        near = did_you_mean(name, services)
        raise InputError(f'no service "{name}"{near}; there are {", ".join(services)}')
    return [
        (catalog.group(each.view), each.feature) for each in references(catalog, services[name])
    ]


def _service(project: Project, request: PanelRequest) -> str:
    return request.service or project.catalog.default_service("target").name


def _choice(
    project: Project, request: PanelRequest, groups: Collection[FeatureGroup], known_at: datetime
) -> tuple[pa.Array, Choice]:
    """Return who may be asked about, and when."""
    if request.universe is not None:
        membership = membership_of(
            project, request.universe, as_recorded=request.as_recorded, known_at=known_at
        )
        return strings(sorted(membership.names.to_pylist())), membership
    symbols: Collection[str] = (
        reading_again(lambda: _with_rows(project, request, groups))
        if request.symbols is None
        else request.symbols
    )
    return strings(sorted(set(symbols))), Universe.fixed(symbols)


def _with_rows(
    project: Project, request: PanelRequest, groups: Collection[FeatureGroup]
) -> set[str]:
    """Return the symbols that have rows of any group in the dates that are read."""
    found: set[str] = set()
    for group in groups:
        first = max(request.schedule.first, EPOCH) - group.ttl - timedelta(days=1)
        before: pa.ChunkedArray | None = None
        for part in list_parts(project.lakehouse, group, first, request.schedule.last):
            symbols = read_part(part, group, ["symbol"])["symbol"]
            if before is None or not symbols.equals(before):
                found |= set(symbols.unique().to_pylist())
            before = symbols
    return found


def _warnings(request: PanelRequest, asked: Questions, decisions: int) -> list[str]:
    warnings = []
    if request.universe is None:
        warnings.append(
            "survivors: at each decision these symbols are asked about, whichever could be chosen "
            "then; --universe NAME asks about the members at each decision"
        )
    elif unknown := asked.unknown():
        warnings.append(
            f"who was in {request.universe} is not known at {unknown:,} of "
            f"{counted(decisions, 'decision')} ({unknown / decisions:.1%}), which have no rows: "
            "`tvfeast universe import` loads dated membership"
        )
    keys = by_hours(asked.names.to_pylist())
    strange = [key for key in keys if hours_of(key).rule is ClosingRule.DAY_AFTER_OPEN]
    if strange and request.schedule.at is None:
        codes = some_of(sorted({key.partition(":")[0] for key in strange}), _NAMED)
        warnings.append(f"the hours of {codes} are not known: each UTC day counts as a session")
    return warnings
