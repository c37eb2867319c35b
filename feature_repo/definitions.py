"""The Feast objects of the repository, and the one file that ``feast apply`` loads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from feast import Entity, FeatureService, FeatureView, FileSource

from feature_repo import entities, services
from feature_repo.catalog import TV_TECHNICALS_1D
from feature_repo.views import feature_view, file_source
from ingestion.settings import Settings


class Definitions(NamedTuple):
    """All objects, in the order in which they are assigned below."""

    symbol: Entity
    tv_technicals_1d_source: FileSource
    tv_technicals_1d: FeatureView
    selection_v1: FeatureService
    served_history_v1: FeatureService


def define(lakehouse: Path) -> Definitions:
    """Describe a lakehouse to Feast."""
    source = file_source(TV_TECHNICALS_1D, lakehouse)
    technicals = feature_view(TV_TECHNICALS_1D, source)
    return Definitions(
        entities.symbol,
        source,
        technicals,
        services.selection_v1(technicals),
        services.served_history_v1(technicals),
    )


# Feast looks for its objects among a module's names.
symbol, tv_technicals_1d_source, tv_technicals_1d, selection_v1, served_history_v1 = define(
    Settings.from_environment().lakehouse
)
