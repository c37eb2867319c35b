"""The former place of :mod:`ingestion.plugins.asof`, for one version."""

import warnings

from ingestion.plugins.asof import AsofOfflineStore, AsofOfflineStoreConfig

__all__ = ["AsofOfflineStore", "AsofOfflineStoreConfig"]

warnings.warn(
    "feature_repo.stores.asof is ingestion.plugins.asof now: write that into feature_store.yaml",
    FutureWarning,
    stacklevel=2,
)
