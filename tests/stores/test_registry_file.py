"""Feast's registry file, for many processes: what one has committed, no other loses."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from feast import Entity, FeatureStore, ValueType
from feast.types import Float64
from wide_tools import NOW, PRICES, SYMBOL, WIDE, view

from ingestion.base.errors import FeastRepositoryError, InputError
from ingestion.plugins import registry_file
from ingestion.plugins.registry_file import WholeFileRegistryStore
from ingestion.plugins.wide_sqlite import WideSqliteOnlineStore
from tests.meanwhile import Meanwhile


def opened(folder: Path) -> FeatureStore:
    """Open the repository as a process does that starts now."""
    (folder / "feature_store.yaml").write_text(
        "project: p\nprovider: local\n"
        "registry:\n  path: data/registry.db\n"
        "  registry_store_type: ingestion.plugins.registry_file.WholeFileRegistryStore\n"
        f"online_store: {{type: {WIDE}, path: data/online.db}}\n"
        "offline_store: {type: dask}\nentity_key_serialization_version: 3\n"
    )
    return FeatureStore(repo_path=str(folder))


def entity(name: str) -> Entity:
    return Entity(name=name, value_type=ValueType.STRING)


def add(store: FeatureStore, name: str) -> None:
    store.registry.apply_entity(entity(name), store.project)


def entities(folder: Path) -> set[str]:
    """Return what a process finds that starts now."""
    return {each.name for each in opened(folder).list_entities()}


def test_what_another_commits_while_one_applies_is_kept(tmp_path: Path, monkeypatch):
    store = opened(tmp_path)
    store.apply([SYMBOL, view(PRICES)])
    update = WideSqliteOnlineStore.update

    def with_another(self, *args, **kwargs):
        monkeypatch.setattr(WideSqliteOnlineStore, "update", update)
        other = opened(tmp_path)
        add(other, "others")
        other.registry.apply_materialization(other.get_feature_view("v"), "p", NOW, NOW)
        update(self, *args, **kwargs)

    monkeypatch.setattr(WideSqliteOnlineStore, "update", with_another)
    changed = [SYMBOL, entity("mine"), view({**PRICES, "more": Float64})]
    with pytest.raises(InputError, match=r"registry\.db was changed .* run it again"):
        store.apply(changed)
    assert entities(tmp_path) == {"symbol", "others"}
    for again in (store, opened(tmp_path)):
        again.apply(changed)
        assert entities(tmp_path) == {"symbol", "others", "mine"}
        assert opened(tmp_path).get_feature_view("v").materialization_intervals == [(NOW, NOW)]


def test_a_commit_that_went_unnoticed_is_refused_once(tmp_path: Path):
    """Feast looks at the file's time after its own commit: another may have come before that."""
    store, file = opened(tmp_path), tmp_path / "data" / "registry.db"
    add(store, "mine")
    add(opened(tmp_path), "others")
    os.utime(file, ns=(0, 0))
    with pytest.raises(InputError, match="run it again"):
        add(store, "more")
    add(store, "more")
    assert entities(tmp_path) == {"mine", "others", "more"}


def test_threads_of_one_store_do_not_refuse_each_other(tmp_path: Path, monkeypatch):
    store, meanwhile = opened(tmp_path), Meanwhile(monkeypatch)
    add(store, "a")
    registry = store.registry
    real = registry_file.replace

    def beside_another(path: Path, content: bytes) -> None:
        monkeypatch.setattr(registry_file, "replace", real)
        meanwhile(registry.commit)
        real(path, content)

    monkeypatch.setattr(registry_file, "replace", beside_another)
    registry.commit()
    meanwhile.ended()
    assert entities(tmp_path) == {"a"}


def test_those_that_take_turns_need_not_begin_again(tmp_path: Path):
    stores = [opened(tmp_path) for _ in range(2)]
    expected = set()
    for number in range(20):
        for who, store in enumerate(stores):
            add(store, f"e{number}_{who}")
            expected.add(f"e{number}_{who}")
    assert entities(tmp_path) == expected


def test_a_change_is_noticed_when_the_clock_has_gone_back(tmp_path: Path):
    add(opened(tmp_path), "a")
    tomorrow = (tmp_path / "data" / "registry.db").stat().st_mtime + 86_400
    os.utime(tmp_path / "data" / "registry.db", (tomorrow, tomorrow))
    stores = [opened(tmp_path) for _ in range(2)]
    for store in stores:
        store.refresh_registry()
    for store, name in zip(stores * 2, "bcde", strict=True):
        add(store, name)
    assert entities(tmp_path) == set("abcde")


def add_stubbornly(folder: Path, who: int, together: Barrier) -> None:
    store = opened(folder)
    for number in range(10):
        together.wait()
        while True:
            try:
                add(store, f"e{number}_{who}")
            except FeastRepositoryError:
                store.refresh_registry()
            else:
                break


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_that_begin_again_when_they_are_told_lose_nothing(tmp_path: Path):
    opened(tmp_path)
    context = multiprocessing.get_context("fork")
    together = context.Barrier(3, timeout=60)
    processes = [
        context.Process(target=add_stubbornly, args=(tmp_path, who, together)) for who in range(3)
    ]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    assert [each.exitcode for each in processes] == [0, 0, 0]
    assert entities(tmp_path) == {f"e{number}_{who}" for number in range(10) for who in range(3)}


def test_a_reader_that_found_no_registry_takes_the_one_that_was_made_meanwhile(
    tmp_path: Path, monkeypatch
):
    write = WholeFileRegistryStore._write_registry

    def after_another(self, registry_proto):
        monkeypatch.setattr(WholeFileRegistryStore, "_write_registry", write)
        opened(tmp_path).apply([SYMBOL, view(PRICES)])
        write(self, registry_proto)

    monkeypatch.setattr(WholeFileRegistryStore, "_write_registry", after_another)
    reader = opened(tmp_path)
    assert entities(tmp_path) == {"symbol"}
    assert [each.name for each in reader.list_feature_views(allow_cache=True)] == ["v"]
    add(reader, "more")
    assert entities(tmp_path) == {"symbol", "more"}


def test_a_write_that_failed_may_be_tried_again(tmp_path: Path, monkeypatch):
    store = opened(tmp_path)
    add(store, "a")
    before = (tmp_path / "data" / "registry.db").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: os.close(-1))
        with pytest.raises(OSError, match="Bad file descriptor"):
            add(store, "b")
    assert (tmp_path / "data" / "registry.db").read_bytes() == before
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["registry.db"]
    store.registry.commit()
    assert entities(tmp_path) == {"a", "b"}


@pytest.mark.parametrize("how", ["teardown", "unlink"])
def test_a_registry_that_is_gone_is_made_again(tmp_path: Path, how: str):
    store = opened(tmp_path)
    add(store, "a")
    if how == "teardown":
        store.teardown()
    else:
        (tmp_path / "data" / "registry.db").unlink()
    add(store, "b")
    assert "b" in entities(tmp_path)
