"""Merge the parts of closed dates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from ingestion.base import clock
from ingestion.base.errors import CorruptPart, GateRefused, InputError
from ingestion.base.wording import counted
from ingestion.lakehouse import RunFile, by_date, list_parts
from ingestion.lakehouse.compact import Merged, finish_merges, merge_parts
from ingestion.lakehouse.ledger import Ledger
from ingestion.project import Project
from ingestion.runs.run import Run

RECEIPT_FILE = "compact.json"


@dataclass(frozen=True)
class CompactResult:
    """What was merged, and what was left as it is."""

    SHOWN: ClassVar = ("replaced", "rows")

    run_id: str
    before: date
    merged: tuple[Merged, ...]
    left: tuple[str, ...]
    """Why dates that have several parts were left alone, a line each."""
    receipt: RunFile

    @property
    def replaced(self) -> int:
        """Parts that are gone."""
        return sum(len(each.replaced) for each in self.merged)

    @property
    def rows(self) -> int:
        """Rows in the merged parts."""
        return sum(each.rows for each in self.merged)


def compact(project: Project, before: date | None = None) -> CompactResult:
    """Make one part of those of each date, in all datasets.

    A date is left alone if a part of it is damaged; the others are merged all the same. What a
    killed run has merged and not removed is removed.

    Parameters
    ----------
    before
        First UTC date that is not touched; today if not given.

    Raises
    ------
    InputError
        If that date is in the future.
    LakehouseLocked
        If another run is writing.
    """
    today, lakehouse = clock.now().date(), project.lakehouse
    before = before or today
    if before > today:
        raise InputError(
            f"--before {before}: only dates that are over are merged, today is {today}"
        )
    merged, left = [], []
    with Run.open(project, "compact", {"before": before}, file=RECEIPT_FILE) as run:
        ledger = Ledger.read(lakehouse)
        for dataset in project.catalog.datasets:
            finish_merges(lakehouse, dataset)
            for day, parts in by_date(list_parts(lakehouse, dataset)).items():
                if day >= before or len(parts) < 2:
                    continue
                try:
                    merged.append(merge_parts(lakehouse, dataset, day, ledger, run.id))
                except CorruptPart as error:
                    left.append(str(error))
        run.tell(
            merged=[{"part": each.part, "replaces": each.replaced} for each in merged],
            left=left,
        )
        if left:
            run.fail(
                GateRefused(f"{counted(len(left), 'date was', 'dates were')} left as they are")
            )
    return CompactResult(run.id, before, tuple(merged), tuple(left), run.receipt)
