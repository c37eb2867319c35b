"""Bar history from vendors' files, or from a bar source, becomes parts of ``ohlcv_1d``.

An import reads all files, or answers of a source, each row judged by itself, and what the lakehouse
has around them; judges all bars of a symbol together; writes the good ones, date by date; and then
reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ingestion.bars.arrays import Bars, ByDate, BySymbol, Split, SymbolTable
from ingestion.bars.bar_reader import BarReader, describe
from ingestion.bars.dividends import (
    DividendsFile,
    price_currencies,
    read_dividends,
)
from ingestion.bars.fetching import AnswerRows, read_answer
from ingestion.bars.held_bars import HeldByImports, hold_back, newly_held, waiting_bars
from ingestion.bars.judging import Judgement, judge_symbols
from ingestion.bars.leaps import suspected_file
from ingestion.bars.precedence import Precedence
from ingestion.bars.refusals import Findings, Reason, Refusal, Refusals
from ingestion.bars.source import Source
from ingestion.bars.source_dividends import SourceDividends
from ingestion.bars.split_files import SplitsFile, read_splits
from ingestion.bars.splits import may_split, read_recorded, record_splits
from ingestion.bars.stored_bars import NearbyBars, StoredBars
from ingestion.bars.vendor_symbols import Naming
from ingestion.bars.writing import Incoming, write_bars
from ingestion.base import clock
from ingestion.base.errors import GateRefused, InputError
from ingestion.base.instants import utc_date
from ingestion.base.plain import plain
from ingestion.base.progress import watched
from ingestion.jobs.ingest.import_dividends import DividendWriter
from ingestion.jobs.ingest.import_report import FileCounts, ImportResult, note_doubtful
from ingestion.jobs.ingest.import_request import ImportRequest
from ingestion.jobs.ingest.unfinished_imports import RECEIPT_FILE, Verdict, are_whole
from ingestion.lakehouse import write_run_file
from ingestion.project import Project
from ingestion.runs.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ImportRequest", "ImportResult", "import_bars", "take_bars"]

SUSPECTED = "suspected_splits.csv"
_NAMED = 3
"""How many files the source of a split names."""


def import_bars(project: Project, request: ImportRequest) -> ImportResult:
    """Import bars, or record splits on stored ones, or dividends.

    Good rows are kept whatever else is in a file, and good files whatever else is given; what is
    refused goes into the receipt. What the lakehouse already has is not written again, so a
    repeated import writes nothing and a killed one is picked up where it died; until then its
    receipt says that it is half done. A bar that differs is a restatement, created later.

    Raises
    ------
    InputError
        If the request names no file, its file of splits or dividends cannot be read, or not a
        single row was accepted; nothing is published then.
    LakehouseLocked
        If another run is writing.
    """
    request.refuse_unless_sound()
    request = replace(request, files=tuple(dict.fromkeys(request.files)))
    # The lock is taken before the first row is read: another run must not finish under a newer id
    # before these rows are there, because later jobs go by run ids.
    with Run.open(project, "import-bars", request.resolved(), file=RECEIPT_FILE) as run:
        result = take_bars(project, request, request.files, run)
        if result.nothing_accepted:
            raise InputError(result.nothing_accepted)
        return result


def take_bars(
    project: Project,
    request: ImportRequest,
    inputs: Sequence[Path | AnswerRows],
    run: Run,
    prefix: str = "",
) -> ImportResult:
    """Read, judge and write the bars of files, or of one bar source's answers.

    Parameters
    ----------
    request
        How to read them; its own files count for nothing.
    inputs
        No file twice.
    run
        It has the lakehouse's lock.
    prefix
        Of the files in the run's folder that list refused rows and suspected splits.

    Raises
    ------
    InputError
        If the file of splits or dividends, or the map of symbols, cannot be read.
    """
    # Not in the run's own staging folder, which is removed with each part written.
    with project.lakehouse.staging(f"{run.id}-bars") as staging:
        result = _Import(project, request, inputs, run, staging, prefix).carry_out()
    if result.refusal:
        run.fail(GateRefused(result.refusal))
    return result


class _Import:
    """An import on its way; the caller has the lakehouse's lock.

    Parameters
    ----------
    staging
        A folder for what does not fit in memory; the caller removes it.
    """

    def __init__(
        self,
        project: Project,
        request: ImportRequest,
        inputs: Sequence[Path | AnswerRows],
        run: Run,
        staging: Path,
        prefix: str = "",
    ) -> None:
        self.prefix = prefix
        self.lakehouse = project.lakehouse
        self.request, self.inputs, self.run, self.staging = request, inputs, run, staging
        self.refusals, self.findings = Refusals(staging / "refused"), Findings()
        files = tuple(FileCounts(str(each)) for each in inputs)
        self.result = ImportResult(run.id, run.receipt, files, self.findings)
        self.origin = _origin(inputs[:_NAMED])
        self.precedence = Precedence(project.catalog.sources)
        self.table = SymbolTable()
        self.by_symbol = BySymbol(staging / "symbols", self.table, len(files))
        self.splits = SplitsFile(0, 0, [])
        self.split_rows = 0
        self.dividends = DividendsFile(0, 0, [])
        self.listed = SourceDividends()

    def carry_out(self) -> ImportResult:
        """Read, judge, write and report.

        Raises
        ------
        InputError
            If the file of splits or dividends, or the map of symbols, cannot be read.
        """
        given = self._read_files()
        names, adjusted = self.table.names, self.request.adjusted
        self.held = HeldByImports(self.lakehouse, names, len(self.inputs))
        self.by_symbol.add_waiting(self.held.read())
        stored = StoredBars(self.lakehouse, names, self.by_symbol.extent, until_end=adjusted)
        self.by_symbol.add_stored(stored.read())
        self.judgement = Judgement(
            files=[str(each) for each in self.inputs],
            names=names,
            refusals=self.refusals,
            findings=self.findings,
            adjusted=adjusted,
            still_adjusted=np.array([adjusted and name not in given for name in names], dtype=bool),
            max_return=self.request.max_return,
            duplicates=self.request.duplicates,
            may_split=np.array(may_split(self.lakehouse, names), dtype=bool),
            recorded=read_recorded(self.lakehouse),
            restate=self.request.restate,
            splits_file=str(self.request.splits),
        )
        good, changes = self._judge(stored)
        self._write(good, changes)
        return self._told()

    def _read_files(self) -> set[str]:
        """Read all files; return the symbols whose splits a file gives.

        A file that is refused as a whole does not stop the others.
        """
        request, symbols = self.request, self.table
        naming = Naming.of(request.exchange, request.symbol_map)
        if request.splits is not None:
            self.splits = read_splits(request.splits, naming, self.refusals, request.date_format)
        if request.dividends is not None:
            self.dividends = read_dividends(
                request.dividends,
                naming,
                self.refusals,
                price_currencies(self.lakehouse),
                request.date_format,
            )
        reader = BarReader(
            naming,
            symbols,
            self.refusals,
            clock.now().timestamp(),
            self.findings,
            request.date_format,
            request.adjusted,
            request.widen_range,
            first=request.first,
            last=request.last,
        )
        splits, currencies = self.splits.splits, dict[str, str]()
        given = {split.symbol for split in splits}
        inputs = list(zip(self.inputs, self.result.files, strict=True))
        for number, (each, counts) in enumerate(watched(inputs, "files read")):
            batches = (
                read_answer(reader, number, each)
                if isinstance(each, AnswerRows)
                else reader.read(number, each)
            )
            try:
                for batch in batches:
                    counts.read += batch.read
                    given |= batch.split_symbols
                    self.by_symbol.add(batch.bars, batch.splits)
                    self._note_newest(batch.bars)
                    reader.trading_days.accept(batch.bars, symbols.names)
            except InputError as error:
                counts.problem = str(error)
            if isinstance(each, AnswerRows) and each.dividends:
                currencies = currencies or price_currencies(self.lakehouse)
                counts.read += self.listed.read(each, self.refusals, currencies)
            counts.named = reader.named.get(str(each))
        note_doubtful(self.findings, reader, symbols.names, self.lakehouse)
        numbers = np.array([symbols.number(split.symbol) for split in splits], dtype=np.int32)
        self.by_symbol.extent.add(numbers, np.array([split.event for split in splits], np.int64))
        return given

    def _note_newest(self, bars: Bars) -> None:
        """Note when the newest bar of each symbol closed."""
        numbers, of_bars = np.unique(bars.symbol, return_inverse=True)
        closes = np.zeros(len(numbers), np.int64)
        np.maximum.at(closes, of_bars, bars.event)
        newest = self.result.newest
        for number, close in zip(numbers.tolist(), closes.tolist(), strict=True):
            name, day = self.table.names[number], utc_date(close)
            newest[name] = max(newest.get(name, day), day)

    def _judge(self, stored: StoredBars) -> tuple[ByDate, list[Split]]:
        """Judge the bars of all symbols; keep apart, on disk, those that wait.

        Returns
        -------
        tuple[ByDate, list[Split]]
            The bars that may be written, and the ratios for stored bars and for bars to come.
        """
        by, days = self.judgement, self.by_symbol.extent.days
        good, self.waits, self.waited_in_vain = (
            ByDate(self.staging / name, days) for name in ("good", "held", "in-vain")
        )
        changes: list[Split] = []
        of_symbol: dict[str, list[Split]] = {}
        for split in self.splits.splits:
            of_symbol.setdefault(split.symbol, []).append(split)
        for numbers, bars, told, waiting, around in watched(self.by_symbol.drain(), "piles judged"):
            own = [split for n in numbers.tolist() for split in of_symbol.get(by.names[n], ())]
            prepared = judge_symbols(bars, told, own, by, waiting, NearbyBars(stored, around))
            self.result.add_prepared(prepared)
            changes += [*prepared.unplaced, *prepared.moved]
            good.add(prepared.bars)
            self.waits.add(prepared.held)
            self.waited_in_vain.add(prepared.waited_in_vain)
        return good, changes

    def _write(self, good: ByDate, changes: list[Split]) -> None:
        """Write the bars of all dates, those that wait before anything else."""
        self.run.tell(verdict=Verdict.WRITING, whole_before=are_whole(self.lakehouse))
        self.run.write()
        self._hold_back()
        by, splits = self.judgement, self.request.splits
        barless: list[Split] = []
        assumed: Counter[str] = Counter()
        overruled: Counter[str] = Counter()
        for bars, of_bars in watched(good.drain(changes), "piles of dates written"):
            incoming = Incoming(
                bars,
                by.names,
                self._sources(bars),
                of_bars,
                splits.name if splits else "",
                stays=self._stays,
                is_replaced=lambda stored: self.precedence.is_above(self.origin, stored),
            )
            written = write_bars(self.lakehouse, incoming, self.run.id)
            for at, against in written.not_taken.items():
                symbol, detail = by.names[bars.symbol[at]], f"{describe(bars, at)}; {against}"
                file, row = by.file_of(int(bars.file[at])), int(bars.row[at])
                self.refusals.add(Refusal(file, row, symbol, against.reason, detail))
            for split in written.adjusted:
                if split.row:
                    ratio = f"ratio {split.ratio:g}"
                    self.refusals.add(
                        Refusal(str(splits), split.row, split.symbol, Reason.ADJUSTED, ratio)
                    )
            self.result.add_written(bars, written)
            self.split_rows += written.split_rows
            overruled.update(written.overruled)
            barless += written.barless
            assumed += written.assumed
        self.findings.add(
            "assumed_hours",
            "bars lie beyond the end of their exchange's calendar; the weekday's usual hours are "
            "assumed (update exchange_calendars, or write the year's holidays and short days to "
            "feature_repo/sessions.csv)",
            [f"{exchange} {count:,}" for exchange, count in sorted(assumed.items())],
            count=assumed.total(),
        )
        doubts = self.result.doubts
        doubts.restatements = [
            each for each in doubts.restatements if each.bars > overruled[each.symbol]
        ]
        self.findings.add(
            "overruled",
            "bars differ from stored ones of a source with a higher priority, which stay",
            [f"{symbol} {count:,}" for symbol, count in sorted(overruled.items())],
            count=overruled.total(),
        )
        of_splits_file = [split for split in barless if split.row]
        of_bars = [split for split in barless if not split.row]
        by_splits_file = Source.imported(*([splits.name] if splits else []))
        for several, source in ((of_splits_file, by_splits_file), (of_bars, self.origin)):
            if several:
                self.result.splits_ahead += record_splits(
                    self.lakehouse, several, str(source), clock.now(), self.run.id
                )

        self._write_dividends()

    def _write_dividends(self) -> None:
        """Record the dividends; those of symbols whose splits are in doubt wait."""
        writer = DividendWriter(
            self.lakehouse, self.run.id, self.result, self.request.adjusted, self._stays
        )
        if self.request.dividends is not None:
            writer.write_file(self.dividends.dividends, self.request.dividends)
        if not self.listed.spans:
            return
        doubts = self.result.doubts
        in_doubt = {each.symbol for each in doubts.contradictions}
        in_doubt |= {each.symbol for each in doubts.suspected_splits}
        in_doubt |= {each.symbol for each in doubts.scaled_pasts}
        in_doubt |= {*compress(self.table.names, self.judgement.still_adjusted)}
        waiting = in_doubt & self.listed.spans.keys()
        self.findings.add(
            "dividends_wait",
            "symbols whose dividends are not taken while their splits are in doubt",
            sorted(waiting),
        )
        for each, counts in zip(self.inputs, self.result.files, strict=True):
            if isinstance(each, AnswerRows) and waiting & {*each.answer.request.symbols}:
                self.refusals.unsettled.add(counts.file)
        writer.write_listed(self.listed.without(waiting), self.origin)

    def _stays(self, stored: Source) -> bool:
        """Return whether what is stored stays, because its source stands before this one."""
        return self.precedence.is_above(stored, self.origin)

    def _hold_back(self) -> None:
        """Write the bars that wait for an answer; bars that were found bad wait no longer."""
        for by_date, refused in ((self.waits, False), (self.waited_in_vain, True)):
            for bars, _ in by_date.drain([]):
                sources = self._sources(bars, refused=refused)(np.arange(len(bars)))
                first, last = (utc_date(int(each)) for each in (bars.event.min(), bars.event.max()))
                waiting = waiting_bars(self.lakehouse, first, last)
                no_closes = np.full(len(bars), np.nan)
                rows = newly_held(bars, self.table.names, no_closes, sources, waiting)
                hold_back(self.lakehouse, rows, self.run.id)

    def _sources(
        self, bars: Bars, *, refused: bool = False
    ) -> Callable[[NDArray[np.intp]], pa.Array]:
        """Return what gives the source of the bars at some positions."""
        by = self.judgement
        files = [_origin([each]) for each in self.inputs]
        adjusted = [replace(file, adjusted=True) for file in files]
        waited = map(Source.parse, self.held.sources)
        several = [replace(each, refused=refused) for each in (*files, *adjusted, *waited)]
        texts = pa.array(map(str, several), pa.string())

        def source(at: NDArray[np.intp]) -> pa.Array:
            file, waited = bars.file[at], 2 * len(files) + bars.row[at]
            of_file = file + len(files) * by.still_adjusted[bars.symbol[at]]
            return texts.take(pa.array(np.where(file < len(files), of_file, waited)))

        return source

    def _told(self) -> ImportResult:
        """Complete the result and the receipt."""
        result, refusals, run, splits = self.result, self.refusals, self.run, self.request.splits
        if splits is not None:
            file = FileCounts(str(splits), self.splits.read, repeated=self.splits.repeated)
            file.accepted = file.read - file.repeated - refusals.by_file[file.file]
            file.written = self.split_rows + result.splits_ahead
            result.files += (file,)
        if (dividends := self.request.dividends) is not None:
            paid = self.dividends
            file = FileCounts(str(dividends), paid.read, len(paid.dividends), paid.repeated)
            file.written = result.dividends
            result.files += (file,)
        for file in result.files:
            file.refused = refusals.by_file[file.file]
            file.may_come_again = file.file in refusals.unsettled
        if result.doubts.suspected_splits:
            lines = suspected_file(result.doubts.suspected_splits)
            name = f"{self.prefix}{SUSPECTED}"
            result.suspects_file = write_run_file(self.lakehouse, run.id, name, lines)
        result.still_adjusted = tuple(compress(self.table.names, self.judgement.still_adjusted))
        result.refused_by_reason = dict(refusals.by_reason.most_common())
        result.refusals = tuple(refusals.examples)
        result.refused_file = refusals.save(self.lakehouse, run.id, self.prefix)
        is_done = result.accepted or result.held or result.released
        is_refused = (refusals.total or result.refused_files) and not is_done
        document = plain(result)
        for shared in ("run_id", "receipt", "parts"):
            del document[shared]
        run.tell(verdict=Verdict.REFUSE if is_refused else Verdict.PUBLISH, **document)
        if is_refused:
            result.note_nothing_accepted(refusals.commonest)
        return result


def _origin(inputs: Sequence[Path | AnswerRows]) -> Source:
    """Return where the bars of some files, or of a source's answers, come from."""
    for each in inputs:
        if isinstance(each, AnswerRows):
            return Source.fetched(each.answer.source.name)
    return Source.imported(*(each.name for each in inputs if isinstance(each, Path)))
