"""The former place of :mod:`ingestion.plugins.wide_sqlite`, for one version."""

import warnings

from ingestion.plugins.wide_sqlite import WideSqliteOnlineStore, WideSqliteOnlineStoreConfig

__all__ = ["WideSqliteOnlineStore", "WideSqliteOnlineStoreConfig"]

warnings.warn(
    "feature_repo.stores.wide_sqlite is ingestion.plugins.wide_sqlite now: "
    "write that into feature_store.yaml",
    FutureWarning,
    stacklevel=2,
)
