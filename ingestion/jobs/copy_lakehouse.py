"""Moving a lakehouse to another place: a folder, or a bucket's prefix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ingestion.base.errors import InputError
from ingestion.base.settings import lakehouse_place
from ingestion.lakehouse import open_lakehouse
from ingestion.lakehouse.copying import copy_lakehouse
from ingestion.runs.run import new_run_id


@dataclass(frozen=True)
class CopyResult:
    """What was copied."""

    source: str
    target: str
    files: int
    """All that both places have now, with equal hashes."""
    copied: int
    """Those of them that were not there before."""
    size: int
    """Bytes of what was copied."""


def copy(source: str, target: str) -> CopyResult:
    """Copy a lakehouse from one place to another; run again, it goes on.

    Parameters
    ----------
    source, target
        A folder, relative to the working folder, or ``s3://bucket/prefix``.

    Raises
    ------
    InputError
        If there is no source, or one of the two is in the other.
    GateRefused
        If the target is another lakehouse.
    LakehouseLocked
        If somebody writes to one of the two.
    """
    places = [lakehouse_place(text, Path.cwd()) for text in (source, target)]
    one, other = (f"{place}/" for place in places)
    if one.startswith(other) or other.startswith(one):
        raise InputError(f"{places[0]} and {places[1]}: one is in the other; name two places")
    here, there = map(open_lakehouse, places)
    if not here.exists(""):
        raise InputError(f"{here}: there is no lakehouse to copy")
    done = copy_lakehouse(here, there, new_run_id())
    return CopyResult(str(here), str(there), done.files, done.copied, done.size)
