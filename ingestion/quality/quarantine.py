"""What a run kept back: rows that broke a rule, with the rule, for people to look at."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ingestion.lakehouse import read_part

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
    return Counter(read_part(path, [DATASET])[DATASET].to_pylist())
