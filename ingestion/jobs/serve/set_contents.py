"""What a data set says of itself, and its rows as questions, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.base.errors import InputError
from ingestion.catalog import FeatureGroup
from ingestion.datasets import Features, Schedule
from ingestion.datasets.panel import by_group
from ingestion.datasets.questions import SLICE
from ingestion.datasets.set_file import read_provenance
from ingestion.jobs.serve.near_decisions import near, numbered
from ingestion.jobs.serve.provenance import declared
from ingestion.project import Project


@dataclass(frozen=True)
class SetContents:
    """A data set that says where it comes from.

    Raises
    ------
    InputError
        If the file cannot be read, or does not say it.
    """

    project: Project
    place: Path

    @cached_property
    def told(self) -> dict[str, Any]:
        """What it says."""
        return read_provenance(self.place)

    @property
    def is_panel(self) -> bool:
        """Whether it has no labels."""
        return bool(self.told["kind"] == "panel")

    @cached_property
    def known_at(self) -> datetime:
        """As of when the lakehouse was read."""
        return datetime.fromisoformat(self.told["known_at"])

    @property
    def schedule(self) -> Schedule:
        """The decisions of a panel."""
        return schedule_of(self.told["schedule"])

    @cached_property
    def columns(self) -> list[str]:
        """All columns of the file."""
        return list(pq.read_schema(self.place).names)

    def has_instants(self, column: str) -> bool:
        """Return whether there is a column of instants of that name."""
        schema = pq.read_schema(self.place)
        return column in schema.names and pa.types.is_timestamp(schema.field(column).type)

    @cached_property
    def named(self) -> list[tuple[str, FeatureGroup, str]]:
        """The features that are still declared, in the file's order: column, group and name."""
        several, _ = declared(self.project.catalog, self.told["features"])
        found = {column: (column, group, name) for group, name, column in several}
        return [found[name] for name in self.columns if name in found]

    @property
    def features(self) -> list[Features]:
        """Those features, by group."""
        return by_group((group, name, column) for column, group, name in self.named)

    @property
    def gone(self) -> list[str]:
        """Features that are no longer declared."""
        known = {column for column, *_ in self.named}
        return [each["column"] for each in self.told["features"] if each["column"] not in known]

    @property
    def labels(self) -> list[str]:
        """The columns that are neither features nor their ages."""
        own = {each["column"] for each in self.told["features"]}
        own |= {f"{each['group']}__age_s" for each in self.told["features"]}
        return [name for name in self.columns if name not in own]

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows in their order, a bounded number at a time.

        Raises
        ------
        InputError
            If they cannot be read.
        """
        try:
            with pq.ParquetFile(self.place) as file:
                for batch in file.iter_batches(SLICE, columns=columns):
                    yield pa.Table.from_batches([batch])
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{self.place} cannot be read: {error}") from None

    def questions(self, columns: list[str]) -> Iterator[pa.Table]:
        """Yield some columns of the rows, those of near decisions together; with their numbers.

        A panel is in the order of time, so some rows need some dates of the lakehouse; the rows of
        a training set are brought together by way of files.
        """
        return numbered(self.batches(columns)) if self.is_panel else near(self.batches(columns))


def schedule_of(told: dict[str, Any]) -> Schedule:
    """Read a schedule as a set's provenance has it."""
    from datetime import date, time

    at = told["at"]
    return Schedule(
        date.fromisoformat(told["first"]),
        date.fromisoformat(told["last"]),
        every=told["every"],
        at=None if at is None else time.fromisoformat(at),
    )
