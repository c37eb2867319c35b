"""Rows of the run's symbols with the values of another market's: pairs and their coins.

Both scans have the text by which they are joined. A pair without it, of two coins or of none has no
row, and is counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from ingestion.catalog import Column, Dtype, FeatureGroup
from ingestion.catalog.sources import Scanner
from ingestion.jobs.ingest.scan import Scanned, Scans
from ingestion.scanner import Table

NO_TEXT, NONE, SEVERAL = "without an id", "of no coin", "of several coins"


class Joined(NamedTuple):
    """Rows of the run's symbols, and how many of these have none."""

    scanned: Scanned
    without: Mapping[str, int]
    """By the reason: symbols without a row that are to have none."""


def key_of(group: FeatureGroup) -> Column | None:
    """Return the column by which a group's rows are joined; None if they are not."""
    source = group.source
    if not isinstance(source, Scanner) or source.joined_by is None:
        return None
    return Column(source.joined_by, Dtype.STRING, "what joins", optional=True)


def pairs_table(group: FeatureGroup, key: Column, recent: Collection[str]) -> Table:
    """Return what is asked of the run's own symbols."""
    return Table(_pairs(group), (key,), None, frozenset(recent), group.name)


def joined(scans: Scans, group: FeatureGroup, key: Column) -> Joined:
    """Return the market's rows under the run's symbols.

    Raises
    ------
    ScannerRefused
        As :meth:`Scans.table`.
    """
    pairs, coins = scans.table(_pairs(group)), scans.table(group.name)
    place = coins.snapshot.columns.index(key)
    of_text: dict[object, list[str]] = {}
    for coin, row in coins.snapshot.rows.items():
        of_text.setdefault(row[place], []).append(coin)
    columns = tuple(each for each in coins.snapshot.columns if each != key)
    whole = coins.snapshot.table(columns)
    rows, asked_at = {}, {}
    without = {NO_TEXT: 0, NONE: 0, SEVERAL: 0}
    for symbol, (text,) in pairs.snapshot.rows.items():
        found = of_text.get(text, [])
        if not text or len(found) != 1:
            without[NO_TEXT if not text else SEVERAL if found else NONE] += 1
            continue
        rows[symbol] = (found[0], *whole.rows[found[0]])
        asked_at[symbol] = coins.snapshot.asked_at[found[0]]
    snapshot = replace(
        whole,
        columns=(COIN, *columns),
        rows=rows,
        failed=pairs.snapshot.failed,
        absent=pairs.snapshot.absent,
        asked=len(rows) + len(pairs.snapshot.failed) + len(pairs.snapshot.absent),
        asked_at=asked_at,
        attempts=(*pairs.snapshot.attempts, *whole.attempts),
    )
    known_at = max(pairs.known_at, coins.known_at)
    counted = {reason: count for reason, count in without.items() if count}
    return Joined(Scanned(pairs.universe, snapshot, known_at), counted)


COIN = Column("coin", Dtype.STRING, "the market's symbol")


def _pairs(group: FeatureGroup) -> str:
    return f"{group.name}, the symbols"
