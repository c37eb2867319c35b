"""Bar history from vendors' files becomes parts of ``ohlcv_1d``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ingestion import clock
from ingestion.bars import (
    ACCEPTED,
    ADJUSTED,
    REFUSED,
    Bars,
    ByDate,
    BySymbol,
    Doubts,
    Duplicates,
    FileCounts,
    Finding,
    Findings,
    Gatherer,
    Incoming,
    Judgement,
    Naming,
    NearbyBars,
    Reason,
    Refusal,
    Refusals,
    Split,
    SplitsFile,
    StoredBars,
    SymbolTable,
    Tally,
    Written,
    as_bars,
    describe,
    held_by_imports,
    hold,
    is_date_format,
    looks_foreign,
    may_split,
    newly_held,
    prepare,
    read_ahead,
    read_splits,
    receipt_body,
    record_ahead,
    suspected_file,
    waiting_bars,
    write_bars,
)
from ingestion.errors import GateRefused, InputError
from ingestion.jobs.half_imports import RECEIPT_FILE, Verdict
from ingestion.jobs.run import new_run_id
from ingestion.lakehouse import lakehouse_lock, read_symbols, sweep_staging, write_run_file
from ingestion.lakehouse.durable import Staging
from ingestion.quality.receipt import Job
from ingestion.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUSPECTED = "suspected_splits.csv"
SCALED_PAST = (
    "the file is adjusted for splits or dividends that the stored bars are not adjusted for, or in "
    "another unit: import prices as traded, or give --restate to replace the stored past"
)
_NAMED = 3
"""How many files the source of a split names."""


MAX_REFUSED = 0.05
"""Share of files, and of rows, beyond whose refusal an import does not end with exit code 0."""


@dataclass(frozen=True)
class ImportRequest:
    """Which files to import, and how to read them."""

    files: tuple[Path, ...] = ()
    """Bars, CSV or Parquet; none to record splits alone."""
    exchange: str | None = None
    """Exchange of bare tickers."""
    symbol_map: Path | None = None
    """JSON object or two-column CSV: vendor name → unified symbol."""
    splits: Path | None = None
    """CSV or Parquet: symbol, ex-date, ratio."""
    adjusted: bool = False
    """Whether the files' prices and volumes are split-adjusted."""
    max_return: float = 5.0
    """Largest one-day return that is believed, as a fraction; a fall is limited as a ratio is."""
    restate: bool = False
    """Whether a past that is scaled against the stored one replaces it."""
    duplicates: Duplicates = Duplicates.REFUSE
    """What becomes of bars of one session that disagree."""
    date_format: str | None = None
    """How the files write dates, for :meth:`datetime.datetime.strptime`; tried first."""
    widen_range: bool = False
    """Whether high and low are moved to contain open and close."""


@dataclass(frozen=True)
class ImportResult:
    """What became of an import."""

    run_id: str
    files: tuple[FileCounts, ...]
    """The files of bars in the request's order, then the splits file."""
    restated: int
    """Rows among the written that replace an earlier version."""
    symbols: int
    """Symbols among the accepted bars."""
    still_adjusted: tuple[str, ...]
    """Symbols that were taken split-adjusted, because nothing gives their splits."""
    refused_by_reason: dict[Reason, int]
    refusals: tuple[Refusal, ...]
    """The first few of each reason."""
    refused_file: Path | None
    """All of them, one row each; None if nothing was refused."""
    findings: tuple[Finding, ...]
    """What else there is to say."""
    doubts: Doubts
    """What was found about splits and about the stored past."""
    suspects_file: Path | None
    """Lines to be edited and given back as ``--splits``; none if nothing is suspected."""
    released: int
    """Bars that an earlier import held back, and that are stored now."""
    splits_ahead: int
    """Splits that wait for their bar, newly recorded."""
    parts: tuple[Path, ...]
    receipt: Path

    @property
    def refused_files(self) -> dict[str, str]:
        """Why files were refused as a whole, by path."""
        return {each.file: each.problem for each in self.files if each.problem is not None}

    @property
    def too_much_refused(self) -> str | None:
        """What was refused beyond :data:`MAX_REFUSED`; None if little or nothing was."""
        for refused, of, what in (
            (len(self.refused_files), len(self.files), "files"),
            (self.refused, self.read, "rows"),
        ):
            if refused > MAX_REFUSED * of:
                return f"{refused:,} of {of:,} {what} were refused; the others are written"
        return None

    @property
    def read(self) -> int:
        """Rows in all files."""
        return sum(counts.read for counts in self.files)

    @property
    def accepted(self) -> int:
        """Rows that are in the lakehouse now."""
        return sum(counts.accepted for counts in self.files)

    @property
    def refused(self) -> int:
        """Rows that are not, for a reason."""
        return sum(counts.refused for counts in self.files)

    @property
    def held(self) -> int:
        """Rows that wait until somebody says whether there was a split."""
        return sum(counts.held for counts in self.files)

    @property
    def written(self) -> int:
        """Rows that this run added."""
        return sum(counts.written for counts in self.files)

    @property
    def unchanged(self) -> int:
        """Rows that the lakehouse already held."""
        return sum(counts.unchanged for counts in self.files)


def import_bars(settings: Settings, request: ImportRequest) -> ImportResult:
    """Import bars, or record splits on stored ones.

    Good rows are kept whatever else is in a file, and good files whatever else is given; what is
    refused goes into the receipt. What the lakehouse already holds is not written again, so a
    repeated import writes nothing and a killed one is picked up where it died; until then its
    receipt says that it is half done. A bar that differs is a restatement, created later.

    Raises
    ------
    InputError
        If the request names no file, its splits file cannot be read, or not a single row was
        accepted; nothing is published then.
    LakehouseLocked
        If another run is writing.
    """
    paths = tuple(dict.fromkeys(request.files))
    if not paths and request.splits is None:
        raise InputError("name files of bars to import, or --splits FILE")
    if not request.max_return > 0:
        raise InputError(f"--max-return {request.max_return:g}: a return is limited above 0")
    if request.date_format is not None and not is_date_format(request.date_format):
        raise InputError(
            f"--date-format {request.date_format!r} gives no whole date; write it as strptime "
            "does, such as %d/%m/%Y"
        )
    run_id = new_run_id()
    # Held from the first row on: rows must not appear under an older run's id than that of a run
    # that has gone by them already.
    with (
        lakehouse_lock(settings.lakehouse, run_id),
        Job(settings, run_id, "import-bars", RECEIPT_FILE, _resolved(request)) as job,
    ):
        sweep_staging(settings.lakehouse)
        # Beside the run's own staging folder, which goes with each part written.
        with Staging(settings.lakehouse, f"{run_id}-bars") as staging:
            result = _import(settings, request, paths, run_id, job, staging)
        if result.too_much_refused:
            job.fail(GateRefused(result.too_much_refused))
        return result


def _resolved(request: ImportRequest) -> ImportRequest:
    """Name the files from the root: an import that is half done is known by them."""
    splits = request.splits.resolve() if request.splits else None
    return replace(request, files=tuple(path.resolve() for path in request.files), splits=splits)


def _import(
    settings: Settings,
    request: ImportRequest,
    paths: tuple[Path, ...],
    run_id: str,
    job: Job,
    staging: Path,
) -> ImportResult:
    """Read, judge and append; the caller holds the lakehouse's lock."""
    root = settings.lakehouse
    refusals, findings = Refusals(staging / "refused"), Findings()
    naming = Naming.of(request.exchange, request.symbol_map)
    splits = SplitsFile(0, 0, [])
    if request.splits is not None:
        splits = read_splits(request.splits, naming, refusals, request.date_format)
    tally, table = Tally(paths), SymbolTable()
    by_symbol = BySymbol(staging / "symbols", table)
    gatherer = Gatherer(
        naming,
        table,
        refusals,
        clock.now().timestamp(),
        findings,
        request.date_format,
        request.adjusted,
        request.widen_range,
        tally.named,
    )
    given = {split.symbol for split in splits.splits}
    for number, path in enumerate(paths):
        try:
            for gathered in gatherer.gather(number, path):
                tally.read[number] += gathered.read
                given |= gathered.split_symbols
                by_symbol.add(gathered)
                gatherer.witness.accept(gathered.bars, table.names)
        except InputError as error:  # it does not stop the others
            tally.problems[str(path)] = str(error)
    _tell_names(root, table.names, gatherer.named, findings)
    findings.add(
        "traded_on_closed_days",
        "days on which symbols traded and the calendar has none; if the market was open, write "
        "them to feature_repo/sessions.csv and import again",
        gatherer.witness.on_closed_days(),
    )
    findings.add(
        "open_days_without_trade",
        "days that the calendar has as open, on which no symbol of the exchange has a bar",
        gatherer.witness.without_trade(),
    )
    for split in splits.splits:
        table.number(split.symbol)
    held, sources = held_by_imports(waiting_bars(root), set(table.names))
    numbers = {name: number for number, name in enumerate(table.names)}
    waiting = as_bars(held, numbers, len(paths))
    by_symbol.extent.add(waiting.symbol, waiting.event)
    by_symbol.extent.add(
        np.array([numbers[split.symbol] for split in splits.splits], dtype=np.int32),
        np.array([split.event for split in splits.splits], dtype=np.int64),
    )
    reader = StoredBars(root, table.names, by_symbol.extent, until_end=request.adjusted)
    for stored in reader.read():
        by_symbol.add_stored(stored)
    judgement = Judgement(
        files=[str(path) for path in paths],
        names=table.names,
        refusals=refusals,
        findings=findings,
        adjusted=request.adjusted,
        still_adjusted=np.array(
            [request.adjusted and name not in given for name in table.names], dtype=bool
        ),
        max_return=request.max_return,
        duplicates=request.duplicates,
        may_split=np.array(may_split(root, table.names), dtype=bool),
        recorded=read_ahead(root),
        restate=request.restate,
        splits_file=str(request.splits),
    )
    by_date = ByDate(staging / "dates", by_symbol.extent.days)
    changes = _judge(by_symbol, reader, splits.splits, waiting, judgement, by_date, tally)
    job.tell(verdict=Verdict.WRITING)
    job.write()
    _hold_back(root, tally, judgement, held, sources, run_id)
    for bars, of_dates in by_date.drain(changes):
        incoming = _incoming(request, bars, of_dates, judgement, sources)
        written = write_bars(root, incoming, run_id)
        _refuse_not_taken(bars, written, judgement)
        tally.add_written(bars, written)
    findings.add(
        "assumed_hours",
        "bars lie beyond the end of their exchange's calendar; the weekday's usual hours are "
        "assumed (update exchange_calendars, or write the year's holidays and short days to "
        "feature_repo/sessions.csv)",
        [f"{exchange} {count:,}" for exchange, count in sorted(tally.assumed.items())],
        count=tally.assumed.total(),
    )
    _refuse_splits(request, tally.adjusted, refusals)
    counts = tally.counts(refusals)
    ahead = _record_ahead(root, request, paths, tally.barless, run_id)
    if request.splits is not None:
        recorded = tally.split_rows + ahead
        counts.append(_split_counts(request.splits, splits, recorded, refusals))
    suspects_file = None
    if tally.doubts.suspects:
        lines = suspected_file(tally.doubts.suspects)
        suspects_file = write_run_file(root, run_id, SUSPECTED, lines)
    is_done = any(count.accepted or count.held for count in counts) or tally.released
    is_refused = (refusals.commonest or tally.problems) and not is_done
    verdict = Verdict.REFUSE if is_refused else Verdict.PUBLISH
    refused_file = refusals.save(root, run_id)
    body = receipt_body(counts, tally, refusals, refused_file, findings)
    job.tell(verdict=verdict, **body)
    if is_refused and not refusals.commonest:
        problem, *others = tally.problems.values()
        more = f"; {len(others):,} other files were refused too" if others else ""
        raise InputError(f"{problem}{more}")
    if is_refused:
        why = _nothing_accepted(counts, tally, refusals)
        raise InputError(f"{why}{_hint(refusals.commonest)}; see {job.receipt} and {refused_file}")
    return ImportResult(
        run_id=run_id,
        files=tuple(counts),
        restated=tally.restated,
        symbols=len(tally.symbols),
        still_adjusted=tuple(compress(judgement.names, judgement.still_adjusted)),
        refused_by_reason=dict(refusals.by_reason.most_common()),
        refusals=tuple(refusals.examples),
        refused_file=refused_file,
        findings=tuple(findings),
        doubts=tally.doubts,
        suspects_file=suspects_file,
        released=tally.released,
        splits_ahead=ahead,
        parts=tuple(tally.parts),
        receipt=job.receipt,
    )


def _hint(reason: Reason | None) -> str:
    """Say what to do about rows that were refused for a reason."""
    if reason is Reason.TIME:
        return f"; {ACCEPTED}; give --date-format for others"
    return ""


def _nothing_accepted(counts: list[FileCounts], tally: Tally, refusals: Refusals) -> str:
    text = f"not one of {sum(count.read for count in counts):,} rows was accepted"
    found = tally.doubts
    if found.contradictions:
        first = found.contradictions[0]
        return f"{text}: {first.symbol}: {first.told}"
    if found.refused_pasts:
        return f"{text}: {found.refused_pasts[0].told}: {SCALED_PAST}"
    one = refusals.examples[0]
    return (
        f'{text}, most often for "{refusals.commonest}"; the first is {one.file}, row {one.row}: '
        f"{one.reason}{f' ({one.detail})' if one.detail else ''}"
    )


def _judge(
    by_symbol: BySymbol,
    reader: StoredBars,
    splits: list[Split],
    waiting: Bars,
    by: Judgement,
    by_date: ByDate,
    tally: Tally,
) -> list[Split]:
    """Judge the bars of all symbols; returns the ratios for stored bars and for bars to come."""
    of_symbol: dict[str, list[Split]] = {}
    for split in splits:
        of_symbol.setdefault(split.symbol, []).append(split)
    changes: list[Split] = []

    for numbers, bars, told, stored in by_symbol.drain():
        own = [split for n in numbers.tolist() for split in of_symbol.get(by.names[n], ())]
        waits = waiting.take(np.isin(waiting.symbol, numbers))
        prepared = prepare(bars, told, own, by, waits, NearbyBars(reader, stored))
        changes.extend([*prepared.unplaced, *prepared.moved])
        tally.add_prepared(prepared)
        by_date.add(prepared.bars)
    return changes


def _tell_names(root: Path, names: list[str], named: dict[str, str], findings: Findings) -> None:
    """Say which symbols nothing but a file's name says, and which nothing else knows."""
    findings.add(
        "named_by_files",
        "files whose names gave the symbol",
        [f"{symbol} ({Path(path).name})" for path, symbol in named.items()],
    )
    if foreign := {name for name in names if looks_foreign(name)}:
        foreign -= set(read_symbols(root)["symbol"].to_pylist())
        findings.add(
            "foreign_symbols",
            "symbols that the scanner never named, and that TradingView may write otherwise (then "
            "give --symbol-map)",
            sorted(foreign),
        )


def _hold_back(
    root: Path, tally: Tally, by: Judgement, waiting: pa.Table, sources: list[str], run_id: str
) -> None:
    """Keep the bars apart that wait for an answer; those that were found bad wait no longer."""
    for several, prefix in ((tally.held, ""), (tally.waited_in_vain, REFUSED)):
        bars = Bars.concatenate(several)
        of_bars = _sources(bars, by, sources)(np.arange(len(bars)))
        rows = newly_held(
            bars,
            by.names,
            np.full(len(bars), np.nan),
            [f"{prefix}{source}" for source in of_bars.to_pylist()],
            waiting,
        )
        hold(root, rows, run_id)


def _sources(
    bars: Bars, by: Judgement, waiting: list[str]
) -> Callable[[NDArray[np.intp]], pa.Array]:
    """Return what gives the source of the bars at some positions."""
    files = [f"import:{Path(file).name}" for file in by.files]
    texts = pa.array([*files, *(f"{file}{ADJUSTED}" for file in files), *waiting], pa.string())

    def source(at: NDArray[np.intp]) -> pa.Array:
        file = bars.file[at]
        of_file = file + len(files) * by.still_adjusted[bars.symbol[at]]
        return texts.take(
            pa.array(np.where(file < len(files), of_file, 2 * len(files) + bars.row[at]))
        )

    return source


def _incoming(
    request: ImportRequest,
    bars: Bars,
    changes: list[Split],
    by: Judgement,
    waiting: list[str],
) -> Incoming:
    name = request.splits.name if request.splits else ""
    source = _sources(bars, by, waiting)
    moved = [change for change in changes if change.is_moved]
    recorded = [change for change in changes if not change.is_moved]
    return Incoming(bars, by.names, source, recorded, name, moved)


def _record_ahead(
    root: Path,
    request: ImportRequest,
    paths: tuple[Path, ...],
    barless: list[Split],
    run_id: str,
) -> int:
    """Record the splits that have no bar yet, each as of the file that tells it."""
    ahead = 0
    if request.splits is not None:
        of_file = [split for split in barless if split.row]
        source = f"import:{request.splits.name}"
        ahead = record_ahead(root, of_file, source, clock.now(), run_id)
    told = [split for split in barless if not split.row]
    if told:
        names = ",".join(path.name for path in paths[:_NAMED])
        ahead += record_ahead(root, told, f"import:{names}", clock.now(), run_id)
    return ahead


def _refuse_not_taken(bars: Bars, written: Written, by: Judgement) -> None:
    """Refuse the bars against which something stored speaks."""
    for at, stored in written.not_taken.items():
        answer = (by.names[bars.symbol[at]], f"{describe(bars, at)}; {stored}")
        file, row = by.file_of(int(bars.file[at])), int(bars.row[at])
        by.refusals.add(stored.reason, file, [row], lambda _, answer=answer: answer)  # type: ignore[misc]


def _refuse_splits(request: ImportRequest, splits: list[Split], refusals: Refusals) -> None:
    """Record the splits that would count twice."""
    splits = [split for split in splits if split.row]
    answers = [(split.symbol, f"ratio {split.ratio:g}") for split in splits]
    rows = [split.row for split in splits]
    refusals.add(Reason.ADJUSTED, str(request.splits), rows, answers.__getitem__)


def _split_counts(path: Path, splits: SplitsFile, recorded: int, refusals: Refusals) -> FileCounts:
    refused = refusals.by_file[str(path)]
    accepted = splits.read - splits.repeated - refused
    return FileCounts(
        file=str(path),
        read=splits.read,
        accepted=accepted,
        repeated=splits.repeated,
        refused=refused,
        held=0,
        written=recorded,
        unchanged=accepted - recorded,
    )
