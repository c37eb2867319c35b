"""Bar history from vendors' files becomes parts of ``ohlcv_1d``.

An import reads, judges and writes (:mod:`ingestion.jobs.ingest.import_steps`), and then reports
(:mod:`ingestion.jobs.ingest.import_report`).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import compress
from pathlib import Path

from ingestion.bars.leaps import suspected_file
from ingestion.bars.refusals import HINTS, Refusals
from ingestion.bars.splits import SplitsFile
from ingestion.base.errors import GateRefused, InputError
from ingestion.jobs.ingest.import_report import FileCounts, ImportResult, Tally, receipt_body
from ingestion.jobs.ingest.import_steps import (
    ImportRequest,
    Material,
    judge,
    read_material,
    write_judged,
)
from ingestion.jobs.ingest.unfinished_imports import RECEIPT_FILE, Verdict
from ingestion.lakehouse import Lakehouse, write_run_file
from ingestion.project import Project
from ingestion.runs.run import Run

__all__ = ["SCALED_PAST", "ImportRequest", "ImportResult", "import_bars"]

SUSPECTED = "suspected_splits.csv"
SCALED_PAST = (
    "the file is adjusted for splits or dividends that the stored bars are not adjusted for, or in "
    "another unit: import prices as traded, or give --restate to replace the stored past"
)


def import_bars(project: Project, request: ImportRequest) -> ImportResult:
    """Import bars, or record splits on stored ones.

    Good rows are kept whatever else is in a file, and good files whatever else is given; what is
    refused goes into the receipt. What the lakehouse already has is not written again, so a
    repeated import writes nothing and a killed one is picked up where it died; until then its
    receipt says that it is half done. A bar that differs is a restatement, created later.

    Raises
    ------
    InputError
        If the request names no file, its splits file cannot be read, or not a single row was
        accepted; nothing is published then.
    LakehouseLocked
        If another run is writing.
    """
    request.refuse_unless_sound()
    request = replace(request, files=tuple(dict.fromkeys(request.files)))
    # The lock is taken before the first row is read: another run must not finish under a newer id
    # before these rows are there, because later jobs go by run ids.
    with Run.open(project, "import-bars", request.resolved(), file=RECEIPT_FILE) as run:
        # Not in the run's own staging folder, which is removed with each part written.
        with project.lakehouse.staging(f"{run.id}-bars") as staging:
            result = _import(project.lakehouse, request, run, staging)
        if result.too_much_refused:
            run.fail(GateRefused(result.too_much_refused))
        return result


def _import(lakehouse: Lakehouse, request: ImportRequest, run: Run, staging: Path) -> ImportResult:
    """Read, judge and write; the caller has the lakehouse's lock."""
    material = read_material(lakehouse, request, staging)
    judged = judge(material, staging)
    run.tell(verdict=Verdict.WRITING)
    run.write()
    ahead = write_judged(lakehouse, request, material, judged, run.id)
    return _told(lakehouse, request, material, ahead, run)


def _told(
    lakehouse: Lakehouse, request: ImportRequest, material: Material, ahead: int, run: Run
) -> ImportResult:
    """Leave the receipt, and say what became of everything.

    Raises
    ------
    InputError
        If nothing was accepted.
    """
    tally, by = material.tally, material.judgement
    refusals = by.refusals
    counts = tally.counts(refusals)
    if request.splits is not None:
        recorded = tally.split_rows + ahead
        counts.append(_split_counts(request.splits, material.splits, recorded, refusals))
    suspects_file = None
    if tally.doubts.suspects:
        lines = suspected_file(tally.doubts.suspects)
        suspects_file = write_run_file(lakehouse, run.id, SUSPECTED, lines)
    is_done = any(count.accepted or count.held for count in counts) or tally.released
    is_refused = (refusals.commonest or tally.problems) and not is_done
    verdict = Verdict.REFUSE if is_refused else Verdict.PUBLISH
    refused_file = refusals.save(lakehouse, run.id)
    run.tell(verdict=verdict, **receipt_body(counts, tally, refusals, refused_file, by.findings))
    if is_refused and not refusals.commonest:
        problem, *others = tally.problems.values()
        more = f"; {len(others):,} other files were refused too" if others else ""
        raise InputError(f"{problem}{more}")
    if is_refused:
        why = _nothing_accepted(counts, tally, refusals)
        hint = HINTS.get(refusals.commonest) if refusals.commonest else None
        why = f"{why}; {hint}" if hint else why
        raise InputError(f"{why}; see {run.receipt} and {refused_file}")
    return ImportResult(
        run_id=run.id,
        files=tuple(counts),
        restated=tally.restated,
        symbols=len(tally.symbols),
        still_adjusted=tuple(compress(by.names, by.still_adjusted)),
        refused_by_reason=dict(refusals.by_reason.most_common()),
        refusals=tuple(refusals.examples),
        refused_file=refused_file,
        findings=tuple(by.findings),
        doubts=tally.doubts,
        suspects_file=suspects_file,
        released=tally.released,
        splits_ahead=ahead,
        parts=tuple(tally.parts),
        receipt=run.receipt,
    )


def _nothing_accepted(counts: list[FileCounts], tally: Tally, refusals: Refusals) -> str:
    text = f"not one of {sum(count.read for count in counts):,} rows was accepted"
    found = tally.doubts
    if found.contradictions:
        first = found.contradictions[0]
        return f"{text}: {first.symbol}: {first.told}"
    if found.refused_pasts:
        return f"{text}: {found.refused_pasts[0].text}: {SCALED_PAST}"
    one = refusals.examples[0]
    return (
        f'{text}, most often for "{refusals.commonest}"; the first is {one.file}, row {one.row}: '
        f"{one.reason}{f' ({one.detail})' if one.detail else ''}"
    )


def _split_counts(path: Path, splits: SplitsFile, recorded: int, refusals: Refusals) -> FileCounts:
    refused = refusals.by_file[str(path)]
    accepted = splits.read - splits.repeated - refused
    return FileCounts(
        file=str(path),
        read=splits.read,
        accepted=accepted,
        repeated=splits.repeated,
        refused=refused,
        held=0,
        written=recorded,
        unchanged=accepted - recorded,
    )
