"""Selections that were kept when they were made, each in a receipt of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from ingestion.base.errors import InputError
from ingestion.base.plain import plain
from ingestion.datasets.panel import by_group
from ingestion.jobs.serve.provenance import definition_hashes
from ingestion.jobs.serve.ranking import Ranking, SelectRequest, rank
from ingestion.jobs.serve.select import Selection, listed
from ingestion.project import Project
from ingestion.runs.receipt_file import receipts_told
from ingestion.runs.run import Run

RECEIPT_FILE = "select.json"


@dataclass(frozen=True)
class RecordedSelection:
    """What was listed."""

    run_id: str
    at: datetime
    request: SelectRequest
    group: str
    """Whose rows were ranked."""
    symbols: frozenset[str]
    """All that were asked about."""
    rows: Mapping[str, Mapping[str, Any]]
    """By symbol, best first, the values of its features, by their labels."""
    definitions: Mapping[str, str]
    """By feature's name, a hash that differs if it means something else."""


def select_and_record(project: Project, request: SelectRequest) -> Selection:
    """Rank what is served now, and keep what is listed, in the receipt ``select.json`` of a run.

    Parameters and errors as of :func:`~ingestion.jobs.serve.select.select`.

    Raises
    ------
    InputError
        If ``as_of`` is given: that selection can be made again at any time.
    """
    if request.as_of is not None:
        raise InputError("--record keeps what is served now: leave out --as-of")
    with Run.open(project, "select", request, file=RECEIPT_FILE, writes=False) as run:
        ranking = rank(project, request)
        selection = listed(ranking, request)
        run.tell(
            at=selection.at,
            group=selection.group,
            by=selection.by,
            symbols=sorted(ranking.symbols),
            left_out=selection.left_out,
            definitions=definitions_of(project, ranking),
            rows={row.symbol: row.features for row in selection.rows},
        )
    return selection


def definitions_of(project: Project, ranking: Ranking) -> dict[str, str]:
    """Return by feature's name a hash that differs if it means something else."""
    of_group = by_group(
        (project.catalog.group(each.view), each.feature, label)
        for label, each in ranking.wanted.by_label.items()
    )
    return definition_hashes(project, of_group)


def recorded_selections(project: Project, day: date) -> Iterator[RecordedSelection]:
    """Yield the selections of a UTC date that were kept, the newest first."""
    told = receipts_told(project.lakehouse, RECEIPT_FILE, _read)
    return (each for each in told if each.at.date() == day)


def asked(request: SelectRequest) -> Mapping[str, Any]:
    """Return a request without its instants, as a receipt has it."""
    found: Mapping[str, Any] = plain(replace(request, as_of=None, known_at=None))
    return found


def _read(receipt: Mapping[str, Any]) -> RecordedSelection | None:
    if "rows" not in receipt:  # it was refused
        return None
    request = dict(receipt["request"])
    request["max_bar_age"] = timedelta(seconds=request["max_bar_age"])
    for name in ("model", "trained_on"):
        request[name] = None if request[name] is None else Path(request[name])
    return RecordedSelection(
        run_id=receipt["run_id"],
        at=datetime.fromisoformat(receipt["at"]),
        request=SelectRequest(**request),
        group=receipt["group"],
        symbols=frozenset(receipt["symbols"]),
        rows=receipt["rows"],
        definitions=receipt["definitions"],
    )
