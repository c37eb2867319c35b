"""What was seen last: of each symbol its newest row, of each job its newest receipt."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.catalog import Dataset
from ingestion.lakehouse import list_parts, read_part, reading_again


def newest_events(
    root: Path, dataset: Dataset, since: datetime, until: datetime
) -> dict[str, datetime]:
    """Return the newest event of each symbol with a row in a span of time, both ends included.

    Raises
    ------
    CorruptPart
        If a part of it cannot be read.
    """
    return reading_again(lambda: _newest_events(root, dataset, since, until))


def newest_receipt(root: Path, name: str, **members: type) -> dict[str, Any] | None:
    """Return the newest receipt of a job, its run's id among its members; None if there is none.

    Run ids sort by time. One that cannot be read is passed over; ``tvfeast verify`` names it.

    Parameters
    ----------
    members
        What a receipt must have to be one, by name and type.
    """
    for path in sorted((root / "_runs").glob(f"*/{name}"), reverse=True):
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(document, dict) and all(
            isinstance(document.get(member), kind) for member, kind in members.items()
        ):
            return {**document, "run_id": path.parent.name}
    return None


def _newest_events(
    root: Path, dataset: Dataset, since: datetime, until: datetime
) -> dict[str, datetime]:
    newest = pa.table({"symbol": pa.array([], pa.string()), "event": pa.array([], _INSTANT)})
    for part in list_parts(root, dataset, since.date()):
        if part.date > until.date():
            break
        rows = read_part(part.path, ["symbol", dataset.event]).rename_columns(["symbol", "event"])
        inside = pc.and_(
            pc.greater_equal(rows["event"], pa.scalar(since, _INSTANT)),
            pc.less_equal(rows["event"], pa.scalar(until, _INSTANT)),
        )
        both = pa.concat_tables([newest, rows.filter(inside)])
        newest = both.group_by("symbol").aggregate([("event", "max")])
        newest = newest.rename_columns(["symbol", "event"])
    return dict(zip(*newest.to_pydict().values(), strict=True))


_INSTANT = pa.timestamp("us", "UTC")
