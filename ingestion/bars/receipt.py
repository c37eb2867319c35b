"""What an import leaves behind for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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


def receipt_body(
    counts: Sequence[FileCounts], refusals: Refusals, written: Written
) -> dict[str, Any]:
    """Return what a receipt says of an import, beside what all receipts say."""
    return {
        "files": [asdict(count) for count in counts],
        "restated": written.restated,
        "refused": refusals.total,
        "refused_by_reason": dict(refusals.by_reason.most_common()),
        "refusals_listed_at_most": LISTED,
        "refusals": [asdict(refusal) for refusal in refusals.listed],
    }
