"""What an import reads: vendors' files, and what the lakehouse has around their bars."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingestion.bars.arrays import BySymbol, SymbolTable
from ingestion.bars.judging import Judgement
from ingestion.bars.placing import BarReader
from ingestion.bars.receipt import Tally
from ingestion.bars.refusals import Findings, Refusals
from ingestion.bars.splits import SplitsFile, may_split, read_recorded, read_splits
from ingestion.bars.stored_bars import HeldByImports, StoredBars
from ingestion.bars.vendor_symbols import Naming, looks_foreign, unknown_exchanges
from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.jobs.ingest.import_request import ImportRequest
from ingestion.lakehouse import read_symbols


@dataclass(frozen=True)
class Material:
    """All that an import judges, and by what."""

    by_symbol: BySymbol
    splits: SplitsFile
    stored: StoredBars
    held: HeldByImports
    judgement: Judgement
    tally: Tally


def read_material(root: Path, request: ImportRequest, staging: Path) -> Material:
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
    _tell_names(root, table.names, reader.named, findings)
    _tell_days(reader, findings)
    numbers = np.array([table.number(split.symbol) for split in splits.splits], dtype=np.int32)
    by_symbol.extent.add(numbers, np.array([split.event for split in splits.splits], np.int64))
    held = HeldByImports(root, table.names, len(request.files))
    by_symbol.add_waiting(held.read())
    stored = StoredBars(root, table.names, by_symbol.extent, until_end=request.adjusted)
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
        may_split=np.array(may_split(root, table.names), dtype=bool),
        recorded=read_recorded(root),
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
        except InputError as error:  # it does not stop the others
            tally.problems[str(path)] = str(error)
    return given


def _tell_names(
    root: Path, names: Collection[str], named: dict[str, str], findings: Findings
) -> None:
    """Say which symbols nothing but a file's name says, and which nothing else knows."""
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
        foreign -= set(read_symbols(root)["symbol"].to_pylist())
        findings.add(
            "foreign_symbols",
            "symbols that the scanner never named, and that TradingView may write otherwise (then "
            "give --symbol-map)",
            sorted(foreign),
        )


def _tell_days(reader: BarReader, findings: Findings) -> None:
    """Say where the market and its calendar disagree."""
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
