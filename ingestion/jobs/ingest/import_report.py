"""What an import reports: its counts, by file and in all, and its doubts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ingestion.bars.arrays import Bars
from ingestion.bars.bar_reader import BarReader
from ingestion.bars.changed_past import ChangedPast
from ingestion.bars.duplicates import FEW_BARS, Restatement
from ingestion.bars.given_splits import Contradiction
from ingestion.bars.judging import Prepared
from ingestion.bars.leaps import SuspectedLeap
from ingestion.bars.refusals import HINTS, Findings, Reason, Refusal
from ingestion.bars.vendor_symbols import looks_foreign, unknown_exchanges
from ingestion.bars.writing import Written
from ingestion.base.wording import counted, some_of
from ingestion.lakehouse import Lakehouse, Part, RunFile, read_symbols

if TYPE_CHECKING:
    from numpy.typing import NDArray


SCALED_PAST = (
    "the file is adjusted for splits or dividends that the stored bars are not adjusted for, or in "
    "another unit: import prices as traded, or give --restate to replace the stored past"
)


@dataclass
class Doubts:
    """What an import found about splits and about the stored past."""

    suspected_splits: list[SuspectedLeap] = field(default_factory=list)
    """Leaps that stay; the bars from there on are held back."""
    contradictions: list[Contradiction] = field(default_factory=list)
    """Symbols whose prices contradict their splits; their bars are refused."""
    restatements: list[Restatement] = field(default_factory=list)
    """Symbols of which more than a few stored bars are restated."""
    scaled_pasts: list[Restatement] = field(default_factory=list)
    """Symbols whose past is scaled against the stored one; their bars are refused."""

    def __bool__(self) -> bool:
        """Return whether a symbol was refused or held back."""
        return bool(self.suspected_splits or self.contradictions or self.scaled_pasts)


@dataclass
class FileCounts:
    """What became of a file's rows: read = accepted + repeated + refused + held."""

    SHOWN: ClassVar = ("unchanged",)

    file: str
    read: int = 0
    accepted: int = 0
    """One bar per symbol and session: written + unchanged."""
    repeated: int = 0
    """Rows of a session of which another row was taken."""
    refused: int = 0
    held: int = 0
    """Bars that wait until somebody says whether there was a split."""
    written: int = 0
    named: str | None = None
    """The symbol that the file's name gave; None where the file itself says it."""
    may_come_again: bool = field(default=False, repr=False)
    """Whether a refused row may be good when it comes again."""
    problem: str | None = None
    """Why the file was refused as a whole, or could not be read to its end."""

    @property
    def unchanged(self) -> int:
        """Bars, or splits, that the lakehouse already had."""
        return self.accepted - self.written


MAX_REFUSED = 0.05
"""Share of files, and of rows, beyond whose refusal an import does not end with exit code 0."""


def _sum_of(count: str) -> property:
    return property(lambda result: sum(getattr(each, count) for each in result.files))


@dataclass
class ImportResult:
    """What became of an import, added up piece by piece."""

    SHOWN: ClassVar = (
        *("read", "accepted", "refused", "held", "written", "unchanged", "refused_files"),
    )

    run_id: str
    receipt: RunFile
    files: tuple[FileCounts, ...]
    """The files of bars in the request's order, then those of splits and of dividends."""
    findings: Findings
    """Notes beside the counts."""
    restated: int = 0
    """Rows among the written that replace an earlier version."""
    changed_past: ChangedPast = field(default_factory=ChangedPast)
    """Bars among the restated that the same source gave other values before."""
    symbols: int = 0
    """Symbols among the accepted bars."""
    newest: dict[str, date] = field(default_factory=dict, repr=False)
    """By symbol, the UTC date on which the newest bar closed that came, be it good or not."""
    still_adjusted: tuple[str, ...] = ()
    """Symbols that were taken split-adjusted, because nothing gives their splits."""
    refused_by_reason: dict[Reason, int] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()
    """The first few of each reason."""
    refused_file: RunFile | None = None
    """All of them, one row each; None if nothing was refused."""
    doubts: Doubts = field(default_factory=Doubts)
    """What was found about splits and about the stored past."""
    suspects_file: RunFile | None = None
    """Lines to be edited and given back as ``--splits``; none if nothing is suspected."""
    released: int = 0
    """Bars that an earlier import held back, and that are stored now."""
    splits_ahead: int = 0
    """Splits that wait for their bar, newly recorded."""
    dividends: int = 0
    """Dividends that were recorded, or restated."""
    dividends_restated: int = 0
    """Dividends among them of which another amount was recorded before."""
    dividends_withdrawn: int = 0
    """Dividends that the bar source gave, and does not list any more."""
    again: tuple[str, ...] = ()
    """Symbols that a bar source is asked for again next time: more of them may be good then."""
    parts: tuple[Part, ...] = ()
    nothing_accepted: str | None = field(default=None, repr=False)
    """Why nothing was accepted, if something came."""

    def add_prepared(self, prepared: Prepared) -> None:
        """Count the bars of some symbols that may be written, and note the doubts about them."""
        self._count("accepted", self._by_file(prepared.bars.file))
        self._count("held", self._by_file(prepared.held.file))
        self._count("repeated", prepared.repeated)
        self.symbols += len(np.unique(prepared.bars.symbol))
        self.doubts.suspected_splits += prepared.suspects
        self.doubts.contradictions += prepared.contradictions
        self.doubts.restatements += [each for each in prepared.restated if each.bars > FEW_BARS]
        self.doubts.scaled_pasts += prepared.refused_pasts

    def add_written(self, bars: Bars, written: Written) -> None:
        """Count what was written of some bars; those that are not taken are refused."""
        not_taken = np.array(list(written.not_taken), dtype=np.intp)
        self._count("accepted", -self._by_file(bars.file[not_taken]))
        by_file = self._by_file(bars.file[written.is_new])
        self._count("written", by_file)
        self.released += int(written.is_new.sum() - by_file.sum())
        self.restated += written.restated
        self.changed_past.add_document(written.past.document())
        self.parts += tuple(written.parts)

    def _by_file(self, files: NDArray[np.int32]) -> NDArray[np.int64]:
        # Bars that waited since an earlier import have a number behind the last file's.
        return np.bincount(files, minlength=len(self.files) + 1)[: len(self.files)]

    def _count(self, name: str, counts: Iterable[int]) -> None:
        for file, count in zip(self.files, counts, strict=True):
            setattr(file, name, getattr(file, name) + int(count))

    @property
    def refused_files(self) -> dict[str, str]:
        """Why files were refused as a whole, by path."""
        return {each.file: each.problem for each in self.files if each.problem is not None}

    @property
    def refusal(self) -> str | None:
        """What was refused beyond :data:`MAX_REFUSED`; None if little or nothing was."""
        for refused, of, what in (
            (len(self.refused_files), len(self.files), "files"),
            (self.refused, self.read, "rows"),
        ):
            if refused > MAX_REFUSED * of:
                return f"{refused:,} of {of:,} {what} were refused; the others are written"
        return None

    # Each count of a file, added up over all files.
    read = _sum_of("read")
    accepted = _sum_of("accepted")
    refused = _sum_of("refused")
    held = _sum_of("held")
    written = _sum_of("written")
    unchanged = _sum_of("unchanged")

    def note_nothing_accepted(self, commonest: Reason | None) -> None:
        """Note why nothing was accepted, with the commonest reason of refused rows, if any was."""
        doubts = self.doubts
        if commonest is None:
            self.nothing_accepted = some_of([*self.refused_files.values()])
            return
        text = f"not one of {counted(self.read, 'row')} was accepted"
        if doubts.contradictions:
            first = doubts.contradictions[0]
            text += f": {first.symbol}: {first.told}"
        elif doubts.scaled_pasts:
            text += f": {doubts.scaled_pasts[0].text}: {SCALED_PAST}"
        else:
            one = self.refusals[0]
            text += (
                f', most often for "{commonest}"; the first is {one.file}, row {one.row}: '
                f"{one.reason}{f' ({one.detail})' if one.detail else ''}"
            )
        hint = f"; {HINTS[commonest]}" if commonest in HINTS else ""
        self.nothing_accepted = f"{text}{hint}; see {self.receipt} and {self.refused_file}"


def note_doubtful(
    findings: Findings, reader: BarReader, names: Sequence[str], lakehouse: Lakehouse
) -> None:
    """Note doubtful symbols, and where the market and its calendar disagree."""
    note = findings.add
    note(
        "named_by_files",
        "files whose names gave the symbol",
        [f"{symbol} ({Path(path).name})" for path, symbol in reader.named.items()],
    )
    note(
        "unknown_exchanges",
        "exchange codes that are not known: their bars count as closed 24 h after they open; "
        "write TradingView's code of the exchange that lists the symbol, if it is another one",
        unknown_exchanges(names),
    )
    if foreign := {name for name in names if looks_foreign(name)}:
        foreign -= set(read_symbols(lakehouse)["symbol"].to_pylist())
        note(
            "foreign_symbols",
            "symbols that the scanner never named, and that TradingView may write otherwise "
            "(of files, --symbol-map translates them; a bar source takes TradingView's)",
            sorted(foreign),
        )
    note(
        "traded_on_closed_days",
        "days on which symbols traded and the calendar has none; if the market was open, write "
        "them to feature_repo/sessions.csv and import again",
        reader.trading_days.on_closed_days(),
    )
    note(
        "open_days_without_trade",
        "days that the calendar has as open, on which no symbol of the exchange has a bar",
        reader.trading_days.without_trade(),
    )
