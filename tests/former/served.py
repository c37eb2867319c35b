"""What Feast gives of a project, as calls that can be sent to another process."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

SERVICES = ("training_v1", "served_history_v1", "selection_v1")


@dataclass(frozen=True)
class FeastCommand:
    """``feast …`` in a project's repository."""

    project: Path
    words: tuple[str, ...]
    where: str = "feature_repo"

    def __call__(self) -> None:
        from feast.cli.cli import cli

        os.chdir(self.project / self.where)
        sys.argv = ["feast", *self.words]
        cli()


@dataclass(frozen=True)
class Reads:
    """Joins at instants, and an online read at the last; prints both as JSON.

    Each is a list of ``[symbol, instant, {"group:feature": value}]``, of all services.
    """

    project: Path
    symbols: tuple[str, ...]
    instants: tuple[str, ...]

    def __call__(self) -> None:
        import pandas as pd
        from feast import FeatureStore

        store = FeatureStore(repo_path=str(self.project / "feature_repo"))
        keys = [(symbol, instant) for instant in self.instants for symbol in self.symbols]
        entities = pd.DataFrame(
            {
                "symbol": [symbol for symbol, _ in keys],
                "event_timestamp": [datetime.fromisoformat(instant) for _, instant in keys],
            }
        )
        joined, online = [], []
        for service in map(store.get_feature_service, SERVICES):
            rows = store.get_historical_features(entities, service, full_feature_names=True)
            joined += _told(keys, rows.to_arrow().to_pylist())
            asked = [{"symbol": symbol} for symbol in self.symbols]
            answer = store.get_online_features(service, asked, full_feature_names=True)
            online += _told(keys[-len(self.symbols) :], answer.to_arrow().to_pylist())
        print(json.dumps({"joined": joined, "online": online}))


def _told(keys: list[tuple[str, str]], rows: list[dict[str, Any]]) -> list[list[Any]]:
    """Return keys with their values by group and feature; the rows are in the keys' order."""
    told = []
    for (symbol, instant), row in zip(keys, rows, strict=True):
        assert row["symbol"] == symbol
        values = {name.replace("__", ":"): row[name] for name in row if "__" in name}
        told.append([symbol, instant, values])
    return told
