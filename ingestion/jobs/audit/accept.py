"""Record why parts and receipts are gone, so that ``verify`` names them no longer."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePath

from ingestion.base.errors import InputError
from ingestion.jobs.audit.missing_files import RECEIPT_FILE
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.lakehouse import Lakehouse, RunFile
from ingestion.lakehouse.ledger import Entry, Ledger
from ingestion.project import Project
from ingestion.runs.run import Run


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
        told = [
            {"run_id": entry.run_id, "part": entry.part, "sha256": entry.sha256, "rows": entry.rows}
            for entry in accepted
        ]
        run.tell(reason=reason, accepted=told)
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
