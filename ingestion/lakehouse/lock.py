"""One writing run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.compact import sweep_staging


@contextmanager
def lakehouse_lock(lakehouse: Lakehouse, run_id: str) -> Iterator[None]:
    """Lock the lakehouse for one run; makes the root where it is missing.

    Whoever gets the lock first finishes and removes what killed runs have left.

    Raises
    ------
    LakehouseLocked
        If another run has it; at once, but for the moment that a look may take.
    """
    with lakehouse.lock(run_id):
        sweep_staging(lakehouse)
        yield
