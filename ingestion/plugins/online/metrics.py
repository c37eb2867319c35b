"""What Feast's feature server counts of an online read (``feast serve --metrics``).

The server has loaded Feast's metrics; elsewhere nobody counts, and to import them would make
folders and hooks that nobody asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

import numpy as np
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

from ingestion.plugins.online.answer import ViewAnswer


def count_read(seconds: float, answers: Sequence[tuple[str, ViewAnswer]]) -> None:
    """Count a read of some views, as Feast's own read counts it."""
    metrics: ModuleType | None = sys.modules.get("feast.metrics")
    if metrics is None or not metrics._config.online_features:
        return
    metrics.track_online_store_read(seconds)
    for name, answer in answers:
        present = int(np.count_nonzero(answer.status == FieldStatus.PRESENT))
        absent = len(answer.status) - present
        features = len(answer.values)
        metrics.track_feature_statuses(name, present * features, absent * features)
