"""What is served of each group: its last load, and what the promotion gate has refused since.

Both follow from receipts, of ``materialize`` and of ``validate``. Other projects may share the
lakehouse; theirs do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ingestion.base import clock
from ingestion.base.errors import GateRefused, InputError
from ingestion.catalog import FeatureGroup
from ingestion.lakehouse.run_files import files_of_run, run_file
from ingestion.project import Project
from ingestion.runs.receipt_file import (
    ended_before,
    newest_receipt,
    read_receipt,
    receipts_told,
    text,
)

LOAD_FILE, VERDICT_FILE = "materialize.json", "validate.json"


@dataclass(frozen=True)
class LastLoad:
    """The last load of one group into the online store."""

    run_id: str
    until: datetime
    rows: int | None
    """Symbols that had a row; None where the engine did not say."""
    parts: frozenset[str] = field(repr=False)
    """What was loaded: the parts of the window, below the lakehouse's root."""
    newest: datetime | None
    """Event of the newest row that was loaded; None where the receipt does not say."""


@dataclass(frozen=True)
class Unpromoted:
    """A group whose newest rows the gate has refused, and that was not loaded since."""

    group: str
    run_id: str
    at: datetime
    """When the gate refused them."""
    reasons: tuple[str, ...]
    served: LastLoad | None
    """What is served in their place, until it expires; None if nothing is."""

    @property
    def is_old(self) -> bool:
        """Whether they are old, and nothing else is wrong with them."""
        return all(reason.startswith("age hours: ") for reason in self.reasons)

    def __str__(self) -> str:
        instead = (
            f"what is served was loaded as of {self.served.until:%Y-%m-%d %H:%M} UTC"
            if self.served
            else "nothing of it is served"
        )
        return f"{self.group} is not promoted: {'; '.join(self.reasons)}; {instead}"


def last_loads(
    project: Project, *passed_over: Callable[[InputError], object]
) -> dict[str, LastLoad]:
    """Return the last load of each group, but for one whose rows must have expired since.

    Parameters
    ----------
    passed_over
        As of :func:`~ingestion.runs.receipt_file.receipts_told`.
    """

    def read(receipt: dict[str, Any]) -> dict[str, LastLoad] | None:
        if not _is_ours(project, receipt) or ended_before(receipt, "views"):
            return None
        until = clock.parse_instant(receipt["until"])
        return {
            text(view["view"]): LastLoad(
                run_id=receipt["run_id"],
                until=until,
                rows=view["rows"],
                parts=frozenset(map(text, view["parts"])),
                newest=clock.parse_instant(view["newest"]) if view.get("newest") else None,
            )
            for view in receipt["views"]
        }

    wanted = {group.name for group in project.catalog.groups}
    longest_ttl = max(group.ttl for group in project.catalog.groups)
    loads: dict[str, LastLoad] = {}
    reached: list[datetime] = []
    for each in receipts_told(project.lakehouse, LOAD_FILE, read, *passed_over):
        reached += [load.until for load in each.values()]
        if reached and reached[0] - reached[-1] > longest_ttl:
            break
        loads = each | loads
        if wanted <= loads.keys():
            break
    return loads


def unpromoted(
    project: Project,
    loads: Mapping[str, LastLoad],
    *passed_over: Callable[[InputError], object],
) -> dict[str, Unpromoted]:
    """Return the groups that the newest verdict refuses and no later load has taken all the same.

    Parameters
    ----------
    loads
        As :func:`last_loads` returns them.
    passed_over
        As of :func:`~ingestion.runs.receipt_file.receipts_told`.
    """

    def read(receipt: dict[str, Any]) -> list[Unpromoted] | None:
        if not _is_ours(project, receipt) or ended_before(receipt, "groups"):
            return None
        if "groups" not in receipt:  # from before each group had its own verdict
            return []
        at, run_id = clock.parse_instant(receipt["at"]), receipt["run_id"]
        return [
            Unpromoted(name, run_id, at, tuple(map(text, told["reasons"])), loads.get(name))
            for name, told in receipt["groups"].items()
            if told["verdict"] == "refuse"
        ]

    refused = newest_receipt(project.lakehouse, VERDICT_FILE, read, *passed_over) or []
    return {
        each.group: each
        for each in refused
        if each.served is None or each.served.run_id < each.run_id
    }


def promoted_in(project: Project, run_id: str) -> list[FeatureGroup] | None:
    """Return the groups that a run has promoted; None if it has not asked the gate.

    Raises
    ------
    GateRefused
        If it has promoted none.
    """
    file = run_file(project.lakehouse, run_id, VERDICT_FILE)
    if file.name not in {each.name for each in files_of_run(project.lakehouse, run_id)}:
        return None
    told = read_receipt(file).get("groups", {})
    promoted = [
        group
        for group in project.catalog.groups
        if told.get(group.name, {}).get("verdict") == "promote"
    ]
    if not promoted:
        raise GateRefused(f"run {run_id} has promoted no group: {file} says why")
    return promoted


def _is_ours(project: Project, receipt: dict[str, Any]) -> bool:
    return bool(receipt["settings"]["project"] == str(project.folder))
