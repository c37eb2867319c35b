"""What an import leaves behind for people to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ingestion.bars.findings import Findings
from ingestion.bars.model import Bars, Split
from ingestion.bars.prepare import Prepared
from ingestion.bars.refusals import Refusals
from ingestion.bars.store import Written


@dataclass(frozen=True)
class FileCounts:
    """What became of a file's rows: read = accepted + repeated + refused."""

    file: str
    read: int
    accepted: int
    """One bar a symbol and session: written + unchanged."""
    repeated: int
    """Rows of a session that another row stands for."""
    refused: int
    written: int
    unchanged: int
    """Bars, or splits, that the lakehouse already held."""
    named: str | None = None
    """The symbol that the file's name gave; None where the file itself says it."""
    problem: str | None = None
    """Why the file was refused as a whole, or could not be read to its end."""


class Tally:
    """What becomes of the bars of an import, added up piece by piece.

    Parameters
    ----------
    files
        The files of bars by number.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self.read, self._accepted, self._repeated, self._written = np.zeros(
            (4, len(files)), dtype=np.int64
        )
        self.named: dict[str, str] = {}
        """The symbols that files' names gave, by path."""
        self.problems: dict[str, str] = {}
        """Why files were refused, by path."""
        self.symbols: set[int] = set()
        """Those that have accepted bars."""
        self.restated = 0
        self.split_rows = 0
        self.parts: list[Path] = []
        self.barless: list[Split] = []
        self.adjusted: list[Split] = []
        self.assumed: Counter[str] = Counter()
        """By exchange, bars among the written that lie beyond the end of its calendar."""

    def add_prepared(self, prepared: Prepared) -> None:
        """Count the bars that may be written, and the rows that repeat them."""
        self._accepted += np.bincount(prepared.bars.file, minlength=len(self.files))
        self._repeated += prepared.repeated
        self.symbols.update(np.unique(prepared.bars.symbol).tolist())

    def add_written(self, bars: Bars, written: Written) -> None:
        """Count what was written of some bars; those of a session that is stored are refused."""
        at = np.array(list(written.twice), dtype=np.intp)
        self._accepted -= np.bincount(bars.file[at], minlength=len(self.files))
        self._written += np.bincount(bars.file[written.is_new], minlength=len(self.files))
        self.restated += written.restated
        self.split_rows += written.split_rows
        self.parts += written.parts
        self.barless += written.barless
        self.adjusted += written.adjusted
        self.assumed += written.assumed

    def counts(self, refusals: Refusals) -> list[FileCounts]:
        """Return what became of each file's rows."""
        columns = (self.read, self._accepted, self._repeated, self._written)
        return [
            FileCounts(
                file=str(path),
                read=read,
                accepted=accepted,
                repeated=repeated,
                refused=refusals.by_file[str(path)],
                written=written,
                unchanged=accepted - written,
                named=self.named.get(str(path)),
                problem=self.problems.get(str(path)),
            )
            for path, (read, accepted, repeated, written) in zip(
                self.files, np.stack(columns, axis=1).tolist(), strict=True
            )
        ]


def receipt_body(
    counts: Sequence[FileCounts],
    restated: int,
    refusals: Refusals,
    refused_file: Path | None,
    findings: Findings,
) -> dict[str, Any]:
    """Return what a receipt says of an import, beside what all receipts say."""
    return {
        "files": [asdict(count) for count in counts],
        "restated": restated,
        "refused": refusals.total,
        "refused_by_reason": dict(refusals.by_reason.most_common()),
        "refused_file": refused_file,
        "refusals": [asdict(refusal) for refusal in refusals.examples],
        "findings": findings.document(),
    }
