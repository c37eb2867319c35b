"""How an import judges its bars: all of a symbol together, some symbols at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ingestion.bars.arrays import ByDate, Split
from ingestion.bars.judging import judge_symbols
from ingestion.bars.stored_bars import NearbyBars
from ingestion.jobs.ingest.import_reading import Material


@dataclass(frozen=True)
class Judged:
    """What the judgements left, regrouped by date."""

    good: ByDate
    """Bars that may be written."""
    held: ByDate
    """Bars that wait until somebody says whether there was a split."""
    waited_in_vain: ByDate
    """Bars that earlier imports held back, and that turn out to be bad ones."""
    changes: list[Split] = field(default_factory=list)
    """The ratios for stored bars, and for bars to come."""


def judge(material: Material, staging: Path) -> Judged:
    """Judge the bars of all symbols; nothing is written before.

    Parameters
    ----------
    staging
        A folder for what does not fit in memory; the caller removes it.
    """
    by, days = material.judgement, material.by_symbol.extent.days
    judged = Judged(
        good=ByDate(staging / "good", days),
        held=ByDate(staging / "held", days),
        waited_in_vain=ByDate(staging / "in-vain", days),
    )
    of_symbol: dict[str, list[Split]] = {}
    for split in material.splits.splits:
        of_symbol.setdefault(split.symbol, []).append(split)
    for numbers, bars, told, waiting, stored in material.by_symbol.drain():
        own = [split for n in numbers.tolist() for split in of_symbol.get(by.names[n], ())]
        prepared = judge_symbols(bars, told, own, by, waiting, NearbyBars(material.stored, stored))
        material.tally.add_prepared(prepared)
        judged.changes.extend([*prepared.unplaced, *prepared.moved])
        judged.good.add(prepared.bars)
        judged.held.add(prepared.held)
        judged.waited_in_vain.add(prepared.waited_in_vain)
    return judged
