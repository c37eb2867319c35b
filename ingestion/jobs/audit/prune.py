"""Old runs that nothing needs any more are retired: their folders go, each of them whole.

A run stays as long as somebody may ask for what its folder has:

- it has written a part, so it is where rows come from, or others were merged by it;
- it kept rows out at the gate, which ``explain`` shows;
- it recorded why files are gone or which features were tried, made a training set, or kept
  a selection;
- it has the newest receipt of its kind: of one name, project, group, flow, candidates or imported
  file, outcome and members. Whoever looks for the newest receipt that says something finds the same
  one as before;
- ``verify`` finds a fault in its folder, which somebody is to look at.

So a run that goes has written nothing but receipts that newer ones replace. No other file names it,
and its ledger, which is about its own folder alone, goes with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from ingestion.base.errors import CorruptPart, InputError
from ingestion.jobs.factor.tries import RECEIPT_FILE as FACTOR_FILE
from ingestion.jobs.ingest.unfinished_imports import is_import
from ingestion.jobs.profiles import FLOW_FILE
from ingestion.jobs.serve.recorded_selection import RECEIPT_FILE as SELECTION_FILE
from ingestion.jobs.serve.training_set import RECEIPT_FILE as TRAINING_FILE
from ingestion.lakehouse import Lakehouse, files_of_run, list_parts, replaced_parts, run_ids
from ingestion.lakehouse.ledger import read_ledger
from ingestion.lakehouse.origins import runs_of
from ingestion.lakehouse.parts import read_metadata
from ingestion.lakehouse.run_files import RunFile, remove_runs
from ingestion.markets.universe import read_universe
from ingestion.project import Project
from ingestion.runs.missing_files import RECEIPT_FILE as ACCEPT_FILE
from ingestion.runs.quarantine import QUARANTINE_FILE
from ingestion.runs.receipt_file import NOT_SAID, read_receipt
from ingestion.runs.run import Run, new_run_id, run_instant
from ingestion.runs.run_folder import look_into

OLDER_THAN = timedelta(days=90)
_RECEIPT_FILE = "prune.json"
_RUN_ID = re.compile(r"\d{8}T\d{6}Z-\w+", re.ASCII)
_LASTING = {
    QUARANTINE_FILE: "its rows in quarantine are shown by `explain`",
    ACCEPT_FILE: "its receipt says why files are gone",
    TRAINING_FILE: "its receipt says how a training set was made",
    FACTOR_FILE: "its receipt says which features were tried",
    SELECTION_FILE: "its receipt says what was selected",
}
"""Files that nothing newer replaces."""

_FAULT = "`verify` finds a fault in its folder"

_Documents = dict[str, dict[str, Any]]
"""What a run's receipts say, by their names."""


@dataclass(frozen=True)
class PruneResult:
    """Which runs went, or would go, and why the other old ones stay."""

    SHOWN: ClassVar = ("reasons",)

    run_id: str | None
    """None of a plan."""
    before: datetime
    """Runs that started later are not looked at."""
    retired: tuple[str, ...]
    """The oldest first."""
    younger: int
    kept: dict[str, str] = field(repr=False)
    """Why each of the other old runs stays."""

    @property
    def reasons(self) -> dict[str, int]:
        """How many old runs stay for each reason."""
        return dict(Counter(self.kept.values()).most_common())


def prune(
    project: Project, older_than: timedelta = OLDER_THAN, *, plan: bool = False
) -> PruneResult:
    """Retire old runs.

    A run's folder is taken out of its place by one renaming, before its files are removed; so of a
    run all files are there or none, also after a kill. The receipt is written before that.

    Parameters
    ----------
    older_than
        By the wall clock, which run ids are made of.
    plan
        Only say which; changes nothing and takes no lock.

    Raises
    ------
    LakehouseLocked
        If another run is writing.
    """
    if plan:
        with project.lakehouse.looking():
            return _planned(project, new_run_id(), older_than)
    with Run.open(project, "prune", {"older_than": older_than}, file=_RECEIPT_FILE) as run:
        result = _planned(project, run.id, older_than)
        run.tell(before=result.before, retired=result.retired, kept=result.reasons)
        if result.retired:
            run.write()
            remove_runs(project.lakehouse, result.retired)
    return replace(result, run_id=run.id)


def _planned(project: Project, run_id: str, older_than: timedelta) -> PruneResult:
    before = run_instant(run_id) - older_than
    old, kept = not_needed(project, f"{before:%Y%m%dT%H%M%SZ-%f}")
    return PruneResult(
        run_id=None,
        before=before,
        retired=old,
        younger=len(run_ids(project.lakehouse)) - len(old) - len(kept),
        kept=kept,
    )


def not_needed(project: Project, before: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the runs that nothing needs, and why the others stay.

    Parameters
    ----------
    before
        Only runs whose ids are below this are looked at.

    Returns
    -------
    tuple of str
        Ids, the oldest first.
    dict
        Reasons, by the ids of the other runs below ``before``.
    """
    lakehouse = project.lakehouse
    kept: dict[str, str] = {}
    newest: dict[tuple[object, ...], tuple[str, str]] = {}
    oldest_first = run_ids(lakehouse)[::-1]
    for run_id in oldest_first:
        try:
            documents = _documents(lakehouse, run_id)
            reason = _lasting(lakehouse, run_id, documents)
        except InputError:
            documents, reason = {}, _FAULT
        for name, document in documents.items():
            newest |= dict.fromkeys(_kinds(name, document, documents), (run_id, name))
        if reason and run_id < before:
            kept[run_id] = reason
    for run_id, name in newest.values():
        if run_id < before:
            kept.setdefault(run_id, f"it has the newest receipt of its kind: {name}")
    old = [run_id for run_id in oldest_first if run_id < before and run_id not in kept]
    origins = _origins(project) if old else frozenset()
    for run_id in old:
        if run_id in origins:
            kept[run_id] = "a part names it"
        elif not look_into(lakehouse, run_id, project.catalog.scanned).is_sound:
            kept[run_id] = _FAULT
    return tuple(run_id for run_id in old if run_id not in kept), kept


def _documents(lakehouse: Lakehouse, run_id: str) -> _Documents:
    """Return what a run's receipts say.

    Raises
    ------
    InputError
        If one cannot be read, or the folder is no run's.
    """
    files = files_of_run(lakehouse, run_id)
    if not files or not _RUN_ID.fullmatch(run_id):
        raise InputError(f"{run_id} is no run")
    return {file.name: read_receipt(file) for file in files if file.name.endswith(".json")}


def _lasting(lakehouse: Lakehouse, run_id: str, documents: _Documents) -> str | None:
    """Return why a run is needed for as long as the lakehouse is; None if it is not."""
    if read_ledger(lakehouse, run_id) or any(
        document.get("parts") for document in documents.values()
    ):
        return "it has written parts"
    for name, reason in _LASTING.items():
        if RunFile(run_id, name, lakehouse).exists():
            return reason
    return None


def _kinds(
    name: str, document: dict[str, Any], documents: _Documents
) -> Iterator[tuple[object, ...]]:
    """Yield the kinds that a receipt is of; the newest of each is needed."""
    source = settings = None
    with suppress(*NOT_SAID):
        source = read_universe(document["request"]["source"]).profile
    with suppress(*NOT_SAID):
        settings = document["settings"]["project"]
    about: list[object] = [None]
    with suppress(*NOT_SAID):
        about += [view["view"] for view in document.get("views", ())]
    with suppress(*NOT_SAID):
        about += document.get("forgotten", ())
    with suppress(*NOT_SAID):
        if is_import(name):  # which finishes an earlier one of the same files
            about += [*document["request"]["files"], document["request"]["splits"]]
    flow = documents.get(FLOW_FILE, {}).get("profile")
    told = [str(document.get(each)) for each in ("group", "outcome", "verdict")]
    for each in about:
        yield name, str(settings), str(source), str(flow), *told, str(each), frozenset(document)


def _origins(project: Project) -> Collection[str]:
    """Return the runs that the parts themselves name, whatever the ledgers say."""
    lakehouse, names = project.lakehouse, set[str]()
    for dataset in project.catalog.datasets:
        for part in (*list_parts(lakehouse, dataset), *replaced_parts(lakehouse, dataset)):
            # Feast's own parts name no run; `verify` reports those that cannot be read.
            with suppress(CorruptPart, FileNotFoundError, ValueError):
                names |= runs_of(read_metadata(part).metadata)
    return names
