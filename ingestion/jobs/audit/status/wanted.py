"""Which symbols are to be fresh, and how much of them the newest snapshot covers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from ingestion.base.arrow import from_numpy, to_numpy
from ingestion.base.clock import parse_instant
from ingestion.base.errors import InputError
from ingestion.base.reading import reading_again
from ingestion.catalog import FeatureGroup
from ingestion.lakehouse import Lakehouse, parts_of, read_part, run_file, run_ids
from ingestion.lakehouse.ledger import LEDGER_FILE, read_ledger
from ingestion.markets.symbols import exchange_of
from ingestion.markets.universe import read_universe
from ingestion.runs.receipt_file import (
    NOTHING,
    ended_before,
    is_of_group,
    receipt_told,
    snapshot_receipts,
    text,
)

PassedOver = Callable[[InputError], object]


@dataclass(frozen=True)
class Snapshot:
    """What the receipt of a snapshot says."""

    run_id: str
    coverage: float
    symbols: frozenset[str] | None
    """What was asked for by name; None if it was a market."""
    failed: frozenset[str]
    known_at: datetime | None


def newest_snapshot(
    lakehouse: Lakehouse, group: FeatureGroup, passed_over: PassedOver
) -> Snapshot | None:
    """Return the newest snapshot of a group, whoever asked for it."""
    newest_first = sorted(run_ids(lakehouse), reverse=True)
    return first_snapshot(lakehouse, group, newest_first, passed_over)


def first_snapshot(
    lakehouse: Lakehouse, group: FeatureGroup, runs: Iterable[str], passed_over: PassedOver
) -> Snapshot | None:
    """Return the snapshot of the first of these runs that took one of a group."""
    for run_id in runs:
        for file in snapshot_receipts(lakehouse, run_id, group):
            told = receipt_told(file, partial(_snapshot, lakehouse, group), passed_over)
            if told is not None:
                return told
    return None


def symbols_wanted(
    lakehouse: Lakehouse,
    group: FeatureGroup,
    source: Collection[str] | None,
    snapshot: Snapshot | None,
    seen: Mapping[str, datetime],
) -> frozenset[str]:
    """Return the symbols that are to be fresh.

    Parameters
    ----------
    source
        What is asked for by name; None for a market. A market has no list, and no row says of which
        market it is; so what was seen lately counts, on the exchanges that its snapshot has shown,
        or on all if it has shown none.
    snapshot
        Its newest one with rows.
    seen
        The symbols with a row in the last 90 days.
    """
    if source is not None:
        return frozenset(source)
    shown = (
        reading_again(partial(_rows_of, lakehouse, group, snapshot)) if snapshot else frozenset()
    )
    exchanges = set(map(exchange_of, shown))
    failed = snapshot.failed if snapshot else frozenset()
    return failed | {symbol for symbol in seen if not shown or exchange_of(symbol) in exchanges}


def _rows_of(lakehouse: Lakehouse, group: FeatureGroup, snapshot: Snapshot) -> frozenset[str]:
    """Return the symbols of a snapshot's rows: all are stamped with its instant, and no others."""
    if snapshot.known_at is None:
        return frozenset()
    day, second = snapshot.known_at.date(), int(snapshot.known_at.timestamp())
    shown: set[str] = set()
    for part in parts_of(lakehouse, group, day):
        rows = read_part(part, group, ["symbol", "timestamp"])
        of_snapshot = rows.filter(from_numpy(to_numpy(rows["timestamp"]) == second))
        shown |= set(of_snapshot["symbol"].to_pylist())
    return frozenset(shown)


def _snapshot(
    lakehouse: Lakehouse, group: FeatureGroup, receipt: dict[str, Any]
) -> Snapshot | None:
    if ended_before(receipt, "coverage") or not is_of_group(receipt, group):
        return None
    if receipt.get("verdict") == NOTHING:  # none of its symbols can have a row
        return None
    universe, coverage = read_universe(receipt["request"]["source"]), float(receipt["coverage"])
    if not 0 <= coverage <= 1:  # not-a-number would be inside any limit
        raise ValueError(f"{coverage} is no share")
    is_to_appear = receipt.get("verdict") == "publish" and receipt["fetched"] > 0
    if is_to_appear and not _has_appeared(lakehouse, group, receipt["run_id"]):
        return None
    known_at = receipt.get("known_at")
    return Snapshot(
        run_id=receipt["run_id"],
        coverage=coverage,
        symbols=None if universe.symbols is None else frozenset(universe.symbols),
        failed=frozenset(map(text, receipt["failed_symbols"])),
        known_at=None if known_at is None else parse_instant(known_at),
    )


def _has_appeared(lakehouse: Lakehouse, group: FeatureGroup, run_id: str) -> bool:
    """Return whether a run's snapshot was ever there: its receipt is written before.

    It may be gone again, or merged with others; and a run may die between the part and its word.
    """
    if not run_file(lakehouse, run_id, LEDGER_FILE).exists():  # from before the ledgers
        return True
    return any(
        entry.confirmed or lakehouse.exists(entry.part)
        for entry in read_ledger(lakehouse, run_id)
        if entry.part.startswith(f"{group.storage}/")
    )
