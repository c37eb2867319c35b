"""Bring cross-sections up to date: the days that are new, and those whose inputs have changed.

A row of another group is valid from its event until its time to live is over, so a new or restated
one changes the days in between and no others. What was recorded of symbols and of members is valid
until the next record, so all days from its own on are looked at. Only rows that differ from the
stored ones are written.

What the rows were made from is kept in a cache; without it all days are looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.base.instants import from_micros, to_micros
from ingestion.base.plain import plain
from ingestion.base.progress import watched
from ingestion.catalog import SYMBOLS, UNIVERSE_MEMBERS, Dataset, FeatureGroup
from ingestion.jobs.compute.comparison import Compared, Comparison
from ingestion.jobs.compute.publication import GroupWriter
from ingestion.jobs.serve.show_universe import membership_of
from ingestion.lakehouse import IMPORTED, Part, RunFile, SeenParts, read_part
from ingestion.lakehouse.caches import keep_document, kept_document
from ingestion.project import Project
from ingestion.quality.check import CheckReport
from ingestion.quality.gate import refuse_unless_accepted
from ingestion.runs.run import Run

RECEIPT_FILE = "cross_sections.json"
_ROWS_TOGETHER = 1 << 18
"""That are in memory at once, about."""
_DAY = timedelta(days=1)

Dates = tuple[date, date]
"""Two UTC dates, both included."""


@dataclass(frozen=True)
class ComparedGroup:
    """What a run did to one cross-section."""

    group: str
    universe: str
    days: int
    """Days that were looked at."""
    unknown_days: int
    """Days on which it is not known who was in the universe: they have no rows."""
    without_values: int
    """Days on which no member had a value: they have no rows."""
    members: int
    """Members of all these days, each unit once."""
    written: int
    restated: int
    """Of the written rows, those that were stored with other values."""
    unchanged: int
    quarantined: int
    """Rows that break a rule of the catalog."""
    nulls: dict[str, int]
    """Members without a value, by column and reason."""


@dataclass(frozen=True)
class CrossSectionsResult:
    """What a run did."""

    run_id: str
    groups: tuple[ComparedGroup, ...]
    parts: tuple[Part, ...]
    receipt: RunFile = field(repr=False)


def cross_sections(
    project: Project, run: Run | None = None, dates: Dates | None = None
) -> CrossSectionsResult:
    """Bring the rows of all cross-sections up to date.

    Parameters
    ----------
    dates
        Compute all days of these UTC dates anew, whatever has changed; None for what is new.

    Raises
    ------
    InputError
        If there is no such universe, or the dates are the wrong way round.
    GateRefused
        If the rows of the day that will be served are refused.
    LakehouseLocked
        If another run is writing.
    """
    if dates is not None and dates[0] > dates[1]:
        raise InputError(f"--from {dates[0]} is after --to {dates[1]}")
    request = None if dates is None else {"first": dates[0], "last": dates[1]}
    with Run.open(project, "cross-sections", request, file=RECEIPT_FILE, step_of=run) as run:
        done: list[ComparedGroup] = []
        parts: list[Part] = []
        reports: list[CheckReport] = []
        refused: list[CheckReport] = []
        for group in project.catalog.cross_sections:
            writer = GroupWriter(project, run, group, frozenset(), reports)
            done.append(_compare(project, group, writer, dates))
            parts += writer.parts
            refused += [writer.refused] if writer.refused else []
            run.tell(groups=done)
        for report in refused:
            refuse_unless_accepted(report, run)
        return CrossSectionsResult(run.id, tuple(done), tuple(parts), run.receipt)


def _compare(
    project: Project, group: FeatureGroup, writer: GroupWriter, dates: Dates | None
) -> ComparedGroup:
    comparison = Comparison(project.lakehouse, project.catalog, group)
    membership_of(project, comparison.source.universe)  # whether there is one
    made = _MadeFrom.look(comparison)
    now, counts = clock.now(), Compared()
    looked_at = made.affected(now.date()) if dates is None else [dates]
    newest, available = _newest(comparison, now), comparison.available()
    for first, last in _common(looked_at, available):
        days = comparison.days(first, last, to_micros(now))
        found = watched(comparison.rows(days, counts, _ROWS_TOGETHER), f"dates of {group.name}")
        for together in _together(found):
            writer.publish(newest, together)
    writer.append()
    first, last = available
    is_all = dates is None or (dates[0] <= first and min(last, now.date()) <= dates[1])
    if is_all and writer.refused is None:
        made.keep(to_micros(now))
    return ComparedGroup(
        group=group.name,
        universe=comparison.source.universe,
        written=writer.rows_written,
        restated=writer.rows_restated,
        unchanged=writer.rows_unchanged,
        quarantined=writer.quarantined,
        **{**asdict(counts), "nulls": {what: n for what, n in counts.nulls.items() if n}},
    )


def _newest(comparison: Comparison, now: datetime) -> date:
    """Return the date of the newest day that may be served; the first of all if there is none."""
    first = (now - comparison.group.ttl).date()
    instants = [at for at, _ in comparison.days(first, now.date(), to_micros(now)).days()]
    return from_micros(instants[-1]).date() if instants else date.min


def _together(dated: Iterable[tuple[date, pa.Table]]) -> Iterator[list[tuple[date, pa.Table]]]:
    """Yield dates together, as many as are written at once."""
    waiting: list[tuple[date, pa.Table]] = []
    for each in dated:
        waiting.append(each)
        if sum(rows.num_rows for _, rows in waiting) >= _ROWS_TOGETHER:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _common(spans: Iterable[Dates], within: Dates) -> list[Dates]:
    """Return spans put together where they touch, as far as they lie within another one."""
    merged: list[Dates] = []
    for first, last in sorted(spans):
        first, last = max(first, within[0]), min(last, within[1])
        if first > last:
            continue
        if merged and first <= merged[-1][1] + _DAY:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


class _Input(NamedTuple):
    dataset: Dataset
    valid: timedelta | None
    """How long a row is valid from its event on; None for until the next one."""


class _MadeFrom:
    """What the rows of a cross-section were made from, and what there is now."""

    def __init__(
        self, comparison: Comparison, before: dict[str, Any], now: dict[str, SeenParts]
    ) -> None:
        self._comparison, self._before, self._now = comparison, before, now

    @classmethod
    def look(cls, comparison: Comparison) -> _MadeFrom:
        """Look at all inputs; of the rows themselves it matters only whether some are gone."""
        kept = kept_document(comparison.lakehouse, _file(comparison), dict) or {}
        if kept.get("definition") != _definition(comparison):
            kept = {}
        found = {}
        for each in (*_inputs(comparison), _Input(comparison.group, None)):
            name = each.dataset.name
            found[name] = SeenParts.look(comparison.lakehouse, each.dataset, _seen(kept, name))
        return cls(comparison, kept, found)

    def affected(self, today: date) -> list[Dates]:
        """Return the dates whose rows may differ from what they were, or are new."""
        if not self._before:
            return [(date.min, today)]
        spans: list[Dates] = []
        for dataset, valid in _inputs(self._comparison):
            before, now = _seen(self._before, dataset.name), self._now[dataset.name]
            if before is None:
                return [(date.min, today)]
            new = now.new_since(before)
            if dataset is UNIVERSE_MEMBERS and any(map(_has_import, new)):
                return [(date.min, today)]  # it moves the end of what was imported before
            for day in {part.date for part in new} | now.gone_since(before):
                spans.append((day, today if valid is None else day + valid + _DAY))
        name = self._comparison.group.name
        if own := _seen(self._before, name):
            spans += [(day, day) for day in self._now[name].gone_since(own)]
        return [*spans, *self._since(today)]

    def _since(self, today: date) -> list[Dates]:
        """Return the dates of the instants that have come since."""
        until = int(self._before["until"])
        last = to_micros(clock.now())
        days = self._comparison.days(from_micros(until).date(), today, last)
        return [(from_micros(instant).date(),) * 2 for instant, _ in days.days() if instant > until]

    def keep(self, until: int) -> None:
        """Record that the rows are up to date with what was seen, up to an instant."""
        own = self._comparison.group
        seen = {name: each.document() for name, each in self._now.items()}
        seen[own.name] = SeenParts.look(self._comparison.lakehouse, own).document()
        document = {"definition": _definition(self._comparison), "until": until, "seen": seen}
        keep_document(self._comparison.lakehouse, _file(self._comparison), document)


def _seen(kept: dict[str, Any], name: str) -> SeenParts | None:
    try:
        return SeenParts.of_document(kept["seen"][name])
    except (LookupError, TypeError, AttributeError):
        return None


def _inputs(comparison: Comparison) -> Iterator[_Input]:
    yield _Input(comparison.of, comparison.of.ttl)
    if (group := comparison.size_group) is not None and group != comparison.of:
        yield _Input(group, group.ttl)
    yield _Input(UNIVERSE_MEMBERS, None)
    if comparison.reads_symbols:
        yield _Input(SYMBOLS, None)


def _has_import(part: Part) -> bool:
    sources = pc.unique(read_part(part, UNIVERSE_MEMBERS, ["source"])["source"])
    return IMPORTED in sources.to_pylist()


def _file(comparison: Comparison) -> str:
    return f"cross_section.{comparison.group.name}.zip"


def _definition(comparison: Comparison) -> str:
    """Return a hash that differs if other rows follow from the same inputs."""
    told = [plain(comparison.source), [column.name for column in comparison.group.columns]]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
