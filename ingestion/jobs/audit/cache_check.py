"""Whether the caches say what the bars say: all checksums, and the values of some symbols.

Some symbols, others each time, are read by date and computed anew. What ``formula_state`` keeps of
them must be that to the last bit, and ``ohlcv_1d_by_symbol`` must have the same bars. That costs
about what reading the bars does once, however many symbols there are. And ``written_by_runs`` must
name all files that are in the folders of the runs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.bars.arrays import SymbolTable
from ingestion.base.arrow import from_numpy, to_numpy
from ingestion.base.wording import some_of
from ingestion.catalog import OHLCV_1D
from ingestion.formulas import SHIPPED
from ingestion.formulas.incremental import Kept, Plan, begin_blocks
from ingestion.formulas.planning import plan_of
from ingestion.jobs.compute.bars_by_symbol import FOLDER, BarsBySymbol, read_by_date
from ingestion.jobs.compute.definitions import computed_formulas
from ingestion.jobs.compute.formula_state import FILE, FormulaState, Unfit
from ingestion.jobs.compute.transpose import BAR_COLUMNS, Names, features, numbered
from ingestion.lakehouse import CacheFile, SeenParts
from ingestion.lakehouse.caches import UnreadableCache, cache_files
from ingestion.lakehouse.ended_runs import contradicted
from ingestion.lakehouse.run_files import WRITTEN_FILE
from ingestion.project import Project

_SYMBOLS = 64
"""Of which the values are compared."""
_ANEW = "delete it: it is made anew from what the lakehouse has"
_ORDER = [(name, "ascending") for name in ("symbol", "timestamp", "event_timestamp")]


@dataclass(frozen=True)
class CachesChecked:
    """What was compared, and what is wrong."""

    files: int = 0
    """Whose checksums were compared."""
    symbols: int = 0
    """Of which what is kept was compared with what their bars give."""
    of: int = 0
    """How many there are."""
    unfit: str = ""
    """Why no symbol's was; the next run sees that too."""
    faults: tuple[tuple[str, str], ...] = ()
    """File and reason."""


def check_caches(project: Project, *, values: bool = True) -> CachesChecked:
    """Check the caches; one that does not fit any more is no fault: its reader sees that.

    Parameters
    ----------
    values
        Whether to read bars too, rather than compare checksums alone.

    Raises
    ------
    CorruptPart
        If a part of bars cannot be read.
    FileNotFoundError
        If a part is gone since it was listed.
    """
    lakehouse = project.lakehouse
    files = [*cache_files(lakehouse), *cache_files(lakehouse, FOLDER)]
    damaged = [(file.key, f"{found}: {_ANEW}") for file in files if (found := file.damage())]
    are_of_bars = any(file.name.startswith((FOLDER, FILE)) for file in files)
    if values and (runs := [*contradicted(lakehouse)]):
        file = CacheFile(WRITTEN_FILE, lakehouse)
        damaged.append((file.key, f"does not have all that {some_of(runs)} wrote: {_ANEW}"))
    if not values or not are_of_bars or damaged:
        return CachesChecked(len(files), faults=tuple(damaged))
    try:
        with FormulaState(lakehouse) as state:
            head = state.head
            names = random.sample(head.symbols, min(_SYMBOLS, len(head.symbols)))
            seen = SeenParts.look(lakehouse, OHLCV_1D, head.seen.bars)
            bars = read_by_date(seen.parts, sorted(names))
            faults = list(_other_bars(project, seen, bars, sorted(names)))
            _check_fit(project, state, seen)
            differs = _kept_otherwise(state, bars, names, _plan(project, state))
    except (Unfit, UnreadableCache) as unfit:
        return CachesChecked(len(files), unfit=str(unfit))
    if differs:
        reason = f"does not follow from the bars of {some_of(differs)}: {_ANEW}"
        faults.append((CacheFile(FILE, lakehouse).key, reason))
    return CachesChecked(len(files), len(names), len(head.symbols), faults=tuple(faults))


def _plan(project: Project, state: FormulaState) -> Plan:
    plan = plan_of(computed_formulas(project), SHIPPED)
    if plan.marks != state.head.marks:
        raise Unfit("formulas have changed")
    return plan


def _check_fit(project: Project, state: FormulaState, seen: SeenParts) -> None:
    if seen.origins != state.head.seen.bars.origins:
        raise Unfit("bars have changed since")


def _other_bars(
    project: Project, seen: SeenParts, bars: pa.Table, names: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield the months by symbol that have other bars than their dates."""
    by_symbol = BarsBySymbol(project.lakehouse, seen, project.lakehouse.scratch_folder(""))
    found = pa.concat_tables([bars.slice(0, 0), *by_symbol.months(seen.parts, names)])
    month = _months(bars)
    theirs = _months(found)
    for each in np.unique(np.concatenate([month, theirs])):
        mine = bars.filter(from_numpy(month == each)).sort_by(_ORDER)
        if not mine.equals(found.filter(from_numpy(theirs == each)).sort_by(_ORDER)):
            yield (
                CacheFile(f"{FOLDER}/{each}.zip", project.lakehouse).key,
                (f"has other bars than the dates of that month: {_ANEW}"),
            )


def _months(bars: pa.Table) -> NDArray[np.datetime64]:
    instants = to_numpy(bars["event_timestamp"]).view("datetime64[us]")
    months: NDArray[np.datetime64] = instants.astype("datetime64[M]")
    return months


def _kept_otherwise(state: FormulaState, bars: pa.Table, names: list[str], plan: Plan) -> list[str]:
    """Return the symbols of which something else is kept than their bars give."""
    anew: dict[str, tuple[Kept, int]] = {}

    def keep(symbols: pa.StringArray, kept: Kept) -> None:
        anew.update({name: (kept, at) for at, name in enumerate(symbols.to_pylist())})

    symbols = SymbolTable(names)
    rows = numbered(bars.select(BAR_COLUMNS), symbols)
    for _ in features(
        rows, Names(names), state.head.holes, lambda each: begin_blocks(each, plan, keep)
    ):
        pass
    found = []
    for numbers, kept in state.blocks():
        for at, number in enumerate(numbers.tolist()):
            name = state.head.symbols[number]
            if name in anew and not _is_same(kept, at, *anew[name]):
                found.append(name)
    return found


def _is_same(mine: Kept, own: int, other: Kept, its: int) -> bool:
    return (
        mine.sizes == other.sizes
        and np.array_equal(mine.times[:, own], other.times[:, its])
        and np.array_equal(mine.numbers[:, own], other.numbers[:, its], equal_nan=True)
    )
