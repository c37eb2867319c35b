"""What an import reports: its counts, its doubts, the body of its receipt, and its result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ingestion.bars.arrays import Bars, Split
from ingestion.bars.judging import Prepared
from ingestion.bars.leaps import Contradiction, SuspectedSplit
from ingestion.bars.refusals import Finding, Findings, Reason, Refusal, Refusals
from ingestion.bars.stored_bars import FEW_BARS, Restatement
from ingestion.bars.writing import Written
from ingestion.lakehouse import Part, RunFile

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class Doubts:
    """What an import found about splits and about the stored past."""

    suspects: list[SuspectedSplit] = field(default_factory=list)
    """Leaps that stay; the bars from there on are held back."""
    contradictions: list[Contradiction] = field(default_factory=list)
    """Symbols whose prices contradict their splits; their bars are refused."""
    restated: list[Restatement] = field(default_factory=list)
    """Symbols of which more than a few stored bars are restated."""
    refused_pasts: list[Restatement] = field(default_factory=list)
    """Symbols whose past is scaled against the stored one; their bars are refused."""

    def __bool__(self) -> bool:
        """Return whether a symbol was refused or held back."""
        return bool(self.suspects or self.contradictions or self.refused_pasts)

    def add(self, prepared: Prepared) -> None:
        """Add the doubts about some symbols."""
        self.suspects += prepared.suspects
        self.contradictions += prepared.contradictions
        self.restated += [each for each in prepared.restated if each.bars > FEW_BARS]
        self.refused_pasts += prepared.refused_pasts

    def document(self) -> dict[str, Any]:
        """Return them for the receipt and for ``--json``."""
        return {
            "suspected_splits": [asdict(each) | {"date": each.date} for each in self.suspects],
            "contradictions": [asdict(each) for each in self.contradictions],
            "restatements": [_restatement_document(each) for each in self.restated],
            "scaled_pasts": [_restatement_document(each) for each in self.refused_pasts],
        }


def _restatement_document(each: Restatement) -> dict[str, Any]:
    days = {"first": each.first.isoformat(), "last": each.last.isoformat()}
    return asdict(each) | days | {"factors": list(each.factors)}


@dataclass(frozen=True)
class FileCounts:
    """What became of a file's rows: read = accepted + repeated + refused + held."""

    file: str
    read: int
    accepted: int
    """One bar per symbol and session: written + unchanged."""
    repeated: int
    """Rows of a session of which another row was taken."""
    refused: int
    held: int
    """Bars that wait until somebody says whether there was a split."""
    written: int
    unchanged: int
    """Bars, or splits, that the lakehouse already had."""
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
        """Symbols that have accepted bars, by number."""
        self.restated = 0
        self.split_rows = 0
        self.parts: list[Part] = []
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
    refused_file: RunFile | None,
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


MAX_REFUSED = 0.05
"""Share of files, and of rows, beyond whose refusal an import does not end with exit code 0."""


@dataclass(frozen=True)
class ImportResult:
    """What became of an import."""

    SHOWN: ClassVar = (
        *("read", "accepted", "refused", "held", "written", "unchanged", "refused_files"),
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
    refused_file: RunFile | None
    """All of them, one row each; None if nothing was refused."""
    findings: tuple[Finding, ...]
    """Notes beside the counts."""
    doubts: Doubts
    """What was found about splits and about the stored past."""
    suspects_file: RunFile | None
    """Lines to be edited and given back as ``--splits``; none if nothing is suspected."""
    released: int
    """Bars that an earlier import held back, and that are stored now."""
    splits_ahead: int
    """Splits that wait for their bar, newly recorded."""
    parts: tuple[Part, ...]
    receipt: RunFile

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
        """Rows that the lakehouse already had."""
        return sum(counts.unchanged for counts in self.files)
