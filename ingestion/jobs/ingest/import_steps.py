"""The steps of an import of bars: it reads files, judges their bars, and writes the good ones."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ingestion.bars.arrays import Bars, ByDate, BySymbol, Split, SymbolTable
from ingestion.bars.cells import is_date_format
from ingestion.bars.judging import Duplicates, Judgement, judge_symbols
from ingestion.bars.placing import BarReader, describe
from ingestion.bars.refusals import Findings, Reason, Refusal, Refusals
from ingestion.bars.source import Source
from ingestion.bars.splits import SplitsFile, may_split, read_recorded, read_splits, record_splits
from ingestion.bars.stored_bars import (
    HeldByImports,
    NearbyBars,
    StoredBars,
    hold_back,
    newly_held,
    waiting_bars,
)
from ingestion.bars.vendor_symbols import Naming, looks_foreign, unknown_exchanges
from ingestion.bars.writing import Incoming, Written, write_bars
from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.base.instants import utc_date
from ingestion.jobs.ingest.import_report import Tally
from ingestion.lakehouse import Lakehouse, read_symbols

if TYPE_CHECKING:
    from numpy.typing import NDArray


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

    def refuse_unless_sound(self) -> None:
        """Look at what can be judged before a file is read.

        Raises
        ------
        InputError
            If no file is named, or an option makes no sense.
        """
        if not self.files and self.splits is None:
            raise InputError("name files of bars to import, or --splits FILE")
        if not self.max_return > 0:
            raise InputError(f"--max-return {self.max_return:g}: a return is limited above 0")
        if self.date_format is not None and not is_date_format(self.date_format):
            raise InputError(
                f"--date-format {self.date_format!r} gives no whole date; write it as strptime "
                "does, such as %d/%m/%Y"
            )

    def resolved(self) -> ImportRequest:
        """Name the files from the root: an import that is half done is known by them."""
        splits = self.splits.resolve() if self.splits else None
        return replace(self, files=tuple(path.resolve() for path in self.files), splits=splits)


@dataclass(frozen=True)
class Material:
    """Everything that an import judges, and the rules for it."""

    by_symbol: BySymbol
    splits: SplitsFile
    stored: StoredBars
    held: HeldByImports
    judgement: Judgement
    tally: Tally


def read_material(lakehouse: Lakehouse, request: ImportRequest, staging: Path) -> Material:
    """Read the files of a request, each row judged by itself, and then what the lakehouse has.

    Parameters
    ----------
    request
        It names no file twice. One that is refused as a whole does not stop the others.
    staging
        A folder for what does not fit in memory; the caller removes it.

    Raises
    ------
    InputError
        If the splits file, or the map of symbols, cannot be read.
    """
    refusals, findings = Refusals(staging / "refused"), Findings()
    naming = Naming.of(request.exchange, request.symbol_map)
    splits = SplitsFile(0, 0, [])
    if request.splits is not None:
        splits = read_splits(request.splits, naming, refusals, request.date_format)
    tally, table = Tally(request.files), SymbolTable()
    by_symbol = BySymbol(staging / "symbols", table, len(request.files))
    reader = BarReader(
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
    given |= _read_files(reader, by_symbol, tally)
    _note_names(lakehouse, table.names, reader.named, findings)
    _note_days(reader, findings)
    numbers = np.array([table.number(split.symbol) for split in splits.splits], dtype=np.int32)
    by_symbol.extent.add(numbers, np.array([split.event for split in splits.splits], np.int64))
    held = HeldByImports(lakehouse, table.names, len(request.files))
    by_symbol.add_waiting(held.read())
    stored = StoredBars(lakehouse, table.names, by_symbol.extent, until_end=request.adjusted)
    by_symbol.add_stored(stored.read())
    judgement = Judgement(
        files=[str(path) for path in request.files],
        names=table.names,
        refusals=refusals,
        findings=findings,
        adjusted=request.adjusted,
        still_adjusted=np.array(
            [request.adjusted and name not in given for name in table.names], dtype=bool
        ),
        max_return=request.max_return,
        duplicates=request.duplicates,
        may_split=np.array(may_split(lakehouse, table.names), dtype=bool),
        recorded=read_recorded(lakehouse),
        restate=request.restate,
        splits_file=str(request.splits),
    )
    return Material(by_symbol, splits, stored, held, judgement, tally)


def _read_files(reader: BarReader, by_symbol: BySymbol, tally: Tally) -> set[str]:
    """Read all files; returns the symbols whose splits a file gives."""
    given: set[str] = set()
    for number, path in enumerate(tally.files):
        try:
            for batch in reader.read(number, path):
                tally.read[number] += batch.read
                given |= batch.split_symbols
                by_symbol.add(batch.bars, batch.splits)
                reader.trading_days.accept(batch.bars, reader.symbols.names)
        except InputError as error:  # the other files are read all the same
            tally.problems[str(path)] = str(error)
    return given


def _note_names(
    lakehouse: Lakehouse, names: Collection[str], named: dict[str, str], findings: Findings
) -> None:
    """Note symbols that only a file's name gives, or that TradingView may write otherwise."""
    findings.add(
        "named_by_files",
        "files whose names gave the symbol",
        [f"{symbol} ({Path(path).name})" for path, symbol in named.items()],
    )
    findings.add(
        "unknown_exchanges",
        "exchange codes that are not known: their bars count as closed 24 h after they open; write "
        "TradingView's code of the exchange that lists the symbol, if it is another one",
        unknown_exchanges(names),
    )
    if foreign := {name for name in names if looks_foreign(name)}:
        foreign -= set(read_symbols(lakehouse)["symbol"].to_pylist())
        findings.add(
            "foreign_symbols",
            "symbols that the scanner never named, and that TradingView may write otherwise (then "
            "give --symbol-map)",
            sorted(foreign),
        )


def _note_days(reader: BarReader, findings: Findings) -> None:
    """Note where the market and its calendar disagree."""
    findings.add(
        "traded_on_closed_days",
        "days on which symbols traded and the calendar has none; if the market was open, write "
        "them to feature_repo/sessions.csv and import again",
        reader.trading_days.on_closed_days(),
    )
    findings.add(
        "open_days_without_trade",
        "days that the calendar has as open, on which no symbol of the exchange has a bar",
        reader.trading_days.without_trade(),
    )


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


_NAMED = 3
"""How many files the source of a split names."""


def write_judged(
    lakehouse: Lakehouse, request: ImportRequest, material: Material, judged: Judged, run_id: str
) -> int:
    """Write the bars of all dates; the caller has the lakehouse's lock.

    The bars that wait are written before anything else.

    Returns
    -------
    int
        How many splits were recorded ahead of their bars.
    """
    tally, by = material.tally, material.judgement
    _hold_back(lakehouse, material, judged, run_id)
    for bars, changes in judged.good.drain(judged.changes):
        written = write_bars(lakehouse, _incoming(request, bars, changes, material), run_id)
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
    return _record_ahead(lakehouse, request, tally.barless, run_id)


def _hold_back(lakehouse: Lakehouse, material: Material, judged: Judged, run_id: str) -> None:
    """Write the bars that wait for an answer; bars that were found bad wait no longer."""
    names = material.judgement.names
    for by_date, refused in ((judged.held, False), (judged.waited_in_vain, True)):
        for bars, _ in by_date.drain([]):
            sources = _sources(bars, material, refused=refused)(np.arange(len(bars)))
            closes = int(bars.event.min()), int(bars.event.max())
            first, last = (utc_date(close) for close in closes)
            waiting = waiting_bars(lakehouse, first, last)
            rows = newly_held(bars, names, np.full(len(bars), np.nan), sources, waiting)
            hold_back(lakehouse, rows, run_id)


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


def _record_ahead(
    lakehouse: Lakehouse, request: ImportRequest, barless: list[Split], run_id: str
) -> int:
    """Record the splits that have no bar yet, each with the file that gives it as its source."""
    ahead = 0
    if request.splits is not None:
        of_file = [split for split in barless if split.row]
        source = str(Source.imported(request.splits.name))
        ahead = record_splits(lakehouse, of_file, source, clock.now(), run_id)
    told = [split for split in barless if not split.row]
    if told:
        source = str(Source.imported(*(path.name for path in request.files[:_NAMED])))
        ahead += record_splits(lakehouse, told, source, clock.now(), run_id)
    return ahead


def _refuse_not_taken(bars: Bars, written: Written, by: Judgement) -> None:
    """Refuse the bars that a stored bar contradicts."""
    for at, stored in written.not_taken.items():
        symbol, detail = by.names[bars.symbol[at]], f"{describe(bars, at)}; {stored}"
        file, row = by.file_of(int(bars.file[at])), int(bars.row[at])
        by.refusals.add(Refusal(file, row, symbol, stored.reason, detail))


def _refuse_splits(request: ImportRequest, splits: list[Split], by: Judgement) -> None:
    """Refuse the splits that would count twice."""
    for split in splits:
        if split.row:
            file, ratio = str(request.splits), f"ratio {split.ratio:g}"
            by.refusals.add(Refusal(file, split.row, split.symbol, Reason.ADJUSTED, ratio))
