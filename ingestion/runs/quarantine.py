"""What a run kept back: rows that broke a rule, with the rule, for people to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow.compute as pc

from ingestion.base.arrow import text, to_rows
from ingestion.lakehouse import Lakehouse, run_file, run_files

QUARANTINE_FILE = "quarantine.parquet"
DATASET = "dataset"
"""Column of the quarantine file: the group that a row is of."""


def quarantined(lakehouse: Lakehouse, run_id: str) -> Counter[str]:
    """Return how many rows of each group a run put into quarantine.

    Raises
    ------
    CorruptPart
        If its file cannot be read.
    """
    file = run_file(lakehouse, run_id, QUARANTINE_FILE)
    if not file.exists():
        return Counter()
    return Counter(file.read_table([DATASET])[DATASET].to_pylist())


def quarantined_rows(
    lakehouse: Lakehouse, dataset: str, symbol: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a symbol's rows in quarantine, the newest run's first, each with its run.

    Raises
    ------
    CorruptPart
        If a run's file cannot be read.
    """
    named, of_symbol = text(dataset), text(symbol)
    for file in run_files(lakehouse, QUARANTINE_FILE):
        rows = file.read_table()
        is_wanted = pc.and_(pc.equal(rows[DATASET], named), pc.equal(rows["symbol"], of_symbol))
        yield from ((file.run_id, row) for row in to_rows(rows.filter(is_wanted)))
