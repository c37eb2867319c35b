"""Bar history from vendors' files becomes parts of ``ohlcv_1d``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ingestion import clock
from ingestion.bars import (
    ACCEPTED,
    ADJUSTED,
    Bars,
    ByDate,
    BySymbol,
    Duplicates,
    FileCounts,
    Finding,
    Findings,
    Gatherer,
    Incoming,
    Judgement,
    Naming,
    Reason,
    Refusal,
    Refusals,
    Split,
    SplitsFile,
    SymbolTable,
    Tally,
    Written,
    describe,
    is_date_format,
    looks_foreign,
    prepare,
    read_splits,
    receipt_body,
    record_ahead,
    write_bars,
)
from ingestion.errors import InputError
from ingestion.jobs.half_imports import RECEIPT_FILE, Verdict
from ingestion.jobs.run import new_run_id
from ingestion.lakehouse import lakehouse_lock, read_symbols, sweep_staging
from ingestion.lakehouse.durable import Staging
from ingestion.quality.receipt import Job
from ingestion.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    """Largest absolute one-day return that is believed, as a fraction."""
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
    """All of them, a row each; None if nothing was refused."""
    findings: tuple[Finding, ...]
    """What else there is to say."""
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
            return _import(settings, request, paths, run_id, job, staging)


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
        except InputError as error:  # it does not stop the others
            tally.problems[str(path)] = str(error)
    _tell_names(root, table.names, gatherer.named, findings)
    judgement = Judgement(
        root=root,
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
    )
    by_date = ByDate(staging / "dates", by_symbol.days)
    barless = _judge(by_symbol, splits.splits, judgement, by_date, tally)
    job.tell(verdict=Verdict.WRITING)
    job.write()
    for bars, on_stored in by_date.drain(barless):
        incoming = _incoming(request, bars, on_stored, judgement)
        written = write_bars(root, incoming, run_id)
        _refuse_twice(bars, written, judgement)
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
    ahead = 0
    if request.splits is not None:
        source = f"import:{request.splits.name}"
        ahead = record_ahead(root, tally.barless, source, clock.now(), run_id)
        recorded = tally.split_rows + ahead
        counts.append(_split_counts(request.splits, splits, recorded, refusals))
    something = refusals.commonest or tally.problems
    is_refused = something and not any(count.accepted for count in counts)
    verdict = Verdict.REFUSE if is_refused else Verdict.PUBLISH
    refused_file = refusals.save(root, run_id)
    body = receipt_body(counts, tally.restated, refusals, refused_file, findings)
    job.tell(verdict=verdict, **body)
    if is_refused and not refusals.commonest:
        problem, *others = tally.problems.values()
        more = f"; {len(others):,} other files were refused too" if others else ""
        raise InputError(f"{problem}{more}")
    if is_refused:
        first = refusals.examples[0]
        raise InputError(
            f"not one of {sum(count.read for count in counts):,} rows was accepted, most often for "
            f'"{refusals.commonest}"; the first is {first.file}, row {first.row}: {first.reason}'
            f"{f' ({first.detail})' if first.detail else ''}{_hint(refusals.commonest)}; see "
            f"{job.receipt} and {refused_file}"
        )
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
        splits_ahead=ahead,
        parts=tuple(tally.parts),
        receipt=job.receipt,
    )


def _hint(reason: Reason | None) -> str:
    """Say what to do about rows that were refused for a reason."""
    if reason is Reason.TIME:
        return f"; {ACCEPTED}; give --date-format for others"
    return ""


def _judge(
    by_symbol: BySymbol, splits: list[Split], by: Judgement, by_date: ByDate, tally: Tally
) -> list[Split]:
    """Judge the bars of all symbols; returns the splits of the splits file that have none."""
    of_symbol: dict[str, list[Split]] = {}
    for split in splits:
        of_symbol.setdefault(split.symbol, []).append(split)
    unplaced: list[Split] = []
    for bars, told in by_symbol.drain():
        names = [by.names[number] for number in np.unique(bars.symbol)]
        own = [split for name in names for split in of_symbol.pop(name, ())]
        prepared = prepare(bars, told, own, by)
        unplaced += prepared.unplaced
        tally.add_prepared(prepared)
        by_date.add(prepared.bars)
    return unplaced + [split for several in of_symbol.values() for split in several]


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


def _incoming(request: ImportRequest, bars: Bars, splits: list[Split], by: Judgement) -> Incoming:
    sources = [
        (f"import:{path.name}", f"import:{path.name}{ADJUSTED}") for path in map(Path, by.files)
    ]

    def source(at: NDArray[np.intp]) -> list[str]:
        adjusted = by.still_adjusted[bars.symbol[at]].tolist()
        files = bars.file[at].tolist()
        return [sources[file][adjusted] for file, adjusted in zip(files, adjusted, strict=True)]

    name = request.splits.name if request.splits else ""
    return Incoming(bars, by.names, source, splits, name)


def _refuse_twice(bars: Bars, written: Written, by: Judgement) -> None:
    """Refuse the bars whose session is stored with another close."""
    for at, twin in written.twice.items():
        answer = (by.names[bars.symbol[at]], f"{describe(bars, at)}; {twin}")
        file, row = by.files[bars.file[at]], int(bars.row[at])
        by.refusals.add(Reason.TWICE, file, [row], lambda _, answer=answer: answer)  # type: ignore[misc]


def _refuse_splits(request: ImportRequest, splits: list[Split], refusals: Refusals) -> None:
    """Record the splits that would count twice."""
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
        written=recorded,
        unchanged=accepted - recorded,
    )
