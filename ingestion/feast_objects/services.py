"""What is asked for together.

``training_v1``
    the 17 of ``local_1d``: all of history, for training
``selection_v1``
    the 14 of ``tv_technicals_1d`` and the 3 that only ``local_1d`` has: the same 17 names, so that
    a model moves from one to the other
``served_history_v1``
    the 14 of ``tv_technicals_1d``, for training on snapshots
``parity_v1``
    both, for comparing them; read with ``full_feature_names=True``
"""

from __future__ import annotations

from feast import FeatureService, FeatureView

from ingestion.catalog import LOCAL_1D, TV_TECHNICALS_1D, Column
from ingestion.catalog.local_1d import BAR_FEATURES


def training_v1(local: FeatureView) -> FeatureService:
    """Describe what models are trained on."""
    return FeatureService(
        name="training_v1",
        features=[_only(local, LOCAL_1D.features)],
        description="Features of all history, recomputed from bars",
    )


def selection_v1(technicals: FeatureView, local: FeatureView) -> FeatureService:
    """Describe what is selected on: the names that models were trained on, freshly served."""
    return FeatureService(
        name="selection_v1",
        features=[_only(technicals, TV_TECHNICALS_1D.features), _only(local, BAR_FEATURES)],
        description="Today's features of the candidates",
    )


def served_history_v1(technicals: FeatureView) -> FeatureService:
    """Describe the features as they were served."""
    return FeatureService(
        name="served_history_v1",
        features=[_only(technicals, TV_TECHNICALS_1D.features)],
        description="The features as they were served, for training on snapshots",
    )


def parity_v1(technicals: FeatureView, local: FeatureView) -> FeatureService:
    """Describe served and recomputed values side by side."""
    return FeatureService(
        name="parity_v1",
        features=[
            _only(technicals, TV_TECHNICALS_1D.features),
            _only(local, LOCAL_1D.features),
        ],
        description="Served beside recomputed; read with full_feature_names=True",
    )


def _only(view: FeatureView, columns: tuple[Column, ...]) -> FeatureView:
    return view[[column.name for column in columns]]
