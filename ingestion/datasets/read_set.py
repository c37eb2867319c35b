"""A data set read back: its rows, what it says of itself, and its label spans for the splitters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.base.errors import InputError
from ingestion.base.wording import reason_of
from ingestion.datasets.questions import SLICE
from ingestion.datasets.set_file import read_provenance
from ingestion.datasets.splits import LABEL_END, LabelSpans


@dataclass(frozen=True)
class DataSet:
    """A panel or a training set; :func:`read_set` makes one."""

    place: Path
    provenance: dict[str, Any]
    """Where its rows come from: features with their definitions, labels, ``known_at`` and more."""
    schema: pa.Schema
    """Of all columns."""

    @property
    def features(self) -> list[str]:
        """The columns of features, in the file's order: the inputs of a model."""
        own = {each["column"] for each in self.provenance["features"]}
        return [name for name in self.schema.names if name in own]

    @property
    def targets(self) -> list[str]:
        """The columns of labels; none of a panel. Those of a label file are all its others."""
        told = self.provenance.get("labels")
        if not isinstance(told, dict):
            return []
        if "spans" in told:
            return [name for name in self.schema.names if name in told["spans"]]
        others = {*self.features, "symbol", "event_timestamp"}
        others |= {f"{each['group']}__age_s" for each in self.provenance["features"]}
        return [
            field.name
            for field in self.schema
            if field.name not in others and not pa.types.is_timestamp(field.type)
        ]

    @cached_property
    def table(self) -> pa.Table:
        """All rows, in memory; :meth:`batches` has some at a time."""
        return pa.concat_tables([self.schema.empty_table(), *self.batches()]).combine_chunks()

    def batches(
        self, columns: Sequence[str] | None = None, size: int = SLICE
    ) -> Iterator[pa.Table]:
        """Yield the rows in their order, at most so many at a time.

        Parameters
        ----------
        columns
            In this order; all if None.

        Raises
        ------
        InputError
            If there is no such column, or the file cannot be read.
        """
        if missing := [name for name in columns or () if name not in self.schema.names]:
            raise InputError(
                f"{self.place} has no column {missing[0]}; it has {', '.join(self.schema.names)}"
            )
        try:
            with pq.ParquetFile(self.place) as file:
                for batch in file.iter_batches(size, columns=columns):
                    rows = pa.Table.from_batches([batch])
                    yield rows.select(list(columns)) if columns is not None else rows
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{self.place} cannot be read: {reason_of(error)}") from None

    @property
    def spans(self) -> LabelSpans:
        """Decision and end of each row's last label, as the splitters of this package take them.

        Raises
        ------
        InputError
            If the set has no labels, or does not say when they end.
        """
        if LABEL_END not in self.schema.names:
            raise InputError(
                f"{self.place} has no column {LABEL_END}: make its labels with `tvfeast "
                "training-set --target`, or give a label file that has it"
            )
        keys = [self.schema.field(name) for name in ("event_timestamp", LABEL_END)]
        empty = pa.schema(keys).empty_table()
        return LabelSpans.of(pa.concat_tables([empty, *self.batches([each.name for each in keys])]))


def read_set(place: Path | str) -> DataSet:
    """Read a set that ``tvfeast panel`` or ``tvfeast training-set`` wrote; no lakehouse is needed.

    Raises
    ------
    InputError
        If the file cannot be read, or does not say where its rows come from.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from tempfile import TemporaryDirectory
    >>> from ingestion.base.columns import INSTANT
    >>> from ingestion.datasets.set_file import SetFile
    >>> at = pa.array([datetime(2026, 1, 5, 21, tzinfo=UTC)], INSTANT)
    >>> rows = pa.table({"symbol": ["NYSE:KO"], "event_timestamp": at, "RSI": [50.0]})
    >>> with TemporaryDirectory() as folder:
    ...     place = Path(folder, "set.parquet")
    ...     with SetFile(place, rows.schema, "run") as written:
    ...         written.write(rows)
    ...         written.record(kind="panel", features=[{"column": "RSI", "group": "local_1d"}])
    ...     found = read_set(place)
    ...     print(found.features, found.targets, found.table.num_rows, found.provenance["kind"])
    ['RSI'] [] 1 panel
    """
    path = Path(place)
    provenance = read_provenance(path)
    return DataSet(path, provenance, pq.read_schema(path).remove_metadata())
