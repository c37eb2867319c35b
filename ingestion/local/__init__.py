"""The former place of :mod:`ingestion.formulas`, for one version."""

import warnings

from ingestion.formulas import FEATURES, compute_local_features

__all__ = ["FEATURES", "compute_local_features"]

warnings.warn(
    "ingestion.local is ingestion.formulas now: import from there", FutureWarning, stacklevel=2
)
