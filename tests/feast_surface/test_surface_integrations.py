"""What Feast tells other programs: MLflow, and who reads OpenLineage."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest

from tests.feast_surface.repositories import (
    DAY,
    MONDAY,
    SYMBOL,
    Repository,
    price_file,
    price_view,
    served,
)
from tests.feast_surface.surface import surface

MLFLOW = ("mlflow", "on 28 November 2026 with mlflow 3.17.2")
OPENLINEAGE = ("openlineage", "on 28 November 2026 with openlineage-python 1.54.0")


@surface(
    "MLflow: what is read and materialized is logged (`mlflow:` in `feature_store.yaml`)",
    remark="MLflow needs an older pyarrow",
    by_hand=MLFLOW,
)
def test_a_run_names_the_features_it_read(repository: Repository, tmp_path: Path):
    import mlflow

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    told = {"enabled": True, "tracking_uri": uri, "auto_log": True, "log_operations": True}
    shop = Repository(repository.kind, repository.folder, mlflow=told)
    shop.store.apply([SYMBOL, price_view(price_file(shop))])
    shop.store.materialize(MONDAY - DAY, MONDAY)
    mlflow.set_tracking_uri(uri)
    with mlflow.start_run() as run:
        asked = pd.DataFrame({"symbol": ["A"], "event_timestamp": [MONDAY]})
        found = shop.store.get_historical_features(asked, ["prices:price"]).to_df()
        assert found["price"].tolist() == [1.5]
        assert served(shop.store, "A") == {"price": [1.5]}
    logged = mlflow.get_run(run.info.run_id).data
    assert "prices:price" in json.dumps({**logged.params, **logged.tags})
    operations = mlflow.search_runs(search_all_experiments=True)
    assert len(operations) >= 3  # the run, the apply and the materialization


class Listener(BaseHTTPRequestHandler):
    """Takes events, as a lineage server does."""

    events: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.events.append(json.loads(body))
        self.send_response(201)
        self.end_headers()


@pytest.fixture
def lineage() -> Iterator[str]:
    Listener.events.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@surface("OpenLineage: what is applied and materialized is reported", by_hand=OPENLINEAGE)
def test_events_tell_what_was_applied_and_loaded(repository: Repository, lineage: str):
    told = {"enabled": True, "transport_type": "http", "transport_url": lineage}
    shop = Repository(repository.kind, repository.folder, openlineage=told)
    shop.store.apply([SYMBOL, price_view(price_file(shop))])
    applied = list(Listener.events)
    assert "prices" in json.dumps(applied)
    shop.store.materialize(MONDAY - DAY, MONDAY)
    loaded = [each["eventType"] for each in Listener.events[len(applied) :]]
    assert loaded == ["START", "COMPLETE"]
    assert served(shop.store, "A") == {"price": [1.5]}
