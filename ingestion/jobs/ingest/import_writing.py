"""How an import writes what it has judged: held bars, bars, and the splits that have none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ingestion.bars.arrays import Bars, Split
from ingestion.bars.judging import Judgement
from ingestion.bars.placing import describe
from ingestion.bars.refusals import Reason
from ingestion.bars.source import Source
from ingestion.bars.splits import record_splits
from ingestion.bars.stored_bars import hold_back, newly_held, waiting_bars
from ingestion.bars.writing import Incoming, Written, write_bars
from ingestion.base import clock
from ingestion.jobs.ingest.import_judging import Judged
from ingestion.jobs.ingest.import_reading import Material
from ingestion.jobs.ingest.import_request import ImportRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NAMED = 3
"""How many files the source of a split names."""


def write_judged(
    root: Path, request: ImportRequest, material: Material, judged: Judged, run_id: str
) -> int:
    """Write the bars of all dates; the caller holds the lakehouse's lock.

    What was held back is there before anything else.

    Returns
    -------
    int
        How many splits were recorded ahead of their bars.
    """
    tally, by = material.tally, material.judgement
    _hold_back(root, material, judged, run_id)
    for bars, changes in judged.good.drain(judged.changes):
        written = write_bars(root, _incoming(request, bars, changes, material), run_id)
        _refuse_not_taken(bars, written, by)
        tally.add_written(bars, written)
    by.findings.add(
        "assumed_hours",
        "bars lie beyond the end of their exchange's calendar; the weekday's usual hours are "
        "assumed (update exchange_calendars, or write the year's holidays and short days to "
        "feature_repo/sessions.csv)",
        [f"{exchange} {count:,}" for exchange, count in sorted(tally.assumed.items())],
        count=tally.assumed.total(),
    )
    _refuse_splits(request, tally.adjusted, by)
    return _record_ahead(root, request, tally.barless, run_id)


def _hold_back(root: Path, material: Material, judged: Judged, run_id: str) -> None:
    """Keep the bars apart that wait for an answer; those that were found bad wait no longer."""
    names = material.judgement.names
    for by_date, refused in ((judged.held, False), (judged.waited_in_vain, True)):
        for bars, _ in by_date.drain([]):
            sources = _sources(bars, material, refused=refused)(np.arange(len(bars)))
            closes = int(bars.event.min()), int(bars.event.max())
            first, last = (datetime.fromtimestamp(close, UTC).date() for close in closes)
            waiting = waiting_bars(root, first, last)
            rows = newly_held(bars, names, np.full(len(bars), np.nan), sources, waiting)
            hold_back(root, rows, run_id)


def _sources(
    bars: Bars, material: Material, *, refused: bool = False
) -> Callable[[NDArray[np.intp]], pa.Array]:
    """Return what gives the source of the bars at some positions."""
    by = material.judgement
    files = [Source.imported(Path(file).name) for file in by.files]
    adjusted = [replace(file, adjusted=True) for file in files]
    waited = map(Source.parse, material.held.sources)
    several = [replace(each, refused=refused) for each in (*files, *adjusted, *waited)]
    texts = pa.array(map(str, several), pa.string())

    def source(at: NDArray[np.intp]) -> pa.Array:
        file, waited = bars.file[at], 2 * len(files) + bars.row[at]
        of_file = file + len(files) * by.still_adjusted[bars.symbol[at]]
        return texts.take(pa.array(np.where(file < len(files), of_file, waited)))

    return source


def _incoming(
    request: ImportRequest, bars: Bars, changes: list[Split], material: Material
) -> Incoming:
    name = request.splits.name if request.splits else ""
    moved = [change for change in changes if change.is_moved]
    recorded = [change for change in changes if not change.is_moved]
    source = _sources(bars, material)
    return Incoming(bars, material.judgement.names, source, recorded, name, moved)


def _record_ahead(root: Path, request: ImportRequest, barless: list[Split], run_id: str) -> int:
    """Record the splits that have no bar yet, each as of the file that tells it."""
    ahead = 0
    if request.splits is not None:
        of_file = [split for split in barless if split.row]
        source = str(Source.imported(request.splits.name))
        ahead = record_splits(root, of_file, source, clock.now(), run_id)
    told = [split for split in barless if not split.row]
    if told:
        source = str(Source.imported(*(path.name for path in request.files[:_NAMED])))
        ahead += record_splits(root, told, source, clock.now(), run_id)
    return ahead


def _refuse_not_taken(bars: Bars, written: Written, by: Judgement) -> None:
    """Refuse the bars against which something stored speaks."""
    for at, stored in written.not_taken.items():
        answer = (by.names[bars.symbol[at]], f"{describe(bars, at)}; {stored}")
        file, row = by.file_of(int(bars.file[at])), int(bars.row[at])
        by.refusals.add(stored.reason, file, [row], lambda _, answer=answer: answer)  # type: ignore[misc]


def _refuse_splits(request: ImportRequest, splits: list[Split], by: Judgement) -> None:
    """Record the splits that would count twice."""
    splits = [split for split in splits if split.row]
    answers = [(split.symbol, f"ratio {split.ratio:g}") for split in splits]
    rows = [split.row for split in splits]
    by.refusals.add(Reason.ADJUSTED, str(request.splits), rows, answers.__getitem__)
