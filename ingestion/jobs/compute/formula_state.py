"""What an incremental computation carries from day to day: the cache ``formula_state``.

One file, that may be deleted at any time. It says which run's rows it goes with, which parts it was
made from (:class:`~ingestion.lakehouse.seen.SeenParts`), what every formula computed then, and the
missing sessions that were known; and it contains, of each symbol, what is kept for its next bar
(:class:`~ingestion.formulas.incremental.Kept`) and which sessions it has bars of. Rows are
published first and the state after them: a run that is killed in between leaves a state that does
not know the new bars, and the next run computes them again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.bars.attendance import Attendance
from ingestion.bars.holes import OpenHoles
from ingestion.catalog import ACCEPTED_HOLES, MISSED_BARS, OHLCV_1D
from ingestion.formulas.incremental import How, Kept, Plan
from ingestion.lakehouse import CacheFile, Lakehouse, Part, SeenParts
from ingestion.lakehouse.caches import CacheReader, CacheWriter
from ingestion.project import Project

FILE = "formula_state.zip"
_SAID = (MISSED_BARS, ACCEPTED_HOLES)
_LAYOUT = 5
_SYMBOLS_AT_ONCE = 1_024
"""Symbols whose next bars are computed together."""
_LONGEST_BAR = timedelta(days=7)
"""More than any bar takes: another that opened meanwhile may have closed before it."""
NOT_KEPT = np.iinfo(np.int64).min
"""The last bar of a symbol of which nothing is kept: it is computed from all its bars."""


class Unfit(Exception):
    """Why there is no state to go on from, for the receipt: everything is computed from the bars.

    Parameters
    ----------
    first
        The first date whose rows may not be up to date.
    """

    def __init__(self, reason: str, first: date = date.max) -> None:
        super().__init__(reason)
        self.first = first


@dataclass(frozen=True)
class StateUse:
    """What a run had of what was kept of the bars before, for the receipt."""

    continued: int = 0
    """Symbols whose new bars were computed from that."""
    recomputed: int = 0
    """Symbols that were computed from all of their bars."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why, and of how many symbols."""


class Seen:
    """The parts that are there of bars, of what is said of missing ones, and of computed rows.

    Attributes
    ----------
    of
        By dataset.
    """

    def __init__(self, of: dict[str, SeenParts]) -> None:
        self.of = of

    @classmethod
    def look(cls, project: Project, before: Seen | None = None) -> Seen:
        """Look at them, at first at those that are not as they were seen before."""
        known = before.of if before else {}
        return cls(
            {
                each.name: SeenParts.look(project.lakehouse, each, known.get(each.name))
                for each in (OHLCV_1D, *_SAID, *project.catalog.computed)
            }
        )

    @property
    def bars(self) -> SeenParts:
        """Those of bars."""
        return self.of[OHLCV_1D.name]

    def with_own(self, rows: Mapping[str, Sequence[Part]], run_id: str) -> Seen:
        """Return the same with the rows that a run has computed, by group."""
        own = {name: self.of[name].with_own(parts, run_id) for name, parts in rows.items()}
        return Seen(self.of | own)

    def says_more(self, before: Seen) -> bool:
        """Return whether more is said of missing bars and accepted holes."""
        return any(not self.of[e.name].origins <= before.of[e.name].origins for e in _SAID)

    def check(self, before: Seen) -> None:
        """Check that all that was seen before is there.

        Raises
        ------
        Unfit
            If it is not.
        """
        if self.of.keys() != before.of.keys():
            raise Unfit("there are other groups")
        for name, parts in self.of.items():
            if gone := parts.gone_since(before.of[name]):
                first = min(gone)
                first -= min(_LONGEST_BAR, first - date.min)
                raise Unfit(f"parts of {name} that it was made with are gone", first)


@dataclass
class Head:
    """What a state says of itself."""

    run_id: str
    """The run whose rows it goes with."""
    marks: dict[str, str]
    """What the formulas compute; see :meth:`~ingestion.formulas.incremental.Plan.marks`."""
    others: dict[str, How]
    """Of :class:`~ingestion.formulas.incremental.Plan`."""
    sizes: list[int]
    """Of :class:`~ingestion.formulas.incremental.Kept`."""
    seen: Seen
    """What it was made from, and the rows that it goes with."""
    holes: OpenHoles
    first: date
    """First date of :class:`~ingestion.bars.attendance.Attendance`."""
    calendars: dict[str, list[Any]]
    symbols: list[str]
    """By number."""
    blocks: int

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "layout": _LAYOUT,
            **vars(self),
            "first": self.first.isoformat(),
            "holes": self.holes.document(),
            "seen": {name: each.document() for name, each in self.seen.of.items()},
        }

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Head:
        """Read it out of JSON.

        Raises
        ------
        ValueError, LookupError, TypeError
            If it is not there.
        """
        if document.pop("layout", None) != _LAYOUT:
            raise Unfit("another version wrote it")
        return cls(
            **document
            | {
                "others": {name: How(each) for name, each in document["others"].items()},
                "first": date.fromisoformat(document["first"]),
                "holes": OpenHoles.of_document(document["holes"]),
                "seen": Seen(
                    {name: SeenParts.of_document(each) for name, each in document["seen"].items()}
                ),
            }
        )


class FormulaState:
    """The stored state; a context manager, open while it is read.

    Raises
    ------
    UnreadableCache
        From all of its methods, if there is none, or it is damaged.
    Unfit
        If it does not fit.
    """

    def __init__(self, lakehouse: Lakehouse) -> None:
        with ExitStack() as opened:
            self._reader = opened.enter_context(CacheReader(CacheFile(FILE, lakehouse)))
            self.head: Head = self._reader.document(Head.of_document)
            self._opened = opened.pop_all()

    def __enter__(self) -> FormulaState:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def times(self) -> NDArray[np.int64]:
        """Return when the last bar of each symbol opened and closed, shape (2, symbols), Unix s."""
        return self._reader.array("last", np.int64, (2, -1))

    def attendance(self, last: date) -> Attendance:
        """Return who was there when, in a span that ends with a date."""
        names = ("oldest", "newest", "bars", "gaps", "last_close")
        arrays = {name: self._reader.array(name, np.int64) for name in names}
        head = self.head
        found = Attendance.of_arrays(head.first, last, head.symbols, arrays, head.calendars)
        if found is None:
            raise Unfit("the sessions of a market have changed")
        return found

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], Kept]]:
        """Yield numbers of symbols, and what is kept of them."""
        for number in range(self.head.blocks):
            symbols = self._reader.array(f"{number}.symbols", np.int64)
            shape = (-1, len(symbols))
            numbers = self._reader.array(f"{number}.numbers", np.float64, shape)
            times = self._reader.array(f"{number}.times", np.int64, shape)
            yield symbols, Kept(numbers, times, self.head.sizes)


class StateWriter:
    """Writes a state; a context manager.

    Parameters
    ----------
    folder
        Of this run, below the lakehouse's root; made when it is needed.
    names
        Symbols by number.
    """

    def __init__(self, folder: Path, plan: Plan, names: list[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._path, self._plan, self._names = folder, folder / FILE, plan, names
        self._numbers = {name: number for number, name in enumerate(names)}
        self._writer = CacheWriter(self._path)
        self._waiting: list[tuple[NDArray[np.int64], Kept]] = []
        self._last = np.full((2, len(names)), NOT_KEPT)
        self._sizes: tuple[int, ...] = ()
        self._blocks = 0

    def __enter__(self) -> StateWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def keep(self, symbols: pa.StringArray, kept: Kept) -> None:
        """Take what is kept of some symbols."""
        self.add(np.array([self._numbers[each] for each in symbols.to_pylist()]), kept)

    def add(self, numbers: NDArray[np.int64], kept: Kept) -> None:
        """Take what is kept of some symbols, by number."""
        if not len(numbers):
            return
        enough = self._plan.is_enough(kept)
        if not enough.all():
            numbers, kept = numbers[enough], kept.take(np.flatnonzero(enough))
        self._last[0, numbers] = self._plan.last(kept, "opened")
        self._last[1, numbers] = self._plan.last(kept, "closed")
        self._sizes = kept.sizes
        self._waiting.append((numbers, kept))
        if sum(len(each) for each, _ in self._waiting) >= _SYMBOLS_AT_ONCE:
            self._flush()

    def finish(
        self,
        project: Project,
        run_id: str,
        seen: Seen,
        holes: OpenHoles,
        attendance: Attendance,
        first: date,
    ) -> None:
        """Put the state in its place, after the rows of the run.

        Parameters
        ----------
        seen
            What was there when bars were read, and the rows of the run.
        first
            The first date of ``attendance``.
        """
        self._flush()
        head = Head(
            run_id=run_id,
            marks=self._plan.marks,
            others=dict(self._plan.others),
            sizes=list(self._sizes),
            seen=seen,
            holes=holes,
            first=first,
            calendars=attendance.calendars(),
            symbols=self._names,
            blocks=self._blocks,
        )
        for name, array in (attendance.arrays() | {"last": self._last}).items():
            self._writer.array(name, array)
        self._writer.document(head.document())
        self._writer.close()
        CacheFile(FILE, project.lakehouse).put(self._path)

    def _flush(self) -> None:
        if not self._waiting:
            return
        numbers = np.concatenate([each for each, _ in self._waiting])
        kept = Kept.beside([each for _, each in self._waiting])
        for name, array in (
            ("symbols", numbers.astype(np.int64)),
            ("numbers", kept.numbers),
            ("times", kept.times),
        ):
            self._writer.array(f"{self._blocks}.{name}", array)
        self._blocks += 1
        self._waiting.clear()
