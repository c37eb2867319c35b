"""The examples of docstrings run; what others use of the four rooms below has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import ingestion.catalog
import ingestion.datasets
import ingestion.formulas
import ingestion.plugins
from ingestion.formulas import SHIPPED, BarFormula

MODULES = [
    module.name
    for package in (
        ingestion.formulas,
        ingestion.catalog,
        ingestion.datasets,
        ingestion.plugins,
    )
    for module in (
        pkgutil.ModuleInfo(None, package.__name__, True),  # type: ignore[arg-type]
        *pkgutil.walk_packages(package.__path__, f"{package.__name__}."),
    )
]
PLUG_INS = [
    f"ingestion.plugins.{name}"
    for name in (
        *("asof", "engine", "registry_file", "wide_sqlite", "wide_redis", "wide_postgres"),
        *("online.sqlite_file", "online.keys", "online.reading"),
    )
]
FINDER = doctest.DocTestFinder(exclude_empty=True)


def examples(name: str) -> list[doctest.DocTest]:
    """All examples of a module; a formula's are those of its function."""
    module = importlib.import_module(name)
    found = FINDER.find(module, name)
    for key, value in vars(module).items():
        if isinstance(value, BarFormula) and value.function.__module__ == name:
            found += FINDER.find(value.function, f"{name}.{key}", module=module)
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name: str):
    for test in examples(name):
        said: list[str] = []
        doctest.DocTestRunner().run(test, out=said.append)
        assert not said, "".join(said)


WITH_EXAMPLES = [name for name in MODULES if "formulas" in name or "datasets" in name]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_public_functions_of_formulas_and_datasets_have_an_example(name: str):
    module = importlib.import_module(name)
    for key, value in vars(module).items():
        is_own = getattr(value, "__module__", None) == name and not key.startswith("_")
        if is_own and inspect.isroutine(value):
            assert ">>>" in (inspect.getdoc(value) or ""), f"{key} has no example"


@pytest.mark.parametrize("name", [name for name in MODULES if ".catalog." in name])
def test_public_functions_of_the_catalog_have_an_example(name: str):
    """Methods too; one that overrides another has that one's."""
    module = importlib.import_module(name)
    for key, value in list(vars(module).items()):
        if getattr(value, "__module__", None) != name or key.startswith("_"):
            continue
        methods = vars(value).items() if inspect.isclass(value) else [(key, value)]
        for method, function in methods:
            function = getattr(function, "__func__", function)
            if method.startswith("_") or not inspect.isfunction(function):
                continue
            bases = value.__mro__ if inspect.isclass(value) else ()
            docs = [function.__doc__, *(getattr(vars(c).get(method), "__doc__", "") for c in bases)]
            assert any(">>>" in (doc or "") for doc in docs), f"{key}.{method} has no example"


@pytest.mark.parametrize("name", PLUG_INS)
def test_what_others_use_of_plug_ins_has_an_example(name: str):
    """The classes that ``feature_store.yaml`` names, and reading the online store without Feast."""
    module = importlib.import_module(name)
    for key, value in vars(module).items():
        is_own = getattr(value, "__module__", None) == name and not key.startswith("_")
        is_class = inspect.isclass(value) and key.endswith(("Store", "Engine", "Database"))
        if is_own and (inspect.isroutine(value) or is_class):
            assert ">>>" in (inspect.getdoc(value) or ""), f"{key} has no example"


def test_shipped_formulas_say_where_they_come_from():
    for each in SHIPPED.values():
        assert len(inspect.getdoc(each.function) or "") > 60
        assert not each.scanned or "Source: " in each.description, each.name
