"""All Feast objects of a repository."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from feast import Entity, FeatureService, FeatureView, FileSource

from ingestion.catalog import LOCAL_1D, TV_TECHNICALS_1D
from ingestion.feast_objects import entity as entities
from ingestion.feast_objects import services
from ingestion.feast_objects.views import feature_view, file_source


class Definitions(NamedTuple):
    """All objects of the repository."""

    symbol: Entity
    tv_technicals_1d_source: FileSource
    tv_technicals_1d: FeatureView
    local_1d_source: FileSource
    local_1d: FeatureView
    training_v1: FeatureService
    selection_v1: FeatureService
    served_history_v1: FeatureService
    parity_v1: FeatureService

    @property
    def views(self) -> tuple[FeatureView, ...]:
        """The feature views."""
        return self.tv_technicals_1d, self.local_1d

    @property
    def services(self) -> tuple[FeatureService, ...]:
        """The feature services."""
        return self.training_v1, self.selection_v1, self.served_history_v1, self.parity_v1


def define(lakehouse: Path) -> Definitions:
    """Describe a lakehouse to Feast."""
    technicals_source = file_source(TV_TECHNICALS_1D, lakehouse)
    technicals = feature_view(TV_TECHNICALS_1D, technicals_source)
    local_source = file_source(LOCAL_1D, lakehouse)
    local = feature_view(LOCAL_1D, local_source)
    return Definitions(
        symbol=entities.symbol,
        tv_technicals_1d_source=technicals_source,
        tv_technicals_1d=technicals,
        local_1d_source=local_source,
        local_1d=local,
        training_v1=services.training_v1(local),
        selection_v1=services.selection_v1(technicals, local),
        served_history_v1=services.served_history_v1(technicals),
        parity_v1=services.parity_v1(technicals, local),
    )
