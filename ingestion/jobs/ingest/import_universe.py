"""Import dated membership of a universe: what a file says of a symbol is all that is known of it.

A file that is imported again adds nothing. A corrected one restates: a span that has another end or
was known at another time is written anew, and one that the file no longer has is taken back by a
row that ends where it begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from ingestion.base import clock
from ingestion.base.arrow import latest
from ingestion.base.errors import InputError
from ingestion.base.plain import plain
from ingestion.base.wording import did_you_mean
from ingestion.catalog import UNIVERSE_MEMBERS
from ingestion.catalog.universes import is_universe_name
from ingestion.lakehouse import (
    IMPORTED,
    Part,
    RunFile,
    append_rows,
    created_after,
    read_members,
    recorded_universes,
)
from ingestion.markets.dated_membership import DatedMembership, read_dated_membership
from ingestion.project import Project
from ingestion.runs.run import Run

RECEIPT_FILE = "import_universe.json"


@dataclass(frozen=True)
class ImportUniverseRequest:
    """Which file to import, and as what."""

    file: Path
    name: str
    replace: bool = False
    """Whether symbols that the file does not name never were members."""
    new: bool = False
    """Whether it is no misspelt name, though it is near to a known universe's."""


@dataclass(frozen=True)
class ImportUniverseResult:
    """What an import did."""

    SHOWN: ClassVar = ("refused_count",)

    universe: str
    is_new: bool
    """Whether nothing of it was recorded before, and no file declares it."""
    symbols: int
    """Symbols with a span that can be used."""
    spans: int
    """Spans that can be used."""
    written: int
    """Spans that are new."""
    restated: int
    """Spans whose end, or when they were known, is another one than before."""
    withdrawn: int
    """Spans that were taken back."""
    unchanged: int
    refused: dict[int, str]
    """By line, or row of a Parquet file, why it is not used."""
    repeated: int
    """Lines that say what an earlier one says."""
    moved: int
    """Dates without a session, which stand for the next one."""
    unknown_hours: tuple[str, ...]
    """Exchanges whose sessions are not known: their dates are UTC days."""
    ignored: tuple[str, ...]
    """Columns that are not read."""
    receipt: RunFile
    parts: tuple[Part, ...] = field(repr=False)

    @property
    def refused_count(self) -> int:
        """How many lines are not used."""
        return len(self.refused)


def import_universe(project: Project, request: ImportUniverseRequest) -> ImportUniverseResult:
    """Import a file of dated membership.

    Raises
    ------
    InputError
        If the file cannot be read or lacks a column, or the name cannot be a universe's, or is like
        a misspelt one.
    LakehouseLocked
        If another run is writing.
    """
    is_new = _check_name(project, request)
    told = read_dated_membership(request.file)
    with Run.open(project, "universe import", request, file=RECEIPT_FILE) as run:
        rows = read_members(project.lakehouse, request.name)
        newest: datetime | None = latest(rows["created_timestamp"])
        created = created_after(clock.now(), newest)
        before = {
            (row["symbol"], row["valid_from"]): (row["valid_until"], row["event_timestamp"])
            for row in rows.to_pylist()
            if row["source"] == IMPORTED
        }
        wanted = {(span.symbol, span.start): (span.end, span.known) for span in told.spans}
        changed = {key: span for key, span in wanted.items() if before.get(key) != span}
        restated = sum(key in before and before[key][0] != key[1] for key in changed)
        gone = list(_withdrawn(request, told, before, wanted))
        changed |= {key: (key[1], before[key][1]) for key in gone}
        parts = append_rows(
            project.lakehouse,
            UNIVERSE_MEMBERS,
            (_row(request.name, key, span, created) for key, span in changed.items()),
            run.id,
        )
        result = ImportUniverseResult(
            universe=request.name,
            is_new=is_new,
            symbols=len({span.symbol for span in told.spans}),
            spans=len(told.spans),
            written=len(changed) - restated - len(gone),
            restated=restated,
            withdrawn=len(gone),
            unchanged=sum(before.get(key) == span for key, span in wanted.items()),
            refused=dict(told.refused),
            repeated=told.repeated,
            moved=told.moved,
            unknown_hours=told.unknown_hours,
            ignored=told.ignored,
            receipt=run.receipt,
            parts=tuple(parts),
        )
        run.tell(**{name: value for name, value in plain(result).items() if name != "receipt"})
    return result


def _check_name(project: Project, request: ImportUniverseRequest) -> bool:
    """Return whether no universe of the request's name is known.

    Names that differ by digits, as sp400 and sp500 do, are of different universes.
    """
    name = request.name
    known = {each.name for each in project.catalog.universes}
    known.update(recorded_universes(project.lakehouse))
    near = did_you_mean(name, sorted(each for each in known if _shape(each) != _shape(name)))
    if not is_universe_name(name):
        raise InputError(
            f"{name!r} cannot be a universe's name: use a-z, 0-9 and _, and no market's{near}"
        )
    if near and name not in known and not request.new:
        raise InputError(
            f"there is no universe {name!r} yet{near}; if it is to be another one, add --new"
        )
    return name not in known


def _shape(name: str) -> str:
    return re.sub(r"\d", "0", name)


Key = tuple[str, datetime]
Spans = dict[Key, tuple[datetime | None, datetime]]


def _withdrawn(
    request: ImportUniverseRequest, told: DatedMembership, before: Spans, wanted: Spans
) -> Iterator[Key]:
    """Yield the spans of before that the file takes back.

    A line that is refused may have said the same: of its symbol nothing is taken back, and of
    symbols that the file does not name nothing if there is any such line.
    """
    named = {span.symbol for span in told.spans} - told.refused_symbols
    for key, (until, _) in before.items():
        symbol, start = key
        is_meant = symbol in named or (request.replace and not told.refused)
        if is_meant and key not in wanted and until != start:
            yield key


def _row(
    universe: str, key: Key, span: tuple[datetime | None, datetime], created: datetime
) -> dict[str, Any]:
    return {
        "universe": universe,
        "symbol": key[0],
        "valid_from": key[1],
        "valid_until": span[0],
        "event_timestamp": span[1],
        "created_timestamp": created,
        "source": IMPORTED,
    }
