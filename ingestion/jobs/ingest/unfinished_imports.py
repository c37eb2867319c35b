"""Imports of bars that are half done: they are still running, or they died while they were writing.

An import writes one part per date. Until it has finished, earlier dates have its bars, and later
dates have the bars of before. If it restates a split-adjusted history, prices seem to crash between
them, although they never did. Therefore its receipt says that it is writing before the first part
appears, and that it has published when all parts are there. An import of the same files completes
one that died, and so does a fetch of the same symbols from the same bar source.

``data-ingest`` needs no such receipt, because it restates no history: the bars that it has not
added yet are missing at the end, and the next run adds them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

from ingestion.base.errors import GateRefused, InputError
from ingestion.base.wording import some_of
from ingestion.lakehouse import Lakehouse, RunFile, files_of_run, run_files
from ingestion.lakehouse.ledger import read_ledger
from ingestion.lakehouse.run_files import written_by_runs
from ingestion.runs.receipt_file import ended_before, told_by

RECEIPT_FILE = "import_bars.json"
"""The first import of a run; :func:`import_file` names the further ones, which flows have."""
Told = TypeVar("Told")
_AT_ONCE = 16
_NAMED = 3
"""How many files a message names."""


class Verdict(StrEnum):
    """What the receipt of an import says of it."""

    WRITING = "writing"
    PUBLISH = "publish"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Import:
    """An import, as its receipt describes it."""

    run_id: str
    verdict: Verdict
    files: frozenset[str]
    """Bars and splits, as they were named; of a fetch what :func:`fetched_name` gives."""
    bar_source: str | None = None
    """The source of a fetch; None for files."""
    whole_before: bool = False
    """Whether no import was half done when it began."""

    def __str__(self) -> str:
        names = some_of(sorted(self.files), _NAMED)
        command, again = "import-bars", f"repeat it with the same files: {names}"
        if self.bar_source is not None:
            command, again = "fetch-bars", f"repeat it with the same --source and symbols: {names}"
        return (
            f"{command}, run {self.run_id}, is half done: some dates have its bars, later ones "
            f"do not yet. Wait if it is still running; if it died, {again}"
        )


def import_file(number: int) -> str:
    """Return the name of the receipt of a run's ``number``-th import; the first is 1."""
    return RECEIPT_FILE if number == 1 else f"import_bars.{number}.json"


def is_import(name: str) -> bool:
    """Return whether a file of a run is the receipt of an import."""
    return name == RECEIPT_FILE or re.fullmatch(r"import_bars\.\d+\.json", name) is not None


def next_import(lakehouse: Lakehouse, run_id: str) -> int:
    """Return the number of the import that a run would make next."""
    names = {file.name for file in files_of_run(lakehouse, run_id)}
    number = 1
    while import_file(number) in names:
        number += 1
    return number


def import_files(lakehouse: Lakehouse) -> Iterator[RunFile]:
    """Yield the receipts of all imports, the newest first."""
    firsts = run_files(lakehouse, RECEIPT_FILE)
    # Some at once, of which an object store can be asked at the same time; few runs are imports.
    while some := {file.key.rpartition("/")[0]: file for file in islice(firsts, _AT_ONCE)}:
        has_several = {*lakehouse.having(some, import_file(2))}
        for folder, first in some.items():
            if folder in has_several:
                count = next_import(lakehouse, first.run_id)
                yield from (first._replace(name=import_file(n)) for n in range(count - 1, 1, -1))
            yield first


def imports_told(
    lakehouse: Lakehouse,
    read: Callable[[dict[str, Any]], Told | None],
    *passed_over: Callable[[InputError], object],
) -> Iterator[Told]:
    """Yield what the receipts of all imports say, the newest first.

    Parameters
    ----------
    read, passed_over
        As of :func:`~ingestion.runs.receipt_file.receipts_told`.
    """
    return told_by(import_files(lakehouse), read, *passed_over)


def fetched_name(source: str, symbol: str) -> str:
    """Return what the receipt of a fetch names in place of a file."""
    return f"{source} {symbol}"


def half_imports(
    lakehouse: Lakehouse, *passed_over: Callable[[InputError], object]
) -> list[Import]:
    """Return the imports that are half done, the newest first.

    No receipts are read beyond one that says that all imports before it were whole.

    Parameters
    ----------
    passed_over
        As of :func:`~ingestion.runs.receipt_file.receipts_told`.
    """

    def read(receipt: dict[str, Any]) -> Import | None:
        request = receipt["request"]
        files = frozenset(map(str, filter(None, [*request["files"], request["splits"]])))
        # An import that ended before its first part has refused. Old receipts have no verdict: they
        # were written at the end.
        unsaid = Verdict.REFUSE if ended_before(receipt, "verdict") else Verdict.PUBLISH
        verdict = Verdict(receipt.get("verdict", unsaid))
        told = Import(
            receipt["run_id"],
            verdict,
            files,
            request.get("bar_source"),
            receipt.get("whole_before", False),
        )
        # An import that died before its first part has changed nothing.
        written = len(read_ledger(lakehouse, told.run_id)) - receipt.get("parts_before", 0)
        is_idle = told.verdict is Verdict.WRITING and not written
        return None if is_idle else told

    finished: set[str] = set()
    half: list[Import] = []
    for each in imports_told(lakehouse, read, *passed_over):
        if each.verdict is Verdict.PUBLISH:
            finished |= each.files
        elif each.verdict is Verdict.WRITING and not each.files <= finished:
            half.append(each)
        if each.whole_before:  # flows import each day: nobody need read the receipts of years
            break
    return half


def are_whole(lakehouse: Lakehouse) -> bool:
    """Return whether no import is half done, as far as all receipts can be read."""
    damaged: list[InputError] = []
    return not half_imports(lakehouse, damaged.append) and not damaged


def refuse_half_imports(lakehouse: Lakehouse) -> None:
    """Stop a job that would read the bars of half an import.

    Raises
    ------
    GateRefused
        If there is one.
    """
    if half := half_imports(lakehouse):
        raise GateRefused(some_of(half))


@contextmanager
def whole_imports(lakehouse: Lakehouse) -> Iterator[None]:
    """Read bars while other runs may write: all bars of an import, or none.

    Raises
    ------
    GateRefused
        If an import is half done, or another one has begun by the end.
    """
    ended = written_by_runs(lakehouse)  # they begin nothing any more

    def begun() -> set[tuple[str, str]]:
        # The first part may come long after the receipt: many bars of a file may be stored already.
        files = ((receipt.run_id, receipt.name) for receipt in import_files(lakehouse))
        return {each for each in files if each[0] not in ended and read_ledger(lakehouse, each[0])}

    before = begun()
    refuse_half_imports(lakehouse)
    yield
    if meanwhile := begun() - before:
        run_id, _ = min(meanwhile)
        raise GateRefused(
            f"import-bars or fetch-bars, run {run_id}, wrote bars meanwhile: run again when it is "
            "done"
        )
