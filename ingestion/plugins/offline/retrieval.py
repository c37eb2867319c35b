"""The job that Feast hands to its users: nothing is read before they ask."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
from feast import OnDemandFeatureView
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage

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


@dataclass(frozen=True)
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

        Arrow's memory of each column is free when pandas has it: what was read is used up.
        """
        columns: pd.DataFrame = self.columns.to_pandas(self_destruct=True)
        if self.entities is None:
            return columns
        parts = [self.entities.frame(), columns]
        # The stubs are those of pandas 3, which copies only when somebody writes.
        return pd.concat(parts, axis=1, copy=False)  # type: ignore[call-overload,no-any-return]


class AsofRetrievalJob(RetrievalJob):
    """A retrieval that reads when it is asked for its result, each time anew."""

    def __init__(
        self,
        read: Callable[[], Retrieved],
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
        return self._retrieved().frame()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._retrieved().table()

    def _retrieved(self) -> Retrieved:
        retrieved = self._read()
        self._counts = retrieved.counts
        return retrieved


def _is_counted() -> bool:
    """Return whether Feast counts or logs reads; what nobody has imported, nobody enabled."""
    metrics = sys.modules.get("feast.metrics")
    return metrics is not None and (
        metrics._config.offline_features or metrics._config.audit_logging
    )
