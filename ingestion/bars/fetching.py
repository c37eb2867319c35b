"""Bars of a bar source: asked for politely, and what it yields as rows that files might have.

It is asked with pauses, again where that may help, and not for ever. A source that fails costs its
own symbols only, and what it yielded before it failed is kept. Asking again helps where it raises
:class:`~ingestion.catalog.SourceBusy` or ``OSError``, as the errors of networks are; an HTTP error
does only if its status says so, and its ``Retry-After`` is waited for. A host that the first
request does not reach is not asked for the other symbols.

A table that is none, or lacks a column, costs itself alone: the other tables of the answer are
read, and the first fault is reported with the source's file and line.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ingestion.bars.arrays import Bars, SymbolTable
from ingestion.bars.bar_reader import BarBatch, BarReader
from ingestion.bars.dividends import DIVIDEND_ROLES, NEEDED_OF_DIVIDENDS
from ingestion.bars.header import NEEDED, Role, header_of_line
from ingestion.bars.layout import lacks, plain_column
from ingestion.bars.reading import VendorFile
from ingestion.bars.refusals import Reason
from ingestion.bars.split_files import SPLIT_ROLES, splits_of
from ingestion.bars.splits import ratios_at
from ingestion.bars.survey import Survey, has_value
from ingestion.bars.vendor_symbols import NAMELESS, Named, Naming
from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.base.loading import what_happened
from ingestion.base.progress import note
from ingestion.base.redaction import Redaction
from ingestion.base.retry_after import retry_after
from ingestion.base.wording import some_of
from ingestion.catalog import (
    BarRequest,
    BarSource,
    BarTable,
    DividendTable,
    SourceBusy,
    SplitTable,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

ATTEMPTS = 4
"""How often a request is made before its symbols are left for another run."""
LONGEST_WAIT = 120.0
"""Seconds; a source that asks for a longer pause is not asked again in this run."""
MANY = 5
"""So many requests in a row that failed for the network's or the server's sake end the run."""
_BACKOFF, _LONGEST_BACKOFF = 1.0, 30.0
_NO_WAY = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})
_TRANSIENT_STATUS = frozenset({408, 418, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Yielded:
    """One thing that a source yielded; a table, if the source is right."""

    value: Any
    line: int | None
    """Of its file, where it is known."""


@dataclass(frozen=True)
class Answer:
    """What a source has to say to a request."""

    source: BarSource
    request: BarRequest
    asked_at: datetime
    """The instant before the request: a bar that had closed by then is final."""
    place: str
    """Where the source is declared."""
    tables: tuple[Yielded, ...] = ()
    problem: str | None = None
    """Why it ended early, with file and line; None if it did not."""
    is_down: bool = False
    """Whether it failed for the network's or the server's sake."""
    is_unreached: bool = False
    """Whether it is down because no connection to its host was made."""
    wait: float = field(default=0.0, repr=False)
    """Seconds to wait before asking again."""

    def __str__(self) -> str:
        return f"{self.source.name} {some_of(self.request.symbols)}"

    @property
    def final_until(self) -> float:
        """Bars that closed by then are final: Unix seconds."""
        return (self.asked_at - timedelta(seconds=self.source.delay)).timestamp()


def ask_all(
    source: BarSource, place: str, requests: Sequence[BarRequest], is_patient: bool = False
) -> Iterator[Answer]:
    """Yield the answers to some requests, one after the other.

    It ends early once the source's budget is spent, or the source seems to be down.

    Parameters
    ----------
    is_patient
        Whether a host that has not been reached yet is waited for as long as one that is down:
        half a minute, for a flow that nobody watches.
    """
    down, asked, was_reached = 0, 0.0, is_patient
    for request in requests[: source.budget]:
        time.sleep(max(0.0, asked + source.pause - time.monotonic()))
        asked = time.monotonic()
        answer = ask(source, place, request)
        yield answer
        down = down + 1 if answer.is_down else 0
        was_reached |= not answer.is_unreached
        if down >= MANY or answer.wait > LONGEST_WAIT or not was_reached:
            return


def ask(source: BarSource, place: str, request: BarRequest) -> Answer:
    """Ask once, and again while that may help; of several failures the longest answer is kept."""
    answer = _ask_once(source, place, request)
    longest = answer.tables
    for attempt in range(1, ATTEMPTS):
        if not answer.is_down or answer.wait > LONGEST_WAIT:
            break
        wait = answer.wait or min(_BACKOFF * 2.0 ** (attempt - 1), _LONGEST_BACKOFF)
        note(f"{source.name}: {answer.problem}; asking again in {wait:,.0f} s")
        time.sleep(wait)
        answer = _ask_once(source, place, request)
        longest = max(longest, answer.tables, key=len)
    return answer if answer.problem is None else replace(answer, tables=longest)


def _ask_once(source: BarSource, place: str, request: BarRequest) -> Answer:
    path = place.rpartition(", line ")[0] or place
    answer = Answer(source, request, clock.now(), place)
    tables: list[Yielded] = []
    try:
        with redirect_stdout(sys.stderr):  # where a command prints its JSON object alone
            several = source.tables(request)
            if isinstance(several, BarTable):  # forgivable: one table in place of a list of one
                several = [several]
            for table in several:
                tables.append(Yielded(table, _line(several, path)))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the source's own, whatever it is
        # These two are words for people; of others the file and line are needed.
        said = isinstance(error, SourceBusy | InputError)
        problem = str(error) if said else what_happened(error, path)
        problem = _hidden().hide(" ".join(problem.split()))
        is_down, wait = _may_pass(error)
        is_unreached = is_down and _is_unreached(error)
        answer = replace(
            answer, problem=problem, is_down=is_down, is_unreached=is_unreached, wait=wait
        )
    return replace(answer, tables=tuple(tables))


def _line(iterator: Any, path: str) -> int | None:
    """Return the line of the file at which a generator waits."""
    frame = getattr(iterator, "gi_frame", None)
    if frame is None or frame.f_code.co_filename != path:
        return None
    line: int = frame.f_lineno
    return line


def _may_pass(error: BaseException) -> tuple[bool, float]:
    """Return whether asking again may help, and how many seconds to wait; 0 leaves them open."""
    if isinstance(error, SourceBusy):
        return True, error.wait or 0.0
    if not isinstance(error, OSError):
        return False, 0.0
    # Of urllib the error is the answer. Of requests and httpx it has one, which may be false.
    response = getattr(error, "response", None)
    response = error if response is None else response
    status = getattr(response, "status_code", None) or getattr(response, "code", None)
    if isinstance(status, int) and status not in _TRANSIENT_STATUS:
        return False, 0.0
    return True, retry_after(getattr(response, "headers", None) or {}) or 0.0


def _is_unreached(error: BaseException | None) -> bool:
    """Return whether no connection was made, as an error's cause says, or urllib's ``reason``."""
    while error is not None:
        is_of_system = isinstance(error, OSError) and error.errno in _NO_WAY
        is_late = type(error).__name__ == "ConnectTimeout"  # of requests and httpx
        if is_of_system or is_late or isinstance(error, socket.gaierror):
            return True
        reason = getattr(error, "reason", None)
        error = (
            reason if isinstance(reason, BaseException) else error.__cause__ or error.__context__
        )
    return False


def _hidden() -> Redaction:
    """Return what hides the keys of sources, which errors may repeat: ``TVFEAST_…_KEY``."""
    keys = (
        (name, value)
        for name, value in os.environ.items()
        if name.startswith("TVFEAST_") and name.endswith(("_KEY", "_TOKEN", "_SECRET"))
    )
    return Redaction(keys)


class OfRequest(Naming):
    """Unified symbols that were asked for, and their tickers alone; nothing else."""

    def __init__(self, symbols: Sequence[str]) -> None:
        tickers = [symbol.partition(":")[2] for symbol in symbols]
        times = Counter(tickers)
        named = dict(zip(tickers, symbols, strict=True))
        alone = {ticker: symbol for ticker, symbol in named.items() if times[ticker] == 1}
        super().__init__(mapped=alone | {symbol: symbol for symbol in symbols})

    def unify(self, name: str) -> Named:
        """Return the symbol that is meant, if it was asked for."""
        if not name:
            return NAMELESS
        symbol = self.mapped.get(name) or self.mapped.get(name.upper())
        return Named(symbol) if symbol else Named(None, Reason.UNASKED, name[:80])


@dataclass(frozen=True)
class AnswerRows:
    """The rows of an answer, as files have them."""

    answer: Answer
    files: tuple[VendorFile, ...]
    """One for each table that is one."""
    problems: tuple[str, ...]
    """What is wrong with the other tables, and why the source stopped early."""
    dividends: tuple[tuple[VendorFile, int | None], ...] = ()
    """The tables of dividends, each with the decimals to which its amounts are rounded."""

    def __str__(self) -> str:
        return str(self.answer)

    def __len__(self) -> int:
        return sum(map(len, self.files))

    @classmethod
    def of(cls, answer: Answer) -> AnswerRows:
        """Read what a source yielded."""
        files: list[VendorFile] = []
        dividends: list[tuple[VendorFile, int | None]] = []
        problems = [answer.problem] if answer.problem else []
        done = 0
        for each in answer.tables:
            try:
                several = list(_rows_of(answer, each, done))
            except InputError as error:
                problems.append(str(error))
                continue
            done += max(map(len, several), default=0)
            if isinstance(each.value, DividendTable):
                dividends += [(file, each.value.decimals) for file in several]
            else:
                files += several
        return cls(answer, tuple(files), tuple(problems), tuple(dividends))

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols that its bars are of, whether those are good or not."""
        named = (file.symbols() for file in self.files if Role.OPEN in file.columns and len(file))
        unify = OfRequest(self.answer.request.symbols).unify
        found = (unify(name).symbol for names, _ in filter(None, named) for name in names)
        return frozenset(filter(None, found))


def read_answer(reader: BarReader, number: int, rows: AnswerRows) -> Iterator[BarBatch]:
    """Judge the rows of an answer, which is the ``number``-th input of an import.

    Raises
    ------
    InputError
        If the source failed, or yielded what is no table; all that is good comes before that.
    """
    answer = rows.answer
    reader = replace(
        reader,
        naming=OfRequest(answer.request.symbols),
        now=answer.final_until,
        running_until=answer.asked_at.timestamp(),
        times_mean=answer.source.times,
    )
    account, problems = _Account(), list(rows.problems)
    without = Survey(without_volume=_without_volume(rows.files))
    # What is said of splits comes first.
    for file in sorted(rows.files, key=lambda file: Role.OPEN in file.columns):
        try:
            if Role.OPEN in file.columns:
                batch = reader.judge(number, replace(file, survey=without))
                account.put_on(batch.bars, reader.symbols)
            else:
                batch = account.read(file, reader)
        except InputError as error:
            problems.append(f"{answer.place}: {error}")
        else:
            yield batch
    if problems:
        raise InputError("; ".join(problems))


class _Account:
    """The splits of some symbols, as an answer's tables of splits give them."""

    def __init__(self) -> None:
        self._symbols: set[str] = set()
        self._ratios: dict[tuple[str, int], float] = {}

    def read(self, file: VendorFile, reader: BarReader) -> BarBatch:
        """Read a table of splits; of its rows only the refused ones are counted."""
        found = list(splits_of(file, reader.naming, reader.refusals, is_first=False))
        names, _ = file.symbols() or ([], None)
        symbols = frozenset(filter(None, (reader.naming.unify(name).symbol for name in names)))
        self._symbols |= symbols
        self._ratios |= {(split.symbol, split.event): split.ratio for split in found}
        splits = [replace(split, row=0) for split in found]
        return BarBatch(len(file) - len(found), Bars.concatenate([]), splits, symbols)

    def put_on(self, bars: Bars, symbols: SymbolTable) -> None:
        """Write the ratios on bars that say nothing of splits, in place: 1 on all other days."""
        numbers = {name: number for number, name in enumerate(symbols.names)}
        ratios = ratios_at(bars, numbers, self._ratios)
        own = [numbers[name] for name in self._symbols if name in numbers]
        ratios[np.isnan(ratios) & np.isin(bars.symbol, own)] = 1.0
        unsaid = np.isnan(bars.split_ratio)
        bars.split_ratio[unsaid] = ratios[unsaid]


def _rows_of(answer: Answer, yielded: Yielded, done: int) -> Iterator[VendorFile]:
    """Yield the rows of one table; once per instrument if each has columns of its own.

    Raises
    ------
    InputError
        If it is no table, or lacks a needed column.
    """
    table = yielded.value

    def fault(text: str) -> InputError:
        line = "" if yielded.line is None else f", line {yielded.line}"
        place = f"{answer.place.rpartition(', line ')[0]}{line}" if line else answer.place
        symbols = some_of(answer.request.symbols)
        return InputError(f"{place}: {answer.source.name}, asked for {symbols}, {text}")

    if not isinstance(table, BarTable):
        raise fault(f"yielded a {type(table).__name__}, not a BarTable")
    if table.symbol is not None and not isinstance(table.symbol, str):
        raise fault(f"yielded a table whose symbol is {table.symbol!r}, not a text")
    columns = _columns(table.columns)
    if isinstance(columns, str):
        raise fault(f"yielded {columns}")
    needed, wanted = _roles_of(table)
    header = header_of_line(list(columns), needed)
    if problem := lacks(header, needed):
        raise fault(f"yielded a table with {problem}")
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        lengths = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise fault(f"yielded a table whose columns are not of one length: {lengths}")
    arrays = list(columns.values())
    rows = np.arange(done + 1, done + len(arrays[0]) + 1, dtype=np.int64)
    for series in header.series:
        of_roles = {role: arrays[at[0]] for role, at in series.columns.items()}
        name = table.symbol or series.name
        if wanted:
            of_roles = {role: each for role, each in of_roles.items() if role in wanted}
        if name is None and Role.SYMBOL not in of_roles:
            if len(answer.request.symbols) > 1:
                raise fault("yielded a table that does not say whose bars it has: give its symbol")
            name = answer.request.symbol
        yield VendorFile(Path(str(answer)), of_roles, rows, name=name)


def _roles_of(table: BarTable) -> tuple[Sequence[Role], Sequence[Role]]:
    """Return which columns a table must have, and which count; of bars all do."""
    if isinstance(table, SplitTable):
        return (Role.TIME, Role.SPLIT_RATIO), SPLIT_ROLES
    if isinstance(table, DividendTable):
        return NEEDED_OF_DIVIDENDS, DIVIDEND_ROLES
    return NEEDED, ()


def _columns(table: Any) -> dict[str, Any] | str:
    """Return a table's columns as Arrow arrays by name, or what is wrong with it."""
    if isinstance(table, pa.Table):
        named = dict(zip(map(str, table.column_names), table.columns, strict=True))
    elif hasattr(table, "columns") and hasattr(table, "iloc"):  # pandas, which is not imported here
        named = {str(name): table[name] for name in table.columns}
        index = getattr(table.index, "name", None) or "index"
        if type(table.index).__name__ != "RangeIndex":
            named = {str(index): table.index} | named
    elif isinstance(table, Mapping):
        named = {str(name): values for name, values in table.items()}
    else:
        return f"a table of type {type(table).__name__}: give a mapping of columns by name"
    columns: dict[str, Any] = {}
    for name, values in named.items():
        if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
            return f"a table whose column {name!r} is no sequence of values"
        columns[name] = _array(values)
    return columns


def _array(values: Any) -> pa.ChunkedArray:
    """Return values as an Arrow column; what has no common type becomes texts."""
    if isinstance(values, pa.ChunkedArray):
        return plain_column(values)
    try:
        array = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        array = pa.array([None if each is None else str(each) for each in values], pa.string())
    if pa.types.is_null(array.type):
        array = array.cast(pa.string())
    if isinstance(array, pa.ChunkedArray):
        return plain_column(array)
    return plain_column(pa.chunked_array([array]))


def _without_volume(files: Iterable[VendorFile]) -> frozenset[str | None]:
    """Return the symbols that have no volume at all in an answer."""
    every: set[str | None] = set()
    some: set[str | None] = set()
    for file in files:
        names, which = file.symbols() or ([], np.full(len(file), -1))
        every.update(names)
        if Role.VOLUME in file.columns:
            with_volume: NDArray[np.bool_] = has_value(file.columns[Role.VOLUME]).to_numpy()
            some.update(names[at] for at in np.unique(which[with_volume]).tolist() if at >= 0)
    return frozenset(every - some)
