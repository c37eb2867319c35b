"""How much of what was asked a snapshot covers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ingestion.scanner import Attempt

COVERAGE_FILE = "feature_ingest_coverage.json"


@dataclass(frozen=True)
class CoverageReport:
    """The receipt of one snapshot, written before its rows are published."""

    run_id: str
    profile: str
    """Name of the candidates file, or slug of the universe."""
    known_at: datetime
    """The instant that all rows of the snapshot are stamped with."""
    asked: int
    fetched: int
    """Symbols with a row in this snapshot."""
    resumed: int
    """Symbols left out because an earlier row is inside the resume window."""
    failed_symbols: dict[str, str]
    absent: tuple[str, ...]
    """Symbols that the scanner does not know."""
    invalid_symbols: tuple[str, ...]
    """Entries of the candidates file that were never asked for, by line."""
    shortfall: int
    """Symbols that a market counts but no page showed."""
    lost_pages: tuple[str, ...]
    duplicates: int
    unasked: int
    attempts: tuple[Attempt, ...]
    min_coverage: float

    @property
    def coverage(self) -> float:
        """Symbols with a row here or inside the resume window ÷ symbols asked."""
        # A market that changes while it is read may show more symbols than it ever counts.
        return min(1.0, self.covered / self.asked) if self.asked else 0.0

    @property
    def covered(self) -> int:
        """Symbols with a row here or inside the resume window."""
        return self.fetched + self.resumed

    @property
    def is_enough(self) -> bool:
        """Whether the snapshot may be published."""
        return self.covered > 0 and self.coverage >= self.min_coverage

    @property
    def commonest_reason(self) -> str | None:
        """What most symbols, or else pages, failed of; none if nothing did."""
        reasons = Counter(self.failed_symbols.values() or self.lost_pages)
        return reasons.most_common(1)[0][0] if reasons else None

    @property
    def missing(self) -> str:
        """What has no row, counted by cause; empty if all have one."""
        counts = (
            (len(self.failed_symbols), "failed"),
            (len(self.absent), "unknown to the scanner"),
            (self.shortfall, "on no page"),
        )
        return ", ".join(f"{count:,} {what}" for count, what in counts if count)

    def to_json(self) -> bytes:
        """Return the receipt as an indented JSON document."""
        document: dict[str, Any] = asdict(self)
        document["known_at"] = self.known_at.isoformat()
        document["coverage"] = round(self.coverage, 6)
        document["verdict"] = "publish" if self.is_enough else "refuse"
        return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"

    def __str__(self) -> str:
        missing = f", {self.missing}" if self.missing else ""
        return f"coverage {self.coverage:.1%} ({self.covered:,} of {self.asked:,} symbols{missing})"
