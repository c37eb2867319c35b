"""The flows that make up an operation, each known by the name of its profile.

Every receipt of a flow carries the table of all profiles: of each its newest run, and when its last
runs started. So who asks reads the newest receipt of a flow and, of each profile, that of its
newest run, however many runs there are. A profile that is forgotten leaves the table with the next
flow; until then its own record says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ingestion.base.clock import parse_instant
from ingestion.base.errors import InputError
from ingestion.lakehouse import Lakehouse, RunFile
from ingestion.project import Project
from ingestion.runs.receipt_file import is_done, newest_receipt, receipts_told
from ingestion.runs.run import Run

FLOW_FILE, FORGET_FILE = "flow_data.json", "forget_profile.json"
KEPT = 5
"""How many starts of a profile are remembered."""
EXPECTED_AFTER = 3
"""After so many runs that fetched something a profile is expected to run again."""

Table = dict[str, "Profile"]


@dataclass(frozen=True)
class Start:
    """A run that fetched a snapshot, and when it started."""

    run_id: str
    at: datetime


@dataclass(frozen=True)
class Profile:
    """One flow among those of the operation."""

    name: str
    run_id: str
    """Its newest run."""
    starts: tuple[Start, ...] = ()
    """Its last runs that fetched a snapshot, the oldest first; at most :data:`KEPT`.

    A run that failed, or that found nothing to do, is a repetition and says nothing of the rhythm.
    """
    snapshots: Mapping[str, str] = field(default_factory=dict)
    """By group of the scanner, the last run that fetched a snapshot of it."""

    @property
    def is_expected(self) -> bool:
        """Whether it has run often enough to be missed."""
        return len(self.starts) >= EXPECTED_AFTER

    def fetched(self, started: datetime, group: str | None = None) -> Profile:
        """Return it after its newest run fetched a snapshot, of one group and then of others."""
        earlier = tuple(each for each in self.starts if each.run_id != self.run_id)
        starts = (*earlier, Start(self.run_id, started))[-KEPT:]
        of_group = {group: self.run_id} if group else {}
        return replace(self, starts=starts, snapshots={**self.snapshots, **of_group})


def default_name(project: Project, source: Path | str) -> str:
    """Name a profile after the candidates file that it reads, or the market.

    Two files of one name in different folders are two profiles, so a file is named with its path:
    below the project's folder if it lies there.

    Examples
    --------
    >>> default_name(Settings.from_environment(), "america")
    'america'
    """
    if isinstance(source, str):
        return source
    path = source.resolve()
    inside = path.is_relative_to(project.folder)
    # A file system's names need not be text; a receipt is.
    text = str(path.relative_to(project.folder) if inside else path)
    return text.encode(errors="surrogateescape").decode(errors="replace")


def known_profiles(lakehouse: Lakehouse, *passed_over: Callable[[InputError], object]) -> Table:
    """Return the profiles of all flows that were run and not forgotten, by name.

    Parameters
    ----------
    passed_over
        As of :func:`~ingestion.runs.receipt_file.receipts_told`.
    """
    newest = newest_receipt(lakehouse, FLOW_FILE, _told, *passed_over)
    if newest is None:
        return {}
    run_id, table = newest  # that flow knew what was forgotten before
    forgotten = receipts_told(lakehouse, FORGET_FILE, _forgotten, *passed_over, after=run_id)
    names = frozenset[str]().union(*forgotten)
    return {name: profile for name, profile in table.items() if name not in names}


def with_run(table: Table, name: str, run_id: str) -> Table:
    """Return the table after a run of a profile has begun."""
    known = table.get(name) or Profile(name, run_id)
    return table | {name: replace(known, run_id=run_id)}


def forget_profiles(project: Project, names: tuple[str, ...]) -> RunFile:
    """Let profiles be expected no more, until they run again; return the receipt.

    Raises
    ------
    InputError
        If there is no such profile.
    LakehouseLocked
        If another run is writing.
    """
    lakehouse = project.lakehouse
    request = {"profiles": names}
    with Run.open(project, "status --forget", request, file=FORGET_FILE) as run:
        known = known_profiles(lakehouse)
        if unknown := [name for name in names if name not in known]:
            there = f"there are {', '.join(sorted(known))}" if known else "no flow has run yet"
            raise InputError(f"there is no profile {unknown[0]!r}: {there}")
        run.tell(forgotten=names)
    return run.receipt


def _told(receipt: dict[str, Any]) -> tuple[str, Table] | None:
    if "profiles" not in receipt:  # from before flows had names
        return None
    profiles: Mapping[str, Mapping[str, Any]] = receipt["profiles"]
    table = {
        name: Profile(
            name,
            str(told["run_id"]),
            tuple(Start(str(each["run_id"]), parse_instant(each["at"])) for each in told["starts"]),
            dict(told.get("snapshots", {})),
        )
        for name, told in profiles.items()
    }
    return receipt["run_id"], table


def _forgotten(receipt: dict[str, Any]) -> frozenset[str]:
    return frozenset(map(str, receipt["forgotten"] if is_done(receipt) else ()))
