"""Feast's feature server on the wide store, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from wide_tools import NOW, PRICES, SYMBOL, repository, rows, view, write

from tests.serving import serving

ASKED = {"features": ["v:price", "v:size"], "entities": {"symbol": ["A", "B", "nobody"]}}


@pytest.fixture(autouse=True)
def at_now(at: Callable[..., None]) -> None:
    at(NOW)


def test_what_the_server_counts_is_counted(tmp_path: Path, monkeypatch):
    from feast import metrics

    monkeypatch.setattr(metrics._config, "online_features", True)
    store = repository(tmp_path)
    store.apply([SYMBOL, view(PRICES, name="counted")])
    write(store, rows(["A"], NOW, price=[1.0], size=[None]), "counted")
    store.get_online_features(["counted:price", "counted:size"], {"symbol": ["A", "B", "C"]})
    totals = metrics.online_features_status_total
    counted = {
        status: totals.labels(feature_view="counted", status=status)._value.get()
        for status in ("present", "not_found")
    }
    assert counted == {"present": 2, "not_found": 4}


@pytest.mark.filterwarnings("ignore")  # the server's own
def test_the_server_answers_what_the_sdk_answers_and_takes_pushes(tmp_path: Path):
    store = repository(tmp_path)
    store.apply([SYMBOL, view(PRICES)])
    old = NOW - timedelta(days=9)
    write(store, rows(["A", "B"], [NOW, old], price=[0.1, 2.0], size=[None, 1.0]))
    stamp = [NOW.isoformat()]
    row = {"symbol": ["B"], "price": [5.0], "size": [6.0]}
    row |= {"event_timestamp": stamp, "created_timestamp": stamp}
    with serving(store) as post:
        answer = post("/get-online-features", ASKED)
        before = store.get_online_features(ASKED["features"], ASKED["entities"]).to_dict()
        post("/write-to-online-store", {"feature_view_name": "v", "df": row})
        with ThreadPoolExecutor(8) as pool:
            later = list(pool.map(lambda _: post("/get-online-features", ASKED), range(16)))
    served = dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
    assert {name: column["values"] for name, column in served.items()} == before
    assert served["price"]["statuses"] == ["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"]
    assert served["size"]["event_timestamps"] == [
        "2026-01-16T21:30:00Z", "2026-01-07T21:30:00Z", "1970-01-01T00:00:00Z"
    ]  # fmt: skip
    after = store.get_online_features(ASKED["features"], ASKED["entities"]).to_dict()
    assert after["price"] == [0.1, 5.0, None]
    for each in later:
        values = [column["values"] for column in each["results"]]
        assert dict(zip(each["metadata"]["feature_names"], values, strict=True)) == after
