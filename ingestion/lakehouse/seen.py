"""Which parts something was made from, so that one knows later what is new, and what is gone.

Parts are known by the run that wrote their rows and by their name then, as in the ledger: a merged
part is what it was merged from. The footer of a file that is as it was is not read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from ingestion.base.errors import CorruptPart
from ingestion.catalog import Dataset
from ingestion.lakehouse.origins import read_provenance
from ingestion.lakehouse.parts import Part, partition_date, read_metadata, read_part

Origin = tuple[str, str]
"""The run that wrote rows, and the name of its part; of another writer, the state of the file."""


@dataclass(frozen=True)
class _File:
    state: str
    """Another one if its content may be another."""
    origins: tuple[Origin, ...]


class SeenParts:
    """The parts of a dataset at one time."""

    def __init__(self, files: dict[str, _File]) -> None:
        self._files = files
        self.origins = {origin for file in files.values() for origin in file.origins}

    @classmethod
    def look(cls, parts: Iterable[Part], before: SeenParts | None = None) -> SeenParts:
        """Look at parts; the footers of those that were seen before are not read."""
        known = before._files if before else {}
        files: dict[str, _File] = {}
        for part in parts:
            state = part.lakehouse.state(part.key)
            file = known.get(part.key)
            if file is None or file.state != state:
                file = _File(state, _origins(part, state))
            files[part.key] = file
        return cls(files)

    def of(self, parts: Iterable[Part]) -> SeenParts:
        """Return what was seen of some of the parts."""
        return SeenParts({part.key: self._files[part.key] for part in parts})

    def is_new(self, part: Part, before: SeenParts) -> bool:
        """Return whether a part has rows that were not seen before."""
        return not before.origins.issuperset(self._files[part.key].origins)

    def gone_since(self, before: SeenParts) -> set[date]:
        """Return the dates of parts that were seen before, and are not there, merged or not."""
        return {_date(name) for _, name in before.origins - self.origins}

    def document(self) -> list[Any]:
        """Return them for JSON; :meth:`of_document` reads them again."""
        return [[key, file.state, file.origins] for key, file in self._files.items()]

    @classmethod
    def of_document(cls, document: list[Any]) -> SeenParts:
        """Read them out of JSON.

        Raises
        ------
        ValueError, TypeError
            If they are not there.
        """
        return cls(
            {
                str(key): _File(str(state), tuple((str(run), str(name)) for run, name in origins))
                for key, state, origins in document
            }
        )


def read_unseen(part: Part, dataset: Dataset, columns: Sequence[str], seen: SeenParts) -> pa.Table:
    """Read the rows of a part that were not seen before; errors as of ``read_part``."""
    rows = read_part(part, dataset, columns)
    metadata = read_metadata(part).metadata
    try:
        told = read_provenance(metadata, part.key, rows.num_rows)
    except ValueError:
        return rows
    known = [(each.run_id, each.part) in seen.origins for each in told.origins]
    if not any(known):
        return rows
    return rows.filter(pa.array(~np.array(known)[told.of_row]))


def _origins(part: Part, state: str) -> tuple[Origin, ...]:
    try:
        metadata = read_metadata(part)
        told = read_provenance(metadata.metadata, part.key, metadata.num_rows)
    except (CorruptPart, ValueError):
        return ((state, part.key),)
    return tuple((each.run_id, each.part) for each in told.origins)


def _date(name: str) -> date:
    for folder in name.split("/"):
        if day := partition_date(folder):
            return day
    return date.min
