"""The job that Feast hands to its users: nothing is read before they ask."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
from feast import OnDemandFeatureView
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage

from ingestion.base.errors import InputError
from ingestion.plugins.offline.declared import locate
from ingestion.plugins.offline.files import Location
from ingestion.plugins.offline.historical import Retrieved, ViewCounts
from ingestion.plugins.offline.writing import exists, files_in, filling, save

if TYPE_CHECKING:
    from feast.saved_dataset import ValidationReference


class AsofRetrievalJob(RetrievalJob):
    """A retrieval that reads when it is asked for its result, each time anew.

    Parameters
    ----------
    write
        Answers into the files of an empty folder. None if what is read is written.
    in_order
        Whether what it writes is in the order of the entity rows, as far as these have one.
    staging
        Where answers in files are made that nobody named a place for.
    """

    def __init__(
        self,
        read: Callable[[bool], Retrieved],
        *,
        write: Callable[[Location], Mapping[str, ViewCounts]] | None = None,
        in_order: bool = True,
        staging: Location | None = None,
        repo_path: str | None,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._read = read
        self._write = write
        self._in_order = in_order
        self._staging = staging
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

        Of entity rows in files, a folder gets one file for each task, and nothing passes through
        this process.

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
        if self._write is None or not self._in_order or location.path.endswith(".parquet"):
            save(location, self.to_arrow())
        else:
            self._fill(location, self._write)

    def supports_remote_storage_export(self) -> bool:
        """Return whether ``offline_store`` has a ``staging_location``."""
        return self._staging is not None

    def to_remote_storage(self) -> list[str]:
        """Write the result to a new folder of the ``staging_location``, one file for each task.

        Returns
        -------
        list of str
            The files' addresses, in the order of time.

        Raises
        ------
        InputError
            If there is no ``staging_location``.
        """
        if self._staging is None:
            raise InputError(
                "to_remote_storage needs a place: set staging_location in offline_store"
            )
        folder = self._staging.inside(uuid.uuid4().hex)
        if self._write is None:
            save(folder, self.to_arrow())
        else:
            self._fill(folder, self._write)
        return files_in(folder)

    def _fill(
        self, folder: Location, write: Callable[[Location], Mapping[str, ViewCounts]]
    ) -> None:
        with filling(folder) as made:
            self._counts = write(made)

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
