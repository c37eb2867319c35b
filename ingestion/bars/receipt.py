"""What an import leaves behind for people to read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ingestion.bars.refusals import LISTED, Refusals
from ingestion.bars.store import Written


@dataclass(frozen=True)
class FileCounts:
    """What became of a file's rows: read = accepted + repeated + refused."""

    file: str
    read: int
    accepted: int
    """One bar a symbol and session: written + unchanged."""
    repeated: int
    """Rows that say the same as another one."""
    refused: int
    written: int
    unchanged: int
    """Bars, or splits, that the lakehouse already held."""


def receipt_json(
    run_id: str,
    now: datetime,
    options: Mapping[str, object],
    counts: Sequence[FileCounts],
    refusals: Refusals,
    written: Written,
) -> bytes:
    """Return the receipt as an indented JSON document."""
    document: dict[str, Any] = {
        "run_id": run_id,
        "now": now.isoformat(),
        "options": options,
        "files": [asdict(count) for count in counts],
        "parts": len(written.parts),
        "restated": written.restated,
        "refused": refusals.total,
        "refused_by_reason": dict(refusals.by_reason.most_common()),
        "refusals_listed_at_most": LISTED,
        "refusals": [asdict(refusal) for refusal in refusals.listed],
    }
    return (
        json.dumps(document, indent=2, ensure_ascii=False, default=str).encode(errors="replace")
        + b"\n"
    )
