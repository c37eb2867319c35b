"""Derive again what can be derived, over the whole lakehouse, and name what is wrong.

1. List all parts, then look into the runs' folders (:mod:`ingestion.runs.records`): a part's line
   is in a ledger before the part is there.
2. Of each date, look into every part (:func:`~ingestion.lakehouse.inspect.inspect_part`), and
   compare the keys of all.
3. Name what is no part, and what was there and is gone.
4. Compare what receipts say with the rows.

Memory contains one part and the keys of one date. The lakehouse may be written meanwhile.

:func:`accept_losses` records why files are gone, so that they are named no longer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import PurePath
from typing import ClassVar

import numpy as np
import pyarrow as pa

from ingestion.base import clock
from ingestion.base.arrow import from_numpy
from ingestion.base.errors import CorruptPart, InputError
from ingestion.base.progress import progress
from ingestion.base.reading import reading_again
from ingestion.base.wording import counted, some_of
from ingestion.catalog import OHLCV_1D, Dataset
from ingestion.jobs.audit.cache_check import CachesChecked, check_caches
from ingestion.jobs.audit.waiting import waiting_for_answers
from ingestion.jobs.ingest.missing_sessions import find_holes, hole_messages
from ingestion.jobs.ingest.withdraw import DoubleSession, double_sessions
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    RunFile,
    by_date,
    foreign_files,
    list_parts,
    parts_of,
    replaced_parts,
    run_ids,
)
from ingestion.lakehouse.inspect import inspect_part, version_keys
from ingestion.lakehouse.ledger import Entry, Ledger
from ingestion.lakehouse.schema import last_of_repeated
from ingestion.project import Project
from ingestion.runs.missing_files import RECEIPT_FILE, find_losses
from ingestion.runs.records import read_records
from ingestion.runs.run import Run

_NUMBER = "part number"
_WITHDRAW = (
    "`tvfeast withdraw-bars --listed --reason TEXT` takes back those of no session, and of two the "
    "one that came later; then import the vendors' files again (`tvfeast import-bars FILE…`), "
    "which puts each bar into its session, and run `tvfeast local-features`"
)
_FOREIGN = "is not the lakehouse's: move it out"
_NAMED = 5
"""Double sessions of a part that are named."""
_GONE = (
    "is gone: run {entry.run_id} wrote it; put it back from a backup, or make a part's rows anew, "
    "and record why: `tvfeast verify --accept {entry.part} --reason …`"
)


@dataclass(frozen=True)
class Fault:
    """A file that is not sound, and why."""

    file: str
    """Path below the lakehouse's root."""
    reason: str

    def __str__(self) -> str:
        return f"{self.file} {self.reason}"


@dataclass
class LakehouseReport:
    """What was looked at, and what is wrong."""

    SHOWN: ClassVar = ("passed",)

    parts: int = 0
    rows: int = 0
    not_recorded: int = 0
    """Parts from before the ledgers, whose content has no recorded hash."""
    unpublished: int = 0
    """Parts that were announced and never appeared: their runs died before."""
    replaced: int = 0
    """Parts whose place a merged one took."""
    accepted: int = 0
    """Parts and receipts that are gone, and of which somebody recorded why."""
    receipts: int = 0
    runs: int = 0
    unread: int = 0
    """Runs whose files were not read, because all are as an earlier check has left them."""
    since: date | None = None
    """The first date that was looked at; None for all."""
    caches: CachesChecked = field(default_factory=CachesChecked)
    faults: list[Fault] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    """What waits for somebody and is no fault of a file: missing sessions, held bars, splits."""
    lost: tuple[Entry, ...] = ()
    """The parts and receipts among the faults that are gone."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def check_lakehouse(
    project: Project,
    since: date = date.min,
    *,
    anew: bool = False,
) -> LakehouseReport:
    """Check every file of the lakehouse; changes none of them and waits for nobody.

    An empty or missing lakehouse is sound.

    Parameters
    ----------
    since
        Only parts of this UTC date or later, and what runs left that started then or later.
    anew
        Whether to read also the files of runs that are as an earlier check has left them.
    """
    with project.lakehouse.looking():
        return _checked(project, since, anew=anew)


def _checked(project: Project, since: date, *, anew: bool) -> LakehouseReport:
    lakehouse, runs = project.lakehouse, run_ids(project.lakehouse, since)
    report = LakehouseReport(runs=len(runs), since=None if since == date.min else since)
    rows_of: Counter[tuple[str, str]] = Counter()
    listed = {
        dataset: by_date(list_parts(lakehouse, dataset, since))
        for dataset in project.catalog.datasets
    }
    counter = progress("verify", "parts and runs")
    counter.start(len(runs) + sum(len(each) for days in listed.values() for each in days.values()))
    records = read_records(lakehouse, runs, project.catalog, counter.advance, anew=anew)
    ledger = records.ledger
    for dataset, dates in listed.items():
        for day, parts in dates.items():
            try:
                found, written_by = _inspect(lakehouse, dataset, parts, ledger)
            except FileNotFoundError:  # merged meanwhile
                found, written_by = reading_again(partial(_inspect_anew, lakehouse, dataset, day))
            report.parts += found.parts
            report.rows += found.rows
            report.not_recorded += found.not_recorded
            report.faults += found.faults
            rows_of.update(written_by)
            counter.advance(len(parts))
    others = (run_id for run_id in runs if run_id not in records.unread)
    report.faults += [
        Fault(name, _FOREIGN) for name in foreign_files(lakehouse, project.catalog.datasets, others)
    ]
    report.faults += reading_again(partial(_double, lakehouse, since))
    report.caches = reading_again(partial(_check_caches, project, since))
    report.faults += [Fault(*each) for each in report.caches.faults]
    counter.close()
    report.receipts = sum(folder.receipts for folder in records.folders)
    report.unread = len(records.unread)
    report.faults += [Fault(*each) for folder in records.folders for each in folder.faults]
    report.faults += [Fault(*each) for each in records.row_faults(rows_of)]
    losses = find_losses(lakehouse, project.catalog.datasets, records, since)
    report.unpublished, report.replaced = losses.unpublished, losses.replaced
    report.lost, report.accepted = losses.lost, len(losses.accepted)
    report.faults += [Fault(entry.part, _GONE.format(entry=entry)) for entry in losses.lost]
    report.faults.sort(key=lambda fault: fault.file)
    report.warnings = tuple(_warnings(lakehouse, project.catalog.datasets))
    return report


@dataclass(frozen=True)
class AcceptResult:
    """What is accepted as gone."""

    run_id: str
    reason: str
    accepted: tuple[Entry, ...]
    receipt: RunFile


def accept_losses(project: Project, names: Collection[str], reason: str) -> AcceptResult:
    """Write down that files are gone for a reason; what was recorded of them stays.

    Parameters
    ----------
    names
        Parts or receipts, or folders that held them: below the lakehouse's root, or whole paths.
    reason
        What became of the rows, and who says so.

    Raises
    ------
    InputError
        If there is no reason, a name is of nothing that ``verify`` names as gone, or a ledger
        cannot be read; nothing is accepted then.
    LakehouseLocked
        If another run is writing.
    """
    if not reason.strip():
        raise InputError("--accept needs a --reason: what became of the rows, and who says so")
    lakehouse = project.lakehouse
    request = {"accept": list(names), "reason": reason}
    with Run.open(project, "verify --accept", request, file=RECEIPT_FILE) as run:
        Ledger.read(lakehouse)  # all of them: without one, nobody knows all that is gone
        lost = check_lakehouse(project).lost
        accepted = tuple(
            dict.fromkeys(entry for name in names for entry in _of(lakehouse, name, lost))
        )
        run.tell(reason=reason, accepted=accepted)
    return AcceptResult(run.id, reason, accepted, run.receipt)


def _of(lakehouse: Lakehouse, name: str, lost: Collection[Entry]) -> list[Entry]:
    wanted = lakehouse.key_of(name)
    found = [entry for entry in lost if wanted and PurePath(entry.part).is_relative_to(wanted)]
    if not found:
        raise InputError(
            f"--accept {name}: `tvfeast verify` names nothing of that name, or below it, as gone, "
            "and nothing else can be accepted"
        )
    return found


def _warnings(lakehouse: Lakehouse, datasets: Iterable[Dataset]) -> Iterator[str]:
    """Yield what waits for somebody, each with the command."""
    for dataset in datasets:
        for part in replaced_parts(lakehouse, dataset):
            yield (
                f"{part.key} is replaced by a merged part and still there, which is "
                "unfinished: a compaction is running or was interrupted. No answer counts it; the "
                "next command that writes removes it"
            )
    try:
        yield from hole_messages(find_holes(lakehouse, clock.now()).open)
        yield from waiting_for_answers(lakehouse)
    except CorruptPart:
        return  # which is a fault itself


def _check_caches(project: Project, since: date) -> CachesChecked:
    try:
        return check_caches(project, values=since == date.min)
    except CorruptPart:
        return CachesChecked()  # which is a fault itself


def _double(lakehouse: Lakehouse, since: date) -> list[Fault]:
    try:
        found = list(double_sessions(by_date(list_parts(lakehouse, OHLCV_1D, since))))
    except CorruptPart:
        return []  # which is a fault itself
    of_part: dict[str, list[DoubleSession]] = {}
    for each in found:
        of_part.setdefault(each.parts[-1], []).append(each)
    return [
        Fault(
            part,
            f"has {counted(len(double), 'bar')} of sessions that are stored twice or in no "
            "session: "
            f"{some_of(double, _NAMED, '; ')} "
            f"(also in {', '.join(_others(double)) or 'no other part'}): {_WITHDRAW}",
        )
        for part, double in of_part.items()
    ]


def _others(double: list[DoubleSession]) -> list[str]:
    return list(dict.fromkeys(part for each in double for part in each.parts[:-1]))


Inspected = tuple[LakehouseReport, Counter[tuple[str, str]]]
"""What is in the parts of a date, and how many rows, by dataset and run."""


def _inspect_anew(lakehouse: Lakehouse, dataset: Dataset, day: date) -> Inspected:
    parts = parts_of(lakehouse, dataset, day)
    return _inspect(lakehouse, dataset, parts, Ledger.read(lakehouse, whole=False))


def _inspect(
    lakehouse: Lakehouse, dataset: Dataset, parts: list[Part], ledger: Ledger
) -> Inspected:
    found, rows_of = LakehouseReport(parts=len(parts)), Counter[tuple[str, str]]()
    names = version_keys(dataset)
    keys: dict[int, pa.Table] = {}
    for part in parts:
        inspected = inspect_part(lakehouse, dataset, part, ledger)
        found.not_recorded += not inspected.recorded
        found.faults += [Fault(part.key, reason) for reason in inspected.faults]
        if inspected.rows is not None:
            found.rows += inspected.rows.num_rows
            keys[part.number] = inspected.rows.select(names)
        if inspected.provenance is not None:
            for origin in inspected.provenance.origins:
                rows_of[dataset.name, origin.run_id] += origin.rows
    for number, times in _repeated(keys, names):
        (part,) = (part for part in parts if part.number == number)
        reason = f"has {counted(times, 'row')} that are there twice ({', '.join(names)})"
        found.faults.append(Fault(part.key, reason))
    return found, rows_of


def _repeated(keys: dict[int, pa.Table], names: tuple[str, ...]) -> list[tuple[int, int]]:
    """Return parts with rows that they or parts of lower numbers contain too, and how many."""
    if not keys:
        return []
    numbered = [
        rows.append_column(_NUMBER, from_numpy(np.full(rows.num_rows, number, np.int64)))
        for number, rows in keys.items()
    ]
    twice = last_of_repeated(pa.concat_tables(numbered), names)
    return sorted(Counter(twice[_NUMBER].to_pylist()).items())
