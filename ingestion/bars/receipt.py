"""What an import leaves behind for people to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion.bars.arrays import Bars, Split
from ingestion.bars.doubts import Doubts
from ingestion.bars.judging import Prepared
from ingestion.bars.refusals import Findings, Refusals
from ingestion.bars.writing import Written

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FileCounts:
    """What became of a file's rows: read = accepted + repeated + refused + held."""

    file: str
    read: int
    accepted: int
    """One bar a symbol and session: written + unchanged."""
    repeated: int
    """Rows of a session that another row stands for."""
    refused: int
    held: int
    """Bars that wait until somebody says whether there was a split."""
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
        self.read, self._accepted, self._repeated, self._held, self._written = np.zeros(
            (5, len(files)), dtype=np.int64
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
        self.released = 0
        """Bars that an earlier import held back, and that are stored now."""
        self.doubts = Doubts()

    def add_prepared(self, prepared: Prepared) -> None:
        """Count the bars that may be written, and the rows that repeat them."""
        self._accepted += self._per_file(prepared.bars.file)
        self._repeated += prepared.repeated
        self._held += self._per_file(prepared.held.file)
        self.doubts.add(prepared)
        self.symbols.update(np.unique(prepared.bars.symbol).tolist())

    def add_written(self, bars: Bars, written: Written) -> None:
        """Count what was written of some bars; those that are not taken are refused."""
        at = np.array(list(written.not_taken), dtype=np.intp)
        self._accepted -= self._per_file(bars.file[at])
        files = bars.file[written.is_new]
        self._written += self._per_file(files)
        self.released += int((files == len(self.files)).sum())
        self.restated += written.restated
        self.split_rows += written.split_rows
        self.parts += written.parts
        self.barless += written.barless
        self.adjusted += written.adjusted
        self.assumed += written.assumed

    def _per_file(self, files: NDArray[np.int32]) -> NDArray[np.int64]:
        # Bars that waited since an earlier import have a number behind the last file's.
        return np.bincount(files, minlength=len(self.files) + 1)[: len(self.files)]

    def counts(self, refusals: Refusals) -> list[FileCounts]:
        """Return what became of each file's rows."""
        columns = (self.read, self._accepted, self._repeated, self._held, self._written)
        return [
            FileCounts(
                file=str(path),
                read=read,
                accepted=accepted,
                repeated=repeated,
                refused=refusals.by_file[str(path)],
                held=held,
                written=written,
                unchanged=accepted - written,
                named=self.named.get(str(path)),
                problem=self.problems.get(str(path)),
            )
            for path, (read, accepted, repeated, held, written) in zip(
                self.files, np.stack(columns, axis=1).tolist(), strict=True
            )
        ]


def receipt_body(
    counts: Sequence[FileCounts],
    tally: Tally,
    refusals: Refusals,
    refused_file: Path | None,
    findings: Findings,
) -> dict[str, Any]:
    """Return what a receipt says of an import, beside what all receipts say."""
    return {
        "files": [asdict(count) for count in counts],
        "restated": tally.restated,
        "released": tally.released,
        **tally.doubts.document(),
        "refused": refusals.total,
        "refused_by_reason": dict(refusals.by_reason.most_common()),
        "refused_file": refused_file,
        "refusals": [asdict(refusal) for refusal in refusals.examples],
        "findings": findings.document(),
    }
