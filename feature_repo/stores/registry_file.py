"""The former place of :mod:`ingestion.plugins.registry_file`, for one version."""

import warnings

from ingestion.plugins.registry_file import WholeFileRegistryStore

__all__ = ["WholeFileRegistryStore"]

warnings.warn(
    "feature_repo.stores.registry_file is ingestion.plugins.registry_file now: "
    "write that into feature_store.yaml",
    FutureWarning,
    stacklevel=2,
)
