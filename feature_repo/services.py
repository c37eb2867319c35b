"""What is asked for together.

``selection_v1``
    today's features of the candidates
``served_history_v1``
    the same features as they were served, for training on snapshots
"""

from __future__ import annotations

from feast import FeatureService, FeatureView

from feature_repo.catalog import TV_TECHNICALS_1D


def selection_v1(technicals: FeatureView) -> FeatureService:
    """Today's features of the candidates."""
    return FeatureService(
        name="selection_v1",
        features=[_features(technicals)],
        description="Today's features of the candidates",
    )


def served_history_v1(technicals: FeatureView) -> FeatureService:
    """Features as they were served, for training on snapshots."""
    return FeatureService(
        name="served_history_v1",
        features=[_features(technicals)],
        description="The features as they were served, for training on snapshots",
    )


def _features(technicals: FeatureView) -> FeatureView:
    """Leave out the bar times: they describe the features and are none."""
    return technicals[[column.name for column in TV_TECHNICALS_1D.features]]
