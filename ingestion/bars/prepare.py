"""From all bars of some symbols to one bar per session, as traded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.ahead import read_ahead
from ingestion.bars.checks import describe
from ingestion.bars.duplicates import Duplicates, one_per_session
from ingestion.bars.findings import EXAMPLES, Findings
from ingestion.bars.model import Bars, Split
from ingestion.bars.nearby import NearbyBars
from ingestion.bars.refusals import Reason, Refusals
from ingestion.bars.series import in_order, sessions_of, wild
from ingestion.bars.splits import place, turn_back

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Judgement:
    """What all bars of an import are judged by."""

    root: Path
    """The lakehouse's, whose bars and splits the first bars are judged by."""
    files: Sequence[str]
    """The files of bars by number."""
    names: Sequence[str]
    """Symbols by number."""
    refusals: Refusals
    findings: Findings
    adjusted: bool
    """Whether prices are split-adjusted."""
    still_adjusted: NDArray[np.bool_]
    """Shape ``(symbols,)``: series that stay split-adjusted, because nothing gives their splits."""
    max_return: float
    """Largest absolute one-day return, as a fraction."""
    duplicates: Duplicates
    """What becomes of bars of one session that disagree."""


@dataclass(frozen=True)
class Prepared:
    """What is left to be written."""

    bars: Bars
    """One a symbol and close, in that order."""
    repeated: NDArray[np.int64]
    """Shape ``(files,)``: rows of each file that only repeat another one."""
    unplaced: list[Split]
    """Splits of the splits file that have no bar here."""


def prepare(bars: Bars, told: Sequence[Split], splits: Sequence[Split], by: Judgement) -> Prepared:
    """Turn adjusted series back, record splits, and judge each symbol's bars together.

    Parameters
    ----------
    bars
        Of some symbols, all that the files have of each; in any order, and changed in place.
    told
        The splits of these symbols that the files of bars tell.
    splits
        Those of the splits file; they overrule what the files of bars say of the same day.
    by
        What is the same for all symbols.
    """
    names = by.names
    if by.adjusted:
        turn_back(
            bars, names, {(each.symbol, each.event): each for each in (*told, *splits)}.values()
        )
        bars = _in_range(bars, by)
        # What is already in the prices must not be adjusted for again.
        bars.split_ratio[by.still_adjusted[bars.symbol]] = 1.0
    unplaced = place(bars, names, splits)
    bars = in_order(bars)
    bars, repeated = _one_per_session(bars, by)
    at_fault, returns = _wild(bars, names, by.root, by.max_return)
    _refuse(bars, at_fault, Reason.RETURN, by, returns)
    return Prepared(bars.take(~at_fault), repeated, unplaced)


def _one_per_session(bars: Bars, by: Judgement) -> tuple[Bars, NDArray[np.int64]]:
    """Refuse bars that disagree; returns one bar per session, and the others by file."""
    sessions = one_per_session(bars, sessions_of(bars, by.names), by.duplicates)
    _refuse(bars, sessions.refused, Reason.DUPLICATE, by)
    for name, text, which in (
        (
            "duplicates_with_another_volume",
            "duplicates differ in nothing but volume: the later row is taken",
            sessions.revised,
        ),
        (
            "duplicates_that_disagree",
            f"duplicates disagree: the {by.duplicates} row is taken, as --duplicates says",
            sessions.chosen,
        ),
    ):
        at = np.flatnonzero(which)
        by.findings.add(name, text, (_told(bars, each, by) for each in at[:EXAMPLES]), len(at))
    others = bars.file[~sessions.kept & ~sessions.refused]
    return bars.take(sessions.kept), np.bincount(others, minlength=len(by.files))


def _told(bars: Bars, at: int, by: Judgement) -> str:
    """Return which bar it is, and of which row."""
    closed = datetime.fromtimestamp(int(bars.event[at]), UTC)
    file = Path(by.files[bars.file[at]]).name
    return f"{by.names[bars.symbol[at]]} {closed:%Y-%m-%d} ({file}, row {bars.row[at]})"


def _wild(
    bars: Bars, names: Sequence[str], root: Path, limit: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Find bars that leap, from stored ones too, where no recorded split explains it."""
    judged = replace(bars, split_ratio=bars.split_ratio.copy())
    unsaid = np.isnan(bars.split_ratio)
    ahead = [Split(symbol, event, ratio) for (symbol, event), ratio in read_ahead(root).items()]
    place(judged, names, ahead)
    judged.split_ratio[~unsaid] = bars.split_ratio[~unsaid]
    firsts = np.flatnonzero(np.diff(bars.symbol, prepend=-1))
    stored = NearbyBars(root, bars.take(firsts), names)
    before = np.full(len(bars), np.nan)
    for at in firsts.tolist():
        last = stored.before(names[bars.symbol[at]], int(bars.event[at]))
        before[at] = np.nan if last is None else last[1]
    at_fault, returns = wild(judged, limit, before)
    if not (at_fault & unsaid).any():
        return at_fault, returns
    # The bar may be stored already, with its split.
    doubtful = np.flatnonzero(at_fault & unsaid)
    stored = NearbyBars(root, bars.take(doubtful), names)
    for at in doubtful.tolist():
        ratio = stored.ratio(names[bars.symbol[at]], int(bars.event[at]))
        judged.split_ratio[at] = judged.split_ratio[at] if ratio is None else ratio
    return wild(judged, limit, before)


def _in_range(bars: Bars, by: Judgement) -> Bars:
    """Refuse what was turned back beyond what a double holds."""
    lost = np.zeros(len(bars), dtype=bool)
    for price in (bars.open, bars.high, bars.low, bars.close):
        lost |= ~(np.isfinite(price) & (price > 0))
    _refuse(bars, lost, Reason.PRICE, by)
    endless = ~lost & ~np.isfinite(bars.volume)
    _refuse(bars, endless, Reason.VOLUME, by)
    return bars.take(~lost & ~endless)


def _refuse(
    bars: Bars,
    refused: NDArray[np.bool_],
    reason: Reason,
    by: Judgement,
    returns: NDArray[np.float64] | None = None,
) -> None:
    for at in np.flatnonzero(refused).tolist():
        text = "" if returns is None else f"return {returns[at]:.1%}; "
        answer = (by.names[bars.symbol[at]], text + describe(bars, at))
        row = int(bars.row[at])
        by.refusals.add(reason, by.files[bars.file[at]], [row], lambda _, answer=answer: answer)  # type: ignore[misc]
