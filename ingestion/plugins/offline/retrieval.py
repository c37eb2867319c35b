"""The job that Feast hands to its users: nothing is read before they ask."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import OnDemandFeatureView
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage
from numpy.typing import NDArray

from ingestion.plugins.offline.declared import locate
from ingestion.plugins.offline.entities import EntityRows
from ingestion.plugins.offline.writing import exists, save

if TYPE_CHECKING:
    from feast.saved_dataset import ValidationReference


@dataclass(frozen=True)
class ViewCounts:
    """How a view answered."""

    matched: int
    """Entity rows that a row of the view is valid for."""
    created_later: int | None
    """Those whose row was created after the entity row's instant: knowable then by its event time,
    but recorded later. None if the view's source has no created column."""


@dataclass
class Retrieved:
    """What was read."""

    columns: pa.Table
    entities: EntityRows | None = None
    """The rows that the columns belong beside, if any."""
    counts: Mapping[str, ViewCounts] = field(default_factory=dict)
    """By view."""

    def table(self) -> pa.Table:
        """Return all columns as Arrow."""
        if self.entities is None:
            return self.columns
        table = self.entities.table()
        for name, column in zip(self.columns.column_names, self.columns.columns, strict=True):
            table = table.append_column(name, column)
        return table

    def frame(self) -> pd.DataFrame:
        """Return all columns as pandas; those that a frame was given with, unchanged.

        Doubles stay where they were read to, and the memory of each other column is free when
        pandas has it: what was read is used up.
        """
        read, self.columns = self.columns, pa.table({})
        if self.entities is None:
            frame: pd.DataFrame = read.to_pandas(self_destruct=True)
            return frame
        names = read.column_names
        columns = {name: found for name in names if (found := _doubles(read[name])) is not None}
        others = read.drop_columns(list(columns))
        del read
        columns |= others.to_pandas(self_destruct=True).items()
        # Unlike `concat`, this leaves each column where it is.
        of_rows = dict(self.entities.frame().items())
        return pd.DataFrame(of_rows | {name: columns[name] for name in names}, copy=False)


def _doubles(column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """Return doubles in their own memory, nulls as not a number; None if that cannot be."""
    if column.type != pa.float64() or column.num_chunks != 1:
        return None
    array = column.chunk(0)
    bits, memory = array.buffers()
    if not memory.is_mutable:
        return None
    values = np.frombuffer(memory, np.float64)[array.offset : array.offset + len(array)]
    if array.null_count:
        valid = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
        values[valid[array.offset : array.offset + len(array)] == 0] = np.nan
    return values


class AsofRetrievalJob(RetrievalJob):
    """A retrieval that reads when it is asked for its result, each time anew."""

    def __init__(
        self,
        read: Callable[[bool], Retrieved],
        *,
        repo_path: str | None,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._read = read
        self._repo_path = repo_path
        self._on_demand_feature_views = on_demand_feature_views or []
        self._full_feature_names = full_feature_names
        self._metadata = metadata
        self._counts: Mapping[str, ViewCounts] = {}

    @property
    def counts(self) -> Mapping[str, ViewCounts]:
        """How each view answered, by its name or alias; empty before the result was asked for."""
        return self._counts

    @property
    def full_feature_names(self) -> bool:
        """Whether features are called ``view__feature``."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The views that Feast computes from the result."""
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for."""
        return self._metadata

    def to_df(
        self,
        validation_reference: ValidationReference | None = None,
        timeout: int | None = None,
    ) -> pd.DataFrame:
        """Return the result as pandas; entity columns of a frame keep their dtypes.

        They do not where Feast must look at the result: to compute on-demand features, to validate,
        to count what is read.
        """
        if validation_reference is not None or self._on_demand_feature_views or _is_counted():
            computed: pd.DataFrame = super().to_df(validation_reference, timeout)
            return computed
        return self._to_df_internal()

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,
        timeout: int | None = None,
    ) -> None:
        """Write the result, on-demand features with it, to a Parquet file or folder.

        Raises
        ------
        SavedDatasetLocationAlreadyExists
            If there is something, and it may not be overwritten.
        InputError
            If the storage is no Parquet file storage.
        """
        location = locate(storage.to_data_source(), self._repo_path)
        if not allow_overwrite and exists(location):
            raise SavedDatasetLocationAlreadyExists(location.path)
        save(location, self.to_arrow())

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._retrieved(as_frame=True).frame()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._retrieved(as_frame=False).table()

    def _retrieved(self, *, as_frame: bool) -> Retrieved:
        retrieved = self._read(as_frame)
        self._counts = retrieved.counts
        return retrieved


def _is_counted() -> bool:
    """Return whether Feast counts or logs reads; what nobody has imported, nobody enabled."""
    metrics = sys.modules.get("feast.metrics")
    return metrics is not None and (
        metrics._config.offline_features or metrics._config.audit_logging
    )
