"""What people run who call Feast by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class StockMaterialize:
    """``feast materialize START END``."""

    repository: Path
    start: datetime
    end: datetime

    def __call__(self) -> None:
        from feast import FeatureStore

        FeatureStore(repo_path=str(self.repository)).materialize(self.start, self.end)
