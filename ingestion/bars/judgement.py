"""What all bars of an import are judged by, and where its verdicts go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.arrays import Bars
from ingestion.bars.duplicates import Duplicates
from ingestion.bars.placing import describe
from ingestion.bars.refusals import Findings, Reason, Refusals

if TYPE_CHECKING:
    from numpy.typing import NDArray

WAITING = "held_bars"
"""Stands for a file's name where a bar is refused that an earlier import held back."""


@dataclass(frozen=True)
class Judgement:
    """What all bars of an import are judged by."""

    files: Sequence[str]
    """The files of bars by number."""
    names: Sequence[str]
    """Symbols by number."""
    refusals: Refusals
    findings: Findings
    adjusted: bool
    """Whether prices are split-adjusted."""
    still_adjusted: NDArray[np.bool_]
    """Shape ``(symbols,)``: series that stay split-adjusted, because nothing gives their splits.

    Those whose splits the lakehouse has are taken out when they are prepared.
    """
    max_return: float
    """Largest one-day return, as a fraction; the smallest is as large a ratio."""
    duplicates: Duplicates
    """What becomes of bars of one session that disagree."""
    may_split: NDArray[np.bool_]
    """Shape ``(symbols,)``: whether the instrument may split."""
    recorded: dict[tuple[str, int], float]
    """Splits that wait in the lakehouse, by symbol and close of the ex-date's session."""
    restate: bool = False
    """Whether a past that is scaled against the stored one replaces it."""
    splits_file: str = ""

    def file_of(self, number: int) -> str:
        """Return a file's name; bars that waited have the number behind the last one's."""
        return self.files[number] if number < len(self.files) else WAITING

    def refuse(
        self,
        bars: Bars,
        refused: NDArray[np.bool_],
        reason: Reason,
        returns: NDArray[np.float64] | None = None,
        texts: dict[int, str] | None = None,
    ) -> None:
        """Record refused bars, file by file.

        Parameters
        ----------
        refused, returns
            Shape ``(n,)`` each: which of the bars, and the returns to be told.
        texts
            What to tell of each symbol by number.
        """
        every = np.flatnonzero(refused)
        for file in np.unique(bars.file[every]).tolist():
            at = every[bars.file[every] == file]

            def describe_one(n: int, at: NDArray[np.intp] = at) -> tuple[str, str]:
                one = int(at[n])
                text = "" if returns is None else f"return {returns[one]:.1%}; "
                if texts is not None:
                    text = f"{texts[int(bars.symbol[one])]}; "
                return self.names[bars.symbol[one]], text + describe(bars, one)

            self.refusals.add(reason, self.file_of(file), bars.row[at].tolist(), describe_one)
