"""The former place of :mod:`ingestion.plugins.engine`, for one version."""

import warnings

from ingestion.plugins.engine import ArrowComputeEngine, ArrowComputeEngineConfig

__all__ = ["ArrowComputeEngine", "ArrowComputeEngineConfig"]

warnings.warn(
    "feature_repo.stores.engine is ingestion.plugins.engine now: "
    "write that into feature_store.yaml",
    FutureWarning,
    stacklevel=2,
)
