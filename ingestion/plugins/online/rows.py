"""Rows of a view in an online store, and what each store does with them in its own way: `Tables`.

A store keeps one table per view, with one row per entity. This module and ``layout``, ``keys`` and
``reading`` are the same for all stores, and need NumPy and the standard library alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ingestion.base.instants import from_micros
from ingestion.plugins.online.layout import Layout, Values, convert

NEVER = -(2**63)
"""The created time of a row that has none: before all others."""

Window = tuple[int, int]
"""First and last event that count, microseconds since 1970 UTC."""


@dataclass(frozen=True)
class Rows:
    """Rows of a table.

    Attributes
    ----------
    keys
        None of a row that was asked for and is not there; all else of it is null then.
    event_us, created_us
        int64; ``NEVER`` where there is no such time.
    values
        Of the features that were asked for and that the table has.
    """

    keys: Sequence[bytes | None]
    event_us: NDArray[np.int64]
    created_us: NDArray[np.int64]
    values: dict[str, Values]

    @classmethod
    def missing(cls, count: int) -> Rows:
        """Return rows that are not there."""
        never = np.full(count, NEVER)
        return cls([None] * count, never, never, {})

    def take(self, places: Sequence[int]) -> Rows:
        """Return some of the rows, in the order of their places."""
        values = {
            name: Values(each.type, each.data[places], each.valid[places])
            for name, each in self.values.items()
        }
        keys = [self.keys[place] for place in places]
        return Rows(keys, self.event_us[places], self.created_us[places], values)

    def laid_out(self, layout: Layout) -> Rows:
        """Return the same rows with the features of a layout: what its types can keep is kept."""
        count = len(self.keys)
        values = {
            name: convert(self.values.get(name, Values.nulls(value_type, count)), value_type)
            for name, value_type in layout.types
        }
        return Rows(self.keys, self.event_us, self.created_us, values)


class Read(NamedTuple):
    """Features of one table that are to be read."""

    table: str
    names: Sequence[str]
    keys: Sequence[bytes] | None = None
    """One row for each key, in their order; keys may repeat. None is all rows, sorted by key."""


@dataclass(frozen=True)
class TableContent:
    """What a view's table has."""

    rows: int
    newest_us: int | None
    """Event of its newest row; None without one."""
    inside: int
    """Rows whose event lies in the window that was asked about."""

    @property
    def newest(self) -> datetime | None:
        """Event of its newest row, as an instant in UTC."""
        return None if self.newest_us is None else from_micros(self.newest_us)


class Tables(Protocol):
    """The tables of one store. All calls raise `FeastRepositoryError` if it cannot be reached.

    Every call does all of what it does at one instant, or nothing: nobody sees half of a write, and
    a process that dies leaves what was there before.
    """

    @property
    def place(self) -> str:
        """The file or the server, for messages; without a password."""

    def read(self, reads: Sequence[Read]) -> list[Rows]:
        """Read features, of all tables as they are at one instant; valid or not.

        A feature that a table does not have is left out; a table that is not there has no rows.
        """

    def write(self, table: str, layout: Layout, rows: Rows) -> int:
        """Write rows: the newest event wins, then the newest created; of equals, the last written.

        The table is made, or gets these features, first; keys may repeat.

        Returns
        -------
        int
            How many rows changed something.
        """

    def update(self, drop: Sequence[str], keep: Mapping[str, Layout]) -> None:
        """Drop tables, and let others have these features: what they can keep, they keep."""

    def teardown(self, tables: Sequence[str]) -> None:
        """Drop tables, and what the store itself needs if nothing of anybody is left in it."""

    def refill(self, drop: Sequence[str], contents: Mapping[str, tuple[Layout, Rows]]) -> None:
        """Drop tables, and let others have these features and rows, and no others."""

    def look(self, windows: Mapping[str, Window]) -> dict[str, TableContent] | None:
        """Count rows, and change nothing.

        Parameters
        ----------
        windows
            By table, the events to count.

        Returns
        -------
        dict[str, TableContent] | None
            By table, without those that do not exist; None if there is no store yet.
        """
