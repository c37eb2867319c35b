"""How much of what was asked a snapshot covers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from ingestion.markets.universe import Universe
from ingestion.scanner import Attempt, Snapshot


@dataclass(frozen=True)
class CoverageReport:
    """What one snapshot covers: the receipt of its run, or the beginning of it."""

    SHOWN: ClassVar = ("coverage", "verdict")

    run_id: str
    profile: str
    """Name of the candidates file, or slug of the universe."""
    known_at: datetime
    """The instant that all rows of the snapshot are stamped with, or judged by."""
    asked: int
    fetched: int
    """Symbols with a row in this snapshot."""
    resumed: int
    """Symbols left out because an earlier row is inside the resume window."""
    failed_symbols: dict[str, str]
    absent: tuple[str, ...]
    """Symbols that the scanner does not know."""
    invalid_symbols: tuple[str, ...]
    """Entries of the candidates file that were never asked for, with their numbers."""
    shortfall: int
    """Symbols that a market counts but no page showed."""
    lost_pages: tuple[str, ...]
    duplicates: int
    unasked: int
    attempts: tuple[Attempt, ...]
    min_coverage: float
    refused: int = 0
    """Symbols whose row cannot be used."""
    unknown_columns: tuple[str, ...] = ()
    """Optional columns that the scanner does not know; they are null in all rows."""

    @classmethod
    def of(
        cls,
        run_id: str,
        universe: Universe,
        min_coverage: float,
        snapshot: Snapshot,
        known_at: datetime,
        resumed: int = 0,
    ) -> CoverageReport:
        """Report on a snapshot of candidates, or of a market.

        Parameters
        ----------
        resumed
            Symbols that are missing from the snapshot because they have a recent row.
        """
        return cls(
            run_id=run_id,
            profile=universe.profile,
            known_at=known_at,
            asked=snapshot.asked,
            fetched=len(snapshot.rows),
            resumed=resumed,
            failed_symbols=snapshot.failed,
            absent=snapshot.absent,
            invalid_symbols=universe.problems,
            shortfall=max(0, snapshot.shortfall - resumed),
            lost_pages=snapshot.lost_pages,
            duplicates=snapshot.duplicates,
            unasked=snapshot.unasked,
            attempts=snapshot.attempts,
            min_coverage=min_coverage,
            unknown_columns=snapshot.unknown,
        )

    @property
    def coverage(self) -> float:
        """Symbols with a usable row here or inside the resume window ÷ symbols asked."""
        # A market that changes while it is read may show more symbols than it ever counts.
        return min(1.0, self.covered / self.asked) if self.asked else 0.0

    @property
    def covered(self) -> int:
        """Symbols with a usable row here or inside the resume window."""
        return self.fetched - self.refused + self.resumed

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
            (self.refused, "refused"),
        )
        return ", ".join(f"{count:,} {what}" for count, what in counts if count)

    @property
    def verdict(self) -> str:
        """Whether the snapshot is published, for the receipt."""
        return "publish" if self.is_enough else "refuse"

    def __str__(self) -> str:
        missing = f", {self.missing}" if self.missing else ""
        return f"coverage {self.coverage:.1%} ({self.covered:,} of {self.asked:,} symbols{missing})"
