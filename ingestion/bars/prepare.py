"""From the bars of all files to one bar a session, as traded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.ahead import read_ahead
from ingestion.bars.checks import describe
from ingestion.bars.gather import Gathered
from ingestion.bars.model import Bars, Split
from ingestion.bars.nearby import NearbyBars
from ingestion.bars.refusals import Reason, Refusals
from ingestion.bars.series import in_order, repeats, wild
from ingestion.bars.splits import place, turn_back

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Prepared:
    """What is left to be written."""

    bars: Bars
    """One a symbol and close, in that order."""
    repeated: NDArray[np.int64]
    """Shape ``(files,)``: rows of each file that only repeat another one."""
    still_adjusted: NDArray[np.bool_]
    """Shape ``(symbols,)``: series that stay split-adjusted, because nothing gives their splits."""
    unplaced: list[Split]
    """Splits of the splits file that have no bar here."""


def prepare(
    files: Sequence[tuple[Path, Gathered]],
    names: list[str],
    splits: Sequence[Split],
    refusals: Refusals,
    root: Path,
    *,
    adjusted: bool,
    max_return: float,
) -> Prepared:
    """Turn adjusted series back, record splits, and judge each symbol's bars together.

    Parameters
    ----------
    files
        In the order of the request; none if there are only splits to record.
    names
        Symbols by number.
    splits
        From a splits file; they overrule what the files of bars say of the same day.
    root
        The lakehouse's, whose bars and splits the first bars are judged by.
    adjusted
        Whether prices are split-adjusted.
    max_return
        Largest absolute one-day return, as a fraction.
    """
    bars = Bars.concatenate([gathered.bars for _, gathered in files])
    still_adjusted = np.zeros(len(names), dtype=bool)
    if adjusted:
        known = {(split.symbol, split.event): split for _, file in files for split in file.splits}
        known |= {(split.symbol, split.event): split for split in splits}
        turn_back(bars, names, known.values())
        given = {split.symbol for split in splits}.union(*(file.split_symbols for _, file in files))
        still_adjusted = np.array([name not in given for name in names], dtype=bool)
        bars = _in_range(bars, [str(path) for path, _ in files], names, refusals)
        # What is already in the prices must not be adjusted for again.
        bars.split_ratio[still_adjusted[bars.symbol]] = 1.0
    unplaced = place(bars, names, splits)
    bars = in_order(bars)
    again, disputed = repeats(bars)
    paths = [str(path) for path, _ in files]
    _refuse(bars, disputed, Reason.DUPLICATE, paths, names, refusals)
    repeated = np.bincount(bars.file[again & ~disputed], minlength=len(files))
    bars = bars.take(~again & ~disputed)
    at_fault, returns = _wild(bars, names, root, max_return)
    _refuse(bars, at_fault, Reason.RETURN, paths, names, refusals, returns)
    return Prepared(bars.take(~at_fault), repeated, still_adjusted, unplaced)


def _wild(
    bars: Bars, names: list[str], root: Path, limit: float
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


def _in_range(bars: Bars, paths: list[str], names: list[str], refusals: Refusals) -> Bars:
    """Refuse what was turned back beyond what a double holds."""
    lost = np.zeros(len(bars), dtype=bool)
    for price in (bars.open, bars.high, bars.low, bars.close):
        lost |= ~(np.isfinite(price) & (price > 0))
    _refuse(bars, lost, Reason.PRICE, paths, names, refusals)
    endless = ~lost & ~np.isfinite(bars.volume)
    _refuse(bars, endless, Reason.VOLUME, paths, names, refusals)
    return bars.take(~lost & ~endless)


def _refuse(
    bars: Bars,
    refused: NDArray[np.bool_],
    reason: Reason,
    paths: list[str],
    names: list[str],
    refusals: Refusals,
    returns: NDArray[np.float64] | None = None,
) -> None:
    for at in np.flatnonzero(refused).tolist():
        text = "" if returns is None else f"return {returns[at]:.1%}; "
        answer = (names[bars.symbol[at]], text + describe(bars, at))
        row = int(bars.row[at])
        refusals.add(reason, paths[bars.file[at]], [row], lambda _, answer=answer: answer)  # type: ignore[misc]
