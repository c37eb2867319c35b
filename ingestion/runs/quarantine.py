"""What a run kept back: rows that broke a rule, with the rule, for people to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from ingestion.lakehouse import read_file

QUARANTINE_FILE = "quarantine.parquet"
DATASET = "dataset"
"""Column of the quarantine file: the group that a row is of."""


def quarantined(run: Path) -> Counter[str]:
    """Return how many rows of each group a run put into quarantine.

    Parameters
    ----------
    run
        The run's folder.

    Raises
    ------
    CorruptPart
        If its file cannot be read.
    """
    path = run / QUARANTINE_FILE
    if not path.exists():
        return Counter()
    return Counter(read_file(path, [DATASET])[DATASET].to_pylist())


def quarantined_rows(root: Path, dataset: str, symbol: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a symbol's rows in quarantine, the newest run's first, each with its run.

    Raises
    ------
    CorruptPart
        If a run's file cannot be read.
    """
    for path in sorted((root / "_runs").glob(f"*/{QUARANTINE_FILE}"), reverse=True):
        rows = read_file(path)
        is_wanted = pc.and_(pc.equal(rows[DATASET], dataset), pc.equal(rows["symbol"], symbol))
        yield from ((path.parent.name, row) for row in rows.filter(is_wanted).to_pylist())
