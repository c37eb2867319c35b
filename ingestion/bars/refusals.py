"""What an import refuses and finds: rows with their reasons, and notes beside the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.bars.cells import READABLE_DATES
from ingestion.lakehouse import Lakehouse, RunFile, write_run_file
from ingestion.runs.run_folder import REFUSED_FILE

EXAMPLES = 20
"""Refused rows of each reason that a receipt shows."""
_ROWS_AT_ONCE = 50_000


class Reason(StrEnum):
    """Why a row is refused, in the order in which rows are looked at."""

    CELLS = "not as many cells as the header"
    SYMBOL = "not a symbol"
    EXCHANGE = "no exchange for the ticker"
    UNASKED = "symbol was not asked for"
    TIME = "unreadable time"
    NUMBER = "not a number"
    PRICE = "price not positive and finite"
    VOLUME = "volume missing, negative or not finite"
    SPLIT = "split ratio not positive and finite"
    OHLC = "open or close outside low and high"
    SESSION = "no session on that date"
    FUTURE = "closes in the future"
    TICK = "last tick is of a later session"
    DUPLICATE = "duplicates that disagree"
    TWICE = "session is stored with another close"
    WITHDRAWN = "was withdrawn"
    ADJUSTMENT = "prices contradict the split"
    SCALED = "past is scaled against the stored one"
    RETURN = "one-day return beyond the limit"
    ADJUSTED = "split of bars stored as split-adjusted"
    AMOUNT = "dividend not a finite amount of 0 or more"
    CURRENCY = "dividend in another currency than the price"
    DIVIDENDS = "dividends of one ex-date that differ"


HINTS = {
    Reason.TIME: f"{READABLE_DATES}; give --date-format for others",
    Reason.PRICE: "returns need prices above 0: yields and spreads at or below 0 are not stored",
    Reason.CURRENCY: "convert the amounts, or write the price's currency (100 GBX are 1 GBP)",
    Reason.DIVIDENDS: "if all of them were paid, write their sum in one row",
}
"""What to do about refused rows, or why nothing can be done."""
SETTLED = frozenset({Reason.UNASKED, Reason.TWICE, Reason.WITHDRAWN})
"""Reasons against rows that are refused again whenever they come."""
REASONS = tuple(Reason)
CODES = {reason: np.int8(code) for code, reason in enumerate(REASONS)}
"""Reasons as small numbers, for arrays."""
ACCEPTED = np.int8(-1)


@dataclass(frozen=True)
class Refusal:
    """One refused row."""

    file: str
    row: int
    """From 1 at the first row below the header."""
    symbol: str
    """Unified symbol; empty where the row was refused before it had one."""
    reason: Reason
    detail: str
    """The values that were seen."""


_SCHEMA = pa.schema(
    [(each.name, pa.int64() if each.name == "row" else pa.string()) for each in fields(Refusal)]
)


class Refusals:
    """The refused rows of an import: all counted, some of each reason kept, all listed in a file.

    Parameters
    ----------
    staging
        The file that the list is written to while it grows.
    """

    def __init__(self, staging: Path) -> None:
        self.by_reason: Counter[Reason] = Counter()
        self.by_file: Counter[str] = Counter()
        self.unsettled: set[str] = set()
        """The files with a refused row that may be good when it comes again."""
        self.examples: list[Refusal] = []
        """The first :data:`EXAMPLES` of each reason, in the order in which they were met."""
        self._staging = staging
        self._rows: list[Refusal] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, refusal: Refusal) -> None:
        """Add a row."""
        self.by_reason[refusal.reason] += 1
        self.by_file[refusal.file] += 1
        if refusal.reason not in SETTLED:
            self.unsettled.add(refusal.file)
        if self.by_reason[refusal.reason] <= EXAMPLES:
            self.examples.append(refusal)
        self._rows.append(refusal)
        if len(self._rows) == _ROWS_AT_ONCE:
            self._flush()

    @property
    def total(self) -> int:
        """How many rows were refused."""
        return self.by_reason.total()

    @property
    def commonest(self) -> Reason | None:
        """The reason of most refusals; None if there are none."""
        return self.by_reason.most_common(1)[0][0] if self.by_reason else None

    def save(self, lakehouse: Lakehouse, run_id: str, prefix: str = "") -> RunFile | None:
        """Put the whole list into the run's folder, :data:`REFUSED_FILE`; None if it is empty.

        A prefix goes before the file's name, where several jobs of a run refuse bars.

        A column for each field of :class:`Refusal`. Nothing can be added afterwards.
        """
        if not self.total:
            return None
        self._flush()
        if self._writer is not None:
            self._writer.close()
        return write_run_file(lakehouse, run_id, f"{prefix}{REFUSED_FILE}", self._staging)

    def _flush(self) -> None:
        if self._writer is None:
            self._staging.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._staging, _SCHEMA, compression="zstd")
        columns = {name: [getattr(row, name) for row in self._rows] for name in _SCHEMA.names}
        self._writer.write_table(pa.table(columns, schema=_SCHEMA))
        self._rows.clear()


_EXAMPLES_IN_TEXT = 5
"""Of each finding, for people."""


@dataclass
class Finding:
    """One kind of note, and how often it applies."""

    name: str
    """In the receipt and for ``--json``."""
    text: str
    """For people, after the count: ``symbols taken from the names of files``."""
    count: int = 0
    examples: list[str] = field(default_factory=list)
    """The first :data:`EXAMPLES`."""

    def __str__(self) -> str:
        shown = ", ".join(self.examples[:_EXAMPLES_IN_TEXT])
        more = ", …" if self.count > _EXAMPLES_IN_TEXT else ""
        return f"{self.count:,} {self.text}{f': {shown}{more}' if shown else ''}"


class Findings:
    """All findings of an import, in the order in which their kinds came."""

    def __init__(self) -> None:
        self._kinds: dict[str, Finding] = {}

    def add(
        self, name: str, text: str, found: Iterable[str] = (), count: int | None = None
    ) -> None:
        """Add to a kind.

        Parameters
        ----------
        name, text
            As of :class:`Finding`; each name has one text.
        found
            What was found, a short text each; only the first are kept.
        count
            How many, where not each has a text.
        """
        found = list(found)
        count = len(found) if count is None else count
        if not count:
            return
        kind = self._kinds.setdefault(name, Finding(name, text))
        kind.count += count
        kind.examples += found[: EXAMPLES - len(kind.examples)]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._kinds.values())

    def __len__(self) -> int:
        return len(self._kinds)

    def document(self) -> dict[str, Any]:
        """Return all of it for a receipt, or for ``--json``."""
        return {each.name: {"count": each.count, "examples": each.examples} for each in self}
