"""Which parts something was made from, so that one knows later what is new, and what is gone.

Parts are known by the run that wrote their rows and by their name then, as in the ledger: a merged
part is what it was merged from, and lies in the same partition. A folder whose names are those that
it had is not listed again, and the footer of a file that is as it was is not read again: of years
of history, a look takes two questions to the disk per date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ingestion.base.arrow import from_numpy
from ingestion.base.errors import CorruptPart
from ingestion.base.parts import part_number
from ingestion.catalog import Dataset
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.origins import read_provenance
from ingestion.lakehouse.parts import (
    Part,
    list_dates,
    partition_date,
    partition_folder,
    parts_of,
    read_metadata,
    read_part,
)

Origin = tuple[str, str]
"""The run that wrote rows, and the name of its part; of another writer, the state of the file."""


_File = tuple[str, Sequence[Sequence[str]]]
"""A part's state, which is another one if its content may be another, and its origins.

Both are as JSON has them: of years of history, to make objects of them takes longer than to look.
"""


class _Folder(NamedTuple):
    state: str
    """Another one if there may be other names in it; empty where nobody knows."""
    files: dict[str, _File]
    """The parts, by name."""

    @property
    def origins(self) -> set[Origin]:
        return {origin for file in self.files.values() for origin in _origins_of(file)}


def _origins_of(file: _File) -> set[Origin]:
    return {(run, part) for run, part in file[1]}


_NOTHING = _Folder("", {})


class SeenParts:
    """The parts of a dataset at one time."""

    def __init__(
        self,
        folders: dict[str, _Folder],
        looked_at: Lakehouse | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        self._folders, self._lakehouse, self._counts = folders, looked_at, counts or {}

    @classmethod
    def look(
        cls,
        lakehouse: Lakehouse,
        dataset: Dataset,
        before: SeenParts | None = None,
        days: Iterable[date] | None = None,
    ) -> SeenParts:
        """Look at the parts, at first at those that are not as they were seen before.

        Parameters
        ----------
        days
            Partition dates, in their order; all if not given.
        """
        known = before._folders if before else {}
        folders: dict[str, _Folder] = {}
        counts: dict[str, int] = {}
        for day in list_dates(lakehouse, dataset) if days is None else days:
            key = partition_folder(dataset, day)
            old, state = known.get(key, _NOTHING), lakehouse.names_state(key)
            if not (state and state == old.state and _are_as_they_were(lakehouse, key, old)):
                old = _looked_at(state, parts_of(lakehouse, dataset, day), old, counts)
            folders[key] = old
        return cls(folders, lakehouse, counts)

    @cached_property
    def parts(self) -> list[Part]:
        """Oldest first, if they were looked at."""
        if self._lakehouse is None:
            return []
        return [
            Part(_date_of(key), part_number(name) or 0, f"{key}/{name}", self._lakehouse)
            for key, folder in self._folders.items()
            for name in folder.files
        ]

    def rows(self, part: Part) -> int:
        """Return how many rows a part has; errors as of ``read_metadata``.

        A footer that was read for the look is not read again.
        """
        count = self._counts.get(part.key)
        return read_metadata(part).num_rows if count is None else count

    def with_own(self, parts: Iterable[Part], run_id: str) -> SeenParts:
        """Return the same with parts that a run has written since."""
        folders = dict(self._folders)
        for part in parts:
            key, _, name = part.key.rpartition("/")
            file = (part.lakehouse.state(part.key), ((run_id, part.key),))
            folders[key] = _Folder("", folders.get(key, _NOTHING).files | {name: file})
        return SeenParts(folders)

    def of(self, parts: Iterable[Part]) -> SeenParts:
        """Return what was seen of the dates of some parts."""
        keys = dict.fromkeys(part.key.rpartition("/")[0] for part in parts)
        return SeenParts({key: self._folders[key] for key in keys})

    @cached_property
    def origins(self) -> set[Origin]:
        """Where all rows are from."""
        return {origin for folder in self._folders.values() for origin in folder.origins}

    def new_since(self, before: SeenParts) -> list[Part]:
        """Return the parts that have rows that were not seen before."""
        old, now = before._folders, self._folders
        changed = {key for key, folder in now.items() if folder is not old.get(key)}
        return [
            part
            for part in self.parts
            if part.key.rpartition("/")[0] in changed and self.is_new(part, before)
        ]

    def is_new(self, part: Part, before: SeenParts) -> bool:
        """Return whether a part has rows that were not seen before."""
        key, _, name = part.key.rpartition("/")
        file, old = self._folders[key].files[name], before._folders.get(key, _NOTHING)
        return file is not old.files.get(name) and not _origins_of(file) <= old.origins

    def gone_since(self, before: SeenParts) -> set[date]:
        """Return the dates of parts that were seen before, and are not there, merged or not."""
        return {
            _date_of(key)
            for key, old in before._folders.items()
            if (now := self._folders.get(key, _NOTHING)) is not old and old.origins - now.origins
        }

    def document(self) -> dict[str, Any]:
        """Return them for JSON; :meth:`of_document` reads them again."""
        return self._folders

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> SeenParts:
        """Read them out of JSON.

        Raises
        ------
        TypeError, AttributeError
            If they are not there.
        """
        return cls({key: _Folder(*told) for key, told in document.items()})


def _date_of(key: str) -> date:
    return partition_date(key.rpartition("/")[2]) or date.min


def _are_as_they_were(lakehouse: Lakehouse, key: str, folder: _Folder) -> bool:
    """Return whether the parts of a folder, all of which are there, have the states they had."""
    state = lakehouse.state
    return all(state(f"{key}/{name}") == file[0] for name, file in folder.files.items())


def _looked_at(state: str, parts: Sequence[Part], old: _Folder, counts: dict[str, int]) -> _Folder:
    """Return a folder with some parts; the same object if nothing is new.

    The rows of the parts whose footers are read are added to ``counts``.
    """
    is_same = state == old.state and len(parts) == len(old.files)
    files: dict[str, _File] = {}
    for part in parts:
        name, of_file = part.key.rpartition("/")[2], part.lakehouse.state(part.key)
        file = old.files.get(name)
        if file is None or file[0] != of_file:
            file, is_same = (of_file, _origins(part, of_file, counts)), False
        files[name] = file
    return old if is_same else _Folder(state, files)


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
    return rows.filter(from_numpy(~np.array(known)[told.of_row]))


def _origins(part: Part, state: str, counts: dict[str, int]) -> tuple[Origin, ...]:
    try:
        metadata = read_metadata(part)
        counts[part.key] = metadata.num_rows
        told = read_provenance(metadata.metadata, part.key, metadata.num_rows)
    except (CorruptPart, ValueError):
        return ((state, part.key),)
    return tuple((each.run_id, each.part) for each in told.origins)
