"""What became of an import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ingestion.bars.doubts import Doubts
from ingestion.bars.receipt import FileCounts
from ingestion.bars.refusals import Finding, Reason, Refusal

MAX_REFUSED = 0.05
"""Share of files, and of rows, beyond whose refusal an import does not end with exit code 0."""


@dataclass(frozen=True)
class ImportResult:
    """What became of an import."""

    SHOWN: ClassVar = (
        "read",
        "accepted",
        "refused",
        "held",
        "written",
        "unchanged",
        "refused_files",
    )

    run_id: str
    files: tuple[FileCounts, ...]
    """The files of bars in the request's order, then the splits file."""
    restated: int
    """Rows among the written that replace an earlier version."""
    symbols: int
    """Symbols among the accepted bars."""
    still_adjusted: tuple[str, ...]
    """Symbols that were taken split-adjusted, because nothing gives their splits."""
    refused_by_reason: dict[Reason, int]
    refusals: tuple[Refusal, ...]
    """The first few of each reason."""
    refused_file: Path | None
    """All of them, one row each; None if nothing was refused."""
    findings: tuple[Finding, ...]
    """What else there is to say."""
    doubts: Doubts
    """What was found about splits and about the stored past."""
    suspects_file: Path | None
    """Lines to be edited and given back as ``--splits``; none if nothing is suspected."""
    released: int
    """Bars that an earlier import held back, and that are stored now."""
    splits_ahead: int
    """Splits that wait for their bar, newly recorded."""
    parts: tuple[Path, ...]
    receipt: Path

    @property
    def refused_files(self) -> dict[str, str]:
        """Why files were refused as a whole, by path."""
        return {each.file: each.problem for each in self.files if each.problem is not None}

    @property
    def too_much_refused(self) -> str | None:
        """What was refused beyond :data:`MAX_REFUSED`; None if little or nothing was."""
        for refused, of, what in (
            (len(self.refused_files), len(self.files), "files"),
            (self.refused, self.read, "rows"),
        ):
            if refused > MAX_REFUSED * of:
                return f"{refused:,} of {of:,} {what} were refused; the others are written"
        return None

    @property
    def read(self) -> int:
        """Rows in all files."""
        return sum(counts.read for counts in self.files)

    @property
    def accepted(self) -> int:
        """Rows that are in the lakehouse now."""
        return sum(counts.accepted for counts in self.files)

    @property
    def refused(self) -> int:
        """Rows that are not, for a reason."""
        return sum(counts.refused for counts in self.files)

    @property
    def held(self) -> int:
        """Rows that wait until somebody says whether there was a split."""
        return sum(counts.held for counts in self.files)

    @property
    def written(self) -> int:
        """Rows that this run added."""
        return sum(counts.written for counts in self.files)

    @property
    def unchanged(self) -> int:
        """Rows that the lakehouse already held."""
        return sum(counts.unchanged for counts in self.files)
