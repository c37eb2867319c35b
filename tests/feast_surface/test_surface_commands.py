"""Feast's commands over a repository's definitions."""

from __future__ import annotations

from pathlib import Path

import pytest
from feast.errors import FeatureViewNotFoundException

from tests.feast_surface.repositories import (
    DAY,
    MONDAY,
    SYMBOL,
    Repository,
    define,
    price_file,
    price_view,
    served,
)
from tests.feast_surface.surface import surface


@surface("`feast apply` twice", remark="what is served stays")
def test_a_second_apply_changes_nothing(loaded: Repository):
    before = {each.name: each.to_proto() for each in loaded.store.list_feature_views()}
    again = loaded.opened()
    again.apply([SYMBOL, price_view(again.get_feature_view("prices").batch_source)])
    assert [each.name for each in again.list_feature_views()] == list(before)
    assert served(loaded.opened(), "A", "B") == {"price": [3.5, 2.5]}


@surface(
    "`feast plan`, `feast apply`, `feast materialize`",
    remark="of stores that a class path names, Feast's plan leaves out the infrastructure",
)
def test_definitions_are_planned_applied_and_loaded(repository: Repository, monkeypatch):
    define(repository, monkeypatch)
    assert "Created feature view prices" in repository.run("plan")
    assert repository.opened().list_feature_views() == []
    repository.run("apply")
    assert [each.name for each in repository.opened().list_feature_views()] == ["prices"]
    assert "No changes to registry" in repository.run("plan")
    window = [f"{MONDAY + days * DAY:%Y-%m-%dT%H:%M:%S}" for days in (-1, 0)]
    repository.run("materialize", *window)
    assert served(repository.opened(), "A") == {"price": [1.5]}
    repository.run("materialize-incremental", f"{MONDAY + DAY:%Y-%m-%dT%H:%M:%S}")
    assert served(repository.opened(), "A") == {"price": [3.5]}


@surface("`feast delete`")
def test_what_is_deleted_is_neither_registered_nor_served(loaded: Repository):
    loaded.run("delete", "prices")
    with pytest.raises(FeatureViewNotFoundException):
        loaded.opened().get_feature_view("prices")
    store = loaded.opened()
    store.apply([price_view(price_file(loaded))])
    assert served(store, "A") == {"price": [None]}


@surface("`feast teardown`", remark="the online file goes, the offline files stay")
def test_a_teardown_removes_what_was_made(loaded: Repository):
    loaded.run("teardown")
    assert not (loaded.folder / "online.db").exists()
    assert loaded.opened().list_feature_views() == []
    assert (loaded.folder / "feed.parquet").exists()


@surface("several projects: one registry file, one online file")
def test_projects_of_the_same_names_do_not_meet(repository: Repository, tmp_path: Path):
    one = {"path": str(tmp_path / "registry.db")}
    both = {"path": str(tmp_path / "online.db")}
    shops = [
        Repository(repository.kind, tmp_path / name, name, registry=one, online_store=both)
        for name in ("first", "second")
    ]
    for shop in shops:
        shop.store.apply([SYMBOL, price_view(price_file(shop))])
    shops[0].store.materialize(MONDAY - DAY, MONDAY)
    shops[1].store.materialize(MONDAY - DAY, MONDAY + DAY)
    assert [served(shop.opened(), "A") for shop in shops] == [{"price": [1.5]}, {"price": [3.5]}]
    assert [each.name for each in shops[0].opened().list_projects()] == ["first", "second"]
    shops[0].run("delete", "prices")
    assert served(shops[1].opened(), "A") == {"price": [3.5]}
