"""From all bars of some symbols to one bar per session, as traded.

In: the bars of files, those that waited, and the stored ones around them. Out: bars to be written,
bars that wait for a split to be recorded, and splits for other bars; the rest is refused.

1. Of several bars of one session one is kept: vendors repeat a session when they correct its
   volume, so of rows with equal prices the later one is right. Where prices disagree nobody knows
   which is right, and :class:`Duplicates` decides.
2. Symbols whose prices contradict their splits are refused.
3. Split-adjusted prices are turned into traded ones.
4. Symbols whose past is scaled against the stored one are refused.
5. Bad bars are refused, and bars after a leap that may be a split are held back.
6. Each bar gets the ratio that takes effect at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.arrays import Bars, Split, among, in_order, keys_of
from ingestion.bars.bar_reader import describe
from ingestion.bars.duplicates import (
    Duplicates,
    Pattern,
    Restatement,
    one_per_session,
    restatements,
    session_keys,
)
from ingestion.bars.given_splits import Contradiction, Evidence, Shown, contradiction, evidence
from ingestion.bars.leaps import Leaps, SuspectedLeap, find_leaps
from ingestion.bars.pending_splits import Known, read_around, take_effect, with_stored
from ingestion.bars.refusals import EXAMPLES, Findings, Reason, Refusal, Refusals
from ingestion.bars.splits import put_on_bars, undo_adjustment
from ingestion.bars.stored_bars import LOOKBACK, NearbyBars
from ingestion.base.instants import utc

if TYPE_CHECKING:
    from numpy.typing import NDArray


_WAITING = "held_bars"
"""The name of the file, for a refused bar that an earlier import held back."""


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
        return self.files[number] if number < len(self.files) else _WAITING

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
            Shape ``(n,)`` each: which of the bars, and the returns to be reported.
        texts
            What to report of each symbol, by number.
        """
        every = np.flatnonzero(refused)
        for at in every[np.argsort(bars.file[every], kind="stable")].tolist():
            number = int(bars.symbol[at])
            text = "" if returns is None else f"return {returns[at]:.1%}; "
            if texts is not None:
                text = f"{texts[number]}; "
            file, row, detail = self.file_of(bars.file[at]), int(bars.row[at]), describe(bars, at)
            self.refusals.add(Refusal(file, row, self.names[number], reason, f"{text}{detail}"))


_UNDECIDED = (
    "splits are taken as they are given, because prices do not distinguish them from a market's "
    "move: their ratio is within 4:5 and 5:4, or the bar before is far"
)


@dataclass(frozen=True)
class Prepared:
    """What is left to be written."""

    bars: Bars
    """One per symbol and close, in that order."""
    repeated: NDArray[np.int64]
    """Shape ``(files,)``: rows of each file that only repeat another one."""
    unplaced: list[Split]
    """Splits that have no bar here."""
    moved: list[Split]
    """Stored bars that get another ratio, because a split takes effect elsewhere now."""
    held: Bars
    """Bars that wait until somebody says whether there was a split."""
    waited_in_vain: Bars
    """Bars that earlier imports held back, and that turn out to be bad ones."""
    suspects: list[SuspectedLeap] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)
    restated: list[Restatement] = field(default_factory=list)
    refused_pasts: list[Restatement] = field(default_factory=list)


def judge_symbols(
    bars: Bars,
    of_files: Sequence[Split],
    splits: Sequence[Split],
    by: Judgement,
    waiting: Bars,
    stored: NearbyBars,
) -> Prepared:
    """Turn adjusted series back, record splits, and judge each symbol's bars together.

    Parameters
    ----------
    bars
        Of some symbols, all that the files have of each; in any order, and changed in place.
    of_files
        The splits of these symbols that the files of bars give.
    splits
        Those of the splits file; they overrule what the files of bars say of the same day.
    by
        The rules and the lists that all symbols share.
    waiting
        Bars of these symbols that earlier imports held back, as traded.
    stored
        What the lakehouse has around all of these.
    """
    bars = in_order(bars)
    put_on_bars(bars, by.names, splits)
    bars, repeated = _one_per_session(bars, by)
    waiting = _of_other_sessions(in_order(waiting), bars)
    put_on_bars(waiting, by.names, splits)
    told = _undisputed(of_files)
    return _SymbolsImport(bars, waiting, told, [*splits], by, stored).prepared(repeated)


def _one_per_session(bars: Bars, by: Judgement) -> tuple[Bars, NDArray[np.int64]]:
    """Refuse bars that disagree; return one bar per session, and how many others each file has."""
    sessions = one_per_session(bars, session_keys(bars, by.names), by.duplicates)
    by.refuse(bars, sessions.refused, Reason.DUPLICATE)
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
        shown = [
            f"{by.names[bars.symbol[n]]} {utc(int(bars.event[n])):%Y-%m-%d} "
            f"({Path(by.files[bars.file[n]]).name}, row {bars.row[n]})"
            for n in at[:EXAMPLES]
        ]
        by.findings.add(name, text, shown, len(at))
    others = bars.file[~sessions.kept & ~sessions.refused]
    return bars.take(sessions.kept), np.bincount(others, minlength=len(by.files))


class _SymbolsImport:
    """The bars of some symbols on their way through the judgements."""

    def __init__(
        self,
        bars: Bars,
        waiting: Bars,
        of_files: list[Split],
        splits: list[Split],
        by: Judgement,
        stored: NearbyBars,
    ) -> None:
        self.bars, self.waiting, self.by = bars, waiting, by
        self.splits, self.of_files = splits, of_files
        self.stored = stored
        self.known = Known(by.names, self.stored, by.recorded, splits)
        self.known.add(of_files)
        read_around(self.stored, in_order(Bars.concatenate([bars, waiting])), self.known)
        self.undecided = 0
        self.contradictions: list[Contradiction] = []

    def prepared(self, repeated: NDArray[np.int64]) -> Prepared:
        """Apply one judgement after the other."""
        by = self.by
        self._refuse_contradictions()
        if by.adjusted:
            self._turn_back()
        restated, refused_pasts = self._refuse_scaled_pasts()
        bars = in_order(Bars.concatenate([self.bars, self.waiting]))
        self._refuse_splits_of_stored_bars(bars)
        merged, leaps = self._leaps(bars)
        by.refuse(merged, leaps.bad, Reason.RETURN, leaps.step - 1)
        held = merged.take(leaps.held)
        kept = merged.take((merged.file >= 0) & ~leaps.bad & ~leaps.held)
        unplaced = self._unplaced(kept, held)
        before = dict(self.known.recorded)
        self.known.waiting_now(unplaced)
        kept, changed = take_effect(kept, self.stored, self.known, before)
        by.findings.add("splits_not_told", _UNDECIDED, count=self.undecided)
        return Prepared(
            bars=kept,
            repeated=repeated,
            unplaced=unplaced,
            moved=changed,
            held=held,
            waited_in_vain=merged.take(leaps.bad & (merged.file == len(by.files))),
            suspects=leaps.suspects,
            contradictions=self.contradictions,
            restated=restated,
            refused_pasts=refused_pasts,
        )

    def _refuse_contradictions(self) -> None:
        """Refuse the symbols whose prices do not agree with their splits."""
        by, incoming = self.by, keys_of(self.bars.symbol, self.bars.event)
        around = [self.bars]
        if not by.adjusted:
            there = self.stored.bars.take(~self.stored.is_adjusted)
            around += [
                _of_other_sessions(self.waiting, self.bars),
                _of_other_sessions(there, self.bars),
            ]
        series = in_order(Bars.concatenate(around))
        keys = keys_of(series.symbol, series.event)
        is_new = among(keys, incoming)
        ratio, doubtful = self.known.ratios(series)
        of_symbol: dict[int, list[Evidence]] = {}
        for each in evidence(series, ratio):
            if not (is_new[each.at] or (each.at and is_new[each.at - 1])):
                continue
            of_symbol.setdefault(each.symbol, []).append(each)
            if each.shown is Shown.UNDECIDED:
                self.undecided += 1
                doubtful[each.at] = False
        # A file that says "no split" where one is recorded, and whose prices leap by it, is wrong.
        said_wrongly = doubtful & is_new
        at = among(incoming, keys[said_wrongly])
        against: dict[int, str] = {}
        for number, found in of_symbol.items():
            if (text := contradiction(found, adjusted=by.adjusted)) is not None:
                against[number] = text
        self.bars.split_ratio[at] = np.nan
        self.known.believe_files()
        self._refuse_symbols(against)

    def _refuse_symbols(self, against: dict[int, str]) -> None:
        """Refuse the bars of some symbols, and the splits that they contradict."""
        by = self.by
        at_fault = np.isin(self.bars.symbol, list(against))
        by.refuse(self.bars, at_fault, Reason.ADJUSTMENT, texts=against)
        self.contradictions += [
            Contradiction(by.names[number], int((self.bars.symbol == number).sum()), text)
            for number, text in against.items()
        ]
        self.bars = self.bars.take(~at_fault)
        names = {by.names[number]: text for number, text in against.items()}
        for split in self.splits:
            if (text := names.get(split.symbol)) is not None:
                detail = f"ratio {split.ratio:g}; {text}"
                by.refusals.add(
                    Refusal(by.splits_file, split.row, split.symbol, Reason.ADJUSTMENT, detail)
                )
        self.splits = [split for split in self.splits if split.symbol not in names]
        self.of_files = [split for split in self.of_files if split.symbol not in names]
        self.known.forget(names)

    def _refuse_splits_of_stored_bars(self, bars: Bars) -> None:
        """Refuse splits that the stored or waiting prices contradict."""
        fresh = {split.symbol for split in self.splits if split.ratio != 1}
        if not fresh:
            return
        series = with_stored(bars, self.stored)
        from_files = (series.file >= 0) & (series.file < len(self.by.files))
        numbers = [n for n, name in enumerate(self.by.names) if name in fresh]
        of_them = np.isin(series.symbol, numbers)
        if self.stored.is_adjusted.any():
            adjusted = self.stored.bars.take(self.stored.is_adjusted)
            of_them &= ~np.isin(series.symbol, np.unique(adjusted.symbol))
        series, from_files = series.take(of_them), from_files[of_them]
        events = {(split.symbol, split.event) for split in self.splits}
        against: dict[int, str] = {}
        for each in evidence(series, self.known.ratios(series)[0]):
            key = (self.by.names[each.symbol], int(series.event[each.at]))
            if key in events and not from_files[max(each.at - 1, 0) : each.at + 1].any():
                if (text := contradiction([each], adjusted=False)) is not None:
                    against[each.symbol] = text
                self.undecided += each.shown is Shown.UNDECIDED
        if against:
            self._refuse_symbols(against)

    def _turn_back(self) -> None:
        """Turn split-adjusted bars into those that were traded, where their splits are known."""
        by = self.by
        recorded = self.known.all_splits(self.bars)
        numbers = {name: number for number, name in enumerate(by.names)}
        for split in recorded:
            if split.ratio != 1:
                by.still_adjusted[numbers[split.symbol]] = False
        undo_adjustment(self.bars, by.names, recorded)
        lost = np.zeros(len(self.bars), dtype=bool)
        for price in self.bars.prices:
            lost |= ~(np.isfinite(price) & (price > 0))
        by.refuse(self.bars, lost, Reason.PRICE)
        endless = ~lost & ~np.isfinite(self.bars.volume)
        by.refuse(self.bars, endless, Reason.VOLUME)
        self.bars = self.bars.take(~lost & ~endless)
        # These prices contain the adjustment already; a ratio would adjust them again.
        self.bars.split_ratio[by.still_adjusted[self.bars.symbol]] = 1.0

    def _refuse_scaled_pasts(self) -> tuple[list[Restatement], list[Restatement]]:
        """Refuse symbols whose past is scaled against the stored one; return what is restated."""
        by = self.by
        found = restatements(self.bars, self.stored, by.names, by.still_adjusted)
        refused = {
            number: each
            for number, each in found.items()
            if each.pattern is Pattern.SCALED and not each.explained and not by.restate
        }
        at_fault = np.isin(self.bars.symbol, list(refused))
        texts = {number: each.text for number, each in refused.items()}
        by.refuse(self.bars, at_fault, Reason.SCALED, texts=texts)
        self.bars = self.bars.take(~at_fault)
        # Splits that came with these prices may be what scaled them: they change no stored bar.
        names = {by.names[number] for number in refused}
        self.of_files = [split for split in self.of_files if split.symbol not in names]
        self.known.forget_of_bars(names)
        restated = [each for number, each in found.items() if number not in refused]
        return restated, list(refused.values())

    def _leaps(self, bars: Bars) -> tuple[Bars, Leaps]:
        """Judge the steps between the bars, the stored ones around them included."""
        by, stored = self.by, self.stored
        merged = with_stored(bars, stored)
        match = stored.find(merged)
        same = match >= 0
        same[same] = merged.close[same] == stored.bars.close[match[same]]
        settled = np.zeros(len(merged), dtype=bool)
        settled[1:] = same[1:] & same[:-1]
        # Equal prices settle nothing where the file gives another ratio than what is stored.
        unconfirmed = self.known.unconfirmed(merged)
        other = unconfirmed & (match >= 0)
        other[other] = merged.split_ratio[other] != stored.bars.split_ratio[match[other]]
        settled &= ~other
        is_stored = merged.file < 0
        far = np.diff(merged.event, prepend=0) > LOOKBACK.total_seconds()
        settled[1:] |= far[1:] & (is_stored[1:] | is_stored[:-1])
        settled |= self.known.settled(merged)
        ratio, _ = self.known.ratios(merged)
        return merged, find_leaps(
            merged,
            by.names,
            ratio,
            by.max_return,
            settled=settled,
            stored=is_stored,
            may_split=by.may_split[merged.symbol],
            unconfirmed=unconfirmed,
        )

    def _unplaced(self, kept: Bars, held: Bars) -> list[Split]:
        """Return the splits without a bar among those that are written or held back."""
        numbers = {name: number for number, name in enumerate(self.by.names)}
        said = {(split.symbol, split.event): split for split in self.of_files}
        said |= {(split.symbol, split.event): split for split in self.splits}
        if not said:
            return []
        keys = keys_of(
            np.array([numbers[symbol] for symbol, _ in said]),
            np.array([event for _, event in said], dtype=np.int64),
        )
        there = np.zeros(len(keys), dtype=bool)
        for bars in (kept, held):
            there |= among(keys, keys_of(bars.symbol, bars.event))
        return list(compress(said.values(), ~there))


def _undisputed(splits: Sequence[Split]) -> list[Split]:
    """Return one split per symbol and ex-date; none where files disagree on its ratio."""
    ratios: dict[tuple[str, int], set[float]] = {}
    for split in splits:
        ratios.setdefault((split.symbol, split.event), set()).add(split.ratio)
    found = {
        (split.symbol, split.event): split
        for split in splits
        if len(ratios[split.symbol, split.event]) == 1
    }
    return list(found.values())


def _of_other_sessions(bars: Bars, others: Bars) -> Bars:
    """Return the bars of sessions that others, which are in order, do not have."""
    there = among(keys_of(bars.symbol, bars.event), keys_of(others.symbol, others.event))
    return bars.take(~there)
