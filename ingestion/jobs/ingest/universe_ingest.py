"""Ask who is in a universe, and record it as it was known.

One row per member is appended, stamped with the answer's instant, so the rows of one instant are
all members. Only a complete answer is recorded: one with as many rows as the scanner counts, or as
the limit asks for. A shorter one does not show who has left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from ingestion.base import clock
from ingestion.base.errors import (
    CandidatesError,
    ClockError,
    GateRefused,
    NothingFetched,
    ScannerRefused,
    TvfeastError,
    UnknownColumn,
)
from ingestion.base.plain import plain
from ingestion.base.wording import counted
from ingestion.catalog import UNIVERSE_MEMBERS, Universe
from ingestion.lakehouse import (
    Part,
    RunFile,
    append_part,
    arrow_schema,
    read_members,
    run_file,
)
from ingestion.lakehouse.membership import Membership
from ingestion.markets.candidates import Candidates, read_candidates
from ingestion.project import Project
from ingestion.runs.receipt_file import read_receipt
from ingestion.runs.run import Run
from ingestion.scanner import Listed, ScannerClient, ScannerOptions

RECEIPT_FILE = "universe_ingest.json"
_LOOK_BACK = timedelta(days=30)
"""How old the last complete answer may be that this one is compared with."""


@dataclass(frozen=True)
class UniverseIngestRequest:
    """Whose members to ask for, and how."""

    universe: Universe
    scanner: ScannerOptions = field(default_factory=ScannerOptions)


@dataclass(frozen=True)
class UniverseIngestResult:
    """What was asked, and what became of it."""

    universe: str
    source: str
    """What was asked: ``scan``, ``symbolset`` or ``symbols``."""
    known_at: datetime
    """The whole second after the last answer."""
    listed: int
    """Symbols of the answer."""
    counted: int
    """Symbols that a complete answer would have."""
    short: str | None
    """Why nothing is recorded; None if the answer is complete."""
    joined: tuple[str, ...]
    """Members that the last complete answer did not list; all if there was none of late."""
    left: tuple[str, ...]
    """Members of the last complete answer that this one does not list."""
    unusable: tuple[str, ...]
    """What was listed and is no symbol."""
    members: tuple[str, ...] = field(repr=False)
    """Whom a run is about: those listed, or the last members that are known."""
    members_of: datetime
    """When they were listed."""
    receipt: RunFile
    part: Part | None
    """None if nothing is recorded, or the lakehouse has it already."""

    @property
    def refusal(self) -> str | None:
        """Why the answer is not recorded; None if it is complete."""
        if self.short is None:
            return None
        return (
            f"{self.short}; asked for the members of {self.members_of:%Y-%m-%d %H:%M} UTC instead; "
            f"see {self.receipt}"
        )

    @property
    def candidates(self) -> Candidates:
        """The members as what a run is about."""
        return Candidates(self.universe, self.members, (), 0)


def universe_ingest(
    project: Project,
    universe: Universe,
    options: ScannerOptions | None = None,
    run: Run | None = None,
) -> UniverseIngestResult:
    """Ask who is in a universe; record it if the answer is complete.

    After an answer that is not complete, a run is about the last members that are still known.

    Parameters
    ----------
    run
        The flow that this job is a step of.

    Raises
    ------
    LakehouseLocked
        If another run is writing.
    GateRefused, NothingFetched, ScannerRefused
        If the answer is not complete, did not come or was a refusal, and no members are known.
    ClockError
        If the lakehouse has an answer of this second or later.
    """
    options = options or ScannerOptions()
    request = UniverseIngestRequest(universe, options)
    with Run.open(project, "universe-ingest", request, file=RECEIPT_FILE, step_of=run) as step:
        listed, source, refusal = _listed(project, universe, options)
        known_at = clock.next_whole_second()
        since = (known_at - max(universe.max_age, _LOOK_BACK)).date()
        before = Membership.of(read_members(project.lakehouse, universe.name, since=since))
        last = before.last_answer(datetime.max.replace(tzinfo=UTC))
        earlier = before.listed_at(last) if last is not None else []
        found = sorted(listed.symbols)
        short = _short(project, universe, listed) if refusal is None else str(refusal)
        members, of = (found, known_at)
        if short is not None:
            before = Membership.of(read_members(project.lakehouse, universe.name))
            members, of = (
                before.members_at(known_at) or [],
                before.last_answer(known_at) or known_at,
            )
        result = UniverseIngestResult(
            universe=universe.name,
            source=source,
            known_at=known_at,
            listed=len(found),
            counted=listed.wanted,
            short=short,
            joined=() if short else tuple(sorted({*found} - {*earlier})),
            left=() if short else tuple(sorted({*earlier} - {*found})),
            unusable=listed.unusable,
            members=tuple(members),
            members_of=of,
            receipt=step.receipt,
            part=None,
        )
        step.tell(**plain(result), attempts=listed.attempts)
        if short is not None:
            if not members:
                raise refusal or _nothing_known(result)
            step.fail(GateRefused(short))
        elif _is_news(universe, last, earlier, found, known_at):
            rows = _rows(universe, source, found, known_at)
            part = append_part(project.lakehouse, UNIVERSE_MEMBERS, rows, step.id)
            result = replace(result, part=part)
    return result


def members_in(project: Project, universe: Universe, run_id: str) -> Candidates:
    """Return whom a run is about that has done this job, as its receipt says."""
    receipt = read_receipt(run_file(project.lakehouse, run_id, RECEIPT_FILE))
    known = Membership.of(read_members(project.lakehouse, universe.name))
    members = known.members_at(datetime.fromisoformat(receipt["members_of"])) or []
    return Candidates(universe.name, tuple(members), (), 0)


def _listed(
    project: Project, universe: Universe, options: ScannerOptions
) -> tuple[Listed, str, ScannerRefused | None]:
    """Return the symbols of a file or of the scanner, what was asked, and why it was rejected."""
    if isinstance(universe.source, Path):
        try:
            candidates = read_candidates(universe.source)
        except CandidatesError as error:
            raise CandidatesError(f"{error}; {_place(project, universe)} names it") from None
        symbols = candidates.symbols
        return Listed(symbols, candidates.problems, len(symbols), None, (), ()), "symbols", None
    source = "scan" if universe.source.symbolset is None else "symbolset"
    try:
        with ScannerClient(project.scanner_url, options, project.session_id) as client:
            return client.list_symbols(universe.source), source, None
    except ScannerRefused as error:
        if isinstance(error, UnknownColumn):
            error = UnknownColumn(error.column, _place(project, universe))
        else:
            error = ScannerRefused(f"{error}; {_asked(project, universe)}")
        return Listed((), (), 0, None, (), ()), source, error


def _short(project: Project, universe: Universe, listed: Listed) -> str | None:
    """Return why an answer is not complete; None if it is."""
    if listed.is_complete or isinstance(universe.source, Path):
        return None
    why = f" ({listed.lost_pages[0]})" if listed.lost_pages else ""
    found = len(listed.symbols) + len(listed.unusable)
    if not listed.symbols:
        return (
            f"the universe {universe.name} is not recorded: the scanner lists no symbol{why}; "
            f"{_asked(project, universe)}"
        )
    return (
        f"the universe {universe.name} is not recorded: its answer is not complete, "
        f"{counted(found, 'row')} "
        f"of {listed.wanted:,}{why}, so nobody can say who has left"
    )


def _asked(project: Project, universe: Universe) -> str:
    """Return what was asked for, and by which file and line."""
    return f"{_place(project, universe)} asks for {universe.summary}"


def _place(project: Project, universe: Universe) -> str:
    file = project.feast_repository / "universes" / f"{universe.name}.toml"
    return universe.place or str(file)


def _nothing_known(result: UniverseIngestResult) -> TvfeastError:
    kind = GateRefused if result.listed else NothingFetched
    return kind(f"{result.short}; no earlier members are known: run it again, or see the receipt")


def _is_news(
    universe: Universe,
    last: datetime | None,
    earlier: Sequence[str],
    found: Sequence[str],
    known_at: datetime,
) -> bool:
    """Return whether an answer is to be recorded; keep answers in the order in which they came."""
    if last is None or last < known_at:
        return True
    if last == known_at and list(earlier) == list(found):
        return False
    raise ClockError(
        f"the lakehouse knows who was in {universe.name} at {last:%Y-%m-%d %H:%M:%S} UTC, and it "
        f"is {known_at:%Y-%m-%d %H:%M:%S} UTC (TVFEAST_NOW?): replay earlier days in a project of "
        "their own, or run again when the clock has moved on"
    )


def _rows(universe: Universe, source: str, symbols: Sequence[str], known_at: datetime) -> pa.Table:
    size = len(symbols)
    # Valid up to and including the end of max_age: the end of a span is exclusive.
    until = known_at + universe.max_age + timedelta(microseconds=1)
    columns = {
        "universe": [universe.name] * size,
        "symbol": list(symbols),
        "valid_from": [known_at] * size,
        "valid_until": [until] * size,
        "event_timestamp": [known_at] * size,
        "created_timestamp": [max(clock.now(), known_at)] * size,
        "source": [source] * size,
    }
    return pa.table(columns, schema=arrow_schema(UNIVERSE_MEMBERS))
