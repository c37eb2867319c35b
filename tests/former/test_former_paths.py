"""The class paths of version 0.1.0 work for one more version, with a warning."""

from __future__ import annotations

import importlib
import sys

import pytest
from feast.repo_config import RepoConfig

PLUGINS = {
    "asof": "AsofOfflineStore",
    "wide_sqlite": "WideSqliteOnlineStore",
    "engine": "ArrowComputeEngine",
    "registry_file": "WholeFileRegistryStore",
}


@pytest.mark.parametrize(("module", "name"), PLUGINS.items())
def test_a_former_class_path_is_the_class_with_a_warning(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delitem(sys.modules, f"feature_repo.stores.{module}", raising=False)
    with pytest.warns(FutureWarning, match=f"is ingestion.plugins.{module} now"):
        former = importlib.import_module(f"feature_repo.stores.{module}")
    assert getattr(former, name) is getattr(
        importlib.import_module(f"ingestion.plugins.{module}"), name
    )


def test_the_former_module_of_the_formulas_computes_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "ingestion.local", raising=False)
    with pytest.warns(FutureWarning, match="is ingestion.formulas now"):
        former = importlib.import_module("ingestion.local")
    from ingestion.formulas import compute_local_features

    assert former.compute_local_features is compute_local_features


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("package", ["ingestion.plugins", "feature_repo.stores"])
def test_a_configuration_is_valid_under_both_paths(package: str):
    config = RepoConfig(
        project="both",
        provider="local",
        registry="registry.db",
        offline_store={"type": f"{package}.asof.AsofOfflineStore"},
        online_store={"type": f"{package}.wide_sqlite.WideSqliteOnlineStore", "path": "online.db"},
        batch_engine={"type": f"{package}.engine.ArrowComputeEngine"},
        entity_key_serialization_version=3,
    )
    configured = (config.offline_store, config.online_store, config.batch_engine)
    assert [each.type.rpartition(".")[2] for each in configured] == [
        "AsofOfflineStore",
        "WideSqliteOnlineStore",
        "ArrowComputeEngine",
    ]
    assert all(each.type.startswith(package) for each in configured)
