"""Features of all bars, computed by this process or by the tasks of an engine.

This process turns bars around on its disk (:mod:`~ingestion.jobs.compute.transpose`). On an engine
each task does that with the bars of some symbols, which it reads from ``ohlcv_1d_by_symbol``
(:mod:`~ingestion.jobs.compute.bars_by_symbol`), and leaves its rows in a file with a row group per
month. Nothing but what is kept of its symbols comes back; what is published, and when, is for the
one process that has the lock.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ingestion.bars.arrays import SymbolTable
from ingestion.bars.attendance import Attendance
from ingestion.bars.holes import OpenHoles
from ingestion.base.errors import InputError
from ingestion.base.executors import Engine, run
from ingestion.base.memory import memory_of_the_system
from ingestion.base.progress import watched
from ingestion.base.spill import Spill
from ingestion.catalog import OHLCV_1D
from ingestion.formulas.incremental import Kept, Plan, begin_blocks
from ingestion.jobs.compute.bars_by_symbol import BarsBySymbol
from ingestion.jobs.compute.definitions import computed_formulas
from ingestion.jobs.compute.transpose import (
    Names,
    features,
    read_bars,
    spill_by_month,
    spill_by_symbol,
)
from ingestion.lakehouse import Part, SeenParts
from ingestion.plugins.offline.files import Location, location_of
from ingestion.plugins.offline.writing import scratch, write_passing
from ingestion.project import Project
from ingestion.runs.run import Run

Keep = Callable[[pa.StringArray, Kept], object]
"""Is given what is kept, and of which symbols."""


class Months(Protocol):
    """Computed rows, in piles of 30 days."""

    @property
    def numbers(self) -> list[int]:
        """The piles that have rows, in order."""

    def drain(self) -> Iterator[tuple[int, pa.Table]]:
        """Yield each pile's rows, in the order of the numbers."""


@dataclass(frozen=True)
class Wanted:
    """What is computed of the bars that :meth:`Turn.read` has read."""

    plan: Plan
    names: list[str]
    """Symbols by number."""
    holes: OpenHoles
    first: date
    last: date
    """Of these dates rows are wanted, both included."""


class Turn(Protocol):
    """A way from all bars to their features; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def read(self, bars: list[Part], attendance: Attendance, symbols: SymbolTable) -> int:
        """Note who was there when, and return how many bars there are."""

    def compute(self, wanted: Wanted, keep: Keep) -> Months:
        """Compute them; call once."""


def turn_of(project: Project, run_: Run, engine: Engine, seen: SeenParts) -> Turn:
    """Return the way that an engine goes.

    Parameters
    ----------
    seen
        All parts of bars.

    Raises
    ------
    InputError
        If tasks have nowhere to put their rows.
    """
    if engine.executor == "local":
        return Here(project, run_, seen)
    return OnEngine(project, run_, seen, engine)


class Here:
    """Through files on this machine's disk."""

    def __init__(self, project: Project, run_: Run, seen: SeenParts) -> None:
        self._by_symbol = BarsBySymbol(project.lakehouse, seen, run_.scratch("by_symbol"))
        self._symbols, self._months = (Spill(run_.scratch(name)) for name in ("symbols", "months"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._symbols.__exit__()
        self._months.__exit__()

    def read(self, bars: list[Part], attendance: Attendance, symbols: SymbolTable) -> int:
        """Spill them by symbol."""
        return spill_by_symbol(bars, self._by_symbol, self._symbols, attendance, symbols)

    def compute(self, wanted: Wanted, keep: Keep) -> Months:
        """Compute a few hundred symbols at a time."""
        _compute(self._symbols, wanted, keep, self._months)
        return self._months


def _compute(symbols: Spill, wanted: Wanted, keep: Keep, months: Spill) -> None:
    """Compute piles of symbols, and spill the rows by month."""
    names = Names(wanted.names)
    piles = watched(symbols.drain(), "piles of symbols computed", len(symbols.numbers))
    for _, rows in piles:
        computed = features(
            rows, names, wanted.holes, lambda bars: begin_blocks(bars, wanted.plan, keep)
        )
        for some in computed:
            spill_by_month(some, wanted.first, wanted.last, months)


class OnEngine:
    """By a task for each slice of the symbols, through files where all tasks see them."""

    def __init__(self, project: Project, run_: Run, seen: SeenParts, engine: Engine) -> None:
        self._project, self._seen, self._engine = project, seen, engine
        self._by_symbol = BarsBySymbol(project.lakehouse, seen, run_.scratch("by_symbol"))
        self._staging = _staging(project, run_, engine)
        self._dates, self._last = 1, date.max
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def read(self, bars: list[Part], attendance: Attendance, symbols: SymbolTable) -> int:
        """Read them once, which also makes what ``ohlcv_1d_by_symbol`` lacks."""
        self._dates, self._last = len({part.date for part in bars}), bars[-1].date
        return sum(read_bars(bars, self._by_symbol, attendance, symbols))

    def compute(self, wanted: Wanted, keep: Keep) -> Months:
        """Let tasks compute the slices of symbols."""
        folder = self._opened.enter_context(scratch(self._staging))
        task = _Task(
            # A worker needs no session, and opens what it needs anew.
            replace(self._project, session_id=None),
            SeenParts.of_document(self._seen.document()),
            self._last,
            replace(wanted, plan=Plan((), wanted.plan.others)),
            folder,
        )
        slices = _slices(wanted.names, self._engine.rows_per_task // self._dates)
        done = run(self._engine.executor, partial(_of_symbols, task), slices)
        files = []
        for made in watched(done, "slices of symbols computed", len(slices)):
            files.append(made.file)
            for symbols, kept in made.kept:
                keep(symbols, kept)
        return _MonthFiles(folder, files)


@dataclass(frozen=True)
class _Task:
    """What each task is given beside its symbols."""

    project: Project
    seen: SeenParts
    """The parts of bars that there are."""
    last: date
    """Of the bars that are read."""
    wanted: Wanted
    """Without the formulas, which the project has."""
    folder: Location


class _File(NamedTuple):
    path: str
    months: list[int]
    """The number of each row group."""


class _Made(NamedTuple):
    file: _File
    kept: list[tuple[pa.StringArray, Kept]]


def _slices(names: Sequence[str], at_most: int) -> list[NDArray[np.int64]]:
    """Return the numbers of the symbols of each task, neighbours by name."""
    order = np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
    return np.array_split(order, -(-len(order) // max(at_most, 1)) or 1)


@memory_of_the_system()
def _of_symbols(task: _Task, only: NDArray[np.int64]) -> _Made:
    """Compute some symbols, and write a file; to do it again writes another one."""
    project, wanted = task.project, task.wanted
    plan = Plan(tuple(computed_formulas(project)), wanted.plan.others)
    kept: list[tuple[pa.StringArray, Kept]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Spill(Path(folder) / "symbols") as symbols,
        Spill(Path(folder) / "months") as months,
    ):
        seen = SeenParts.look(project.lakehouse, OHLCV_1D, task.seen)
        bars = [part for part in seen.parts if part.date <= task.last]
        by_symbol = BarsBySymbol(project.lakehouse, seen, Path(folder) / "by_symbol")
        unused = Attendance(bars[0].date, bars[-1].date)
        spill_by_symbol(bars, by_symbol, symbols, unused, SymbolTable(wanted.names), only)
        _compute(symbols, replace(wanted, plan=plan), lambda *each: kept.append(each), months)
        place = task.folder.inside(f"{uuid.uuid4().hex}.parquet")
        return _Made(_write(place, months), kept)


def _write(place: Location, months: Spill) -> _File:
    """Write each pile as a row group."""
    numbers: list[int] = []

    def piles() -> Iterator[pa.Table]:
        for number, rows in months.drain():
            numbers.append(number)
            yield rows

    write_passing(place, piles())
    return _File(place.path, numbers)


class _MonthFiles:
    """Files of several tasks, each with a row group per month."""

    def __init__(self, folder: Location, files: Sequence[_File]) -> None:
        self._folder, self._files = folder, files

    @property
    def numbers(self) -> list[int]:
        return sorted({number for file in self._files for number in file.months})

    def drain(self) -> Iterator[tuple[int, pa.Table]]:
        for number in self.numbers:
            own = (file for file in self._files if number in file.months)
            yield number, pa.concat_tables([self._read(file, number) for file in own])

    def _read(self, file: _File, number: int) -> pa.Table:
        with self._folder.filesystem.open_input_file(file.path) as opened:
            group = file.months.index(number)
            return pq.ParquetFile(opened).read_row_group(group, use_threads=False)


def _staging(project: Project, run_: Run, engine: Engine) -> Location:
    """Return the folder in which tasks put their rows."""
    if engine.staging is None and "://" in str(project.lakehouse):
        raise InputError(
            f"the executor {engine.executor} computes features of {project.lakehouse} where "
            "its tasks can leave them: set staging_location in offline_store, a folder or an "
            "address that each of its machines sees"
        )
    return location_of(engine.staging or str(run_.scratch("tasks").parent))
