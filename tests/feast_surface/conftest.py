"""Runs each test of Feast's surface against what its line says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.feast_surface.repositories import (
    DAY,
    MONDAY,
    SYMBOL,
    Repository,
    price_file,
    price_view,
)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[Any]:
    """Let a test with a line come out as the line says."""
    line = getattr(pyfuncitem.function, "line", None)
    if line is None:
        return (yield)
    with line.outcomes[pyfuncitem.callspec.params["kind"]].checked():
        yield
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore what Feast and its libraries warn of, in the tests of this folder."""
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture
def repository(kind: str, tmp_path: Path) -> Repository:
    """An empty repository of the kind."""
    return Repository(kind, tmp_path / kind)


@pytest.fixture
def loaded(repository: Repository) -> Repository:
    """The repository with one view, applied and materialized."""
    repository.store.apply([SYMBOL, price_view(price_file(repository))])
    repository.store.materialize(MONDAY - DAY, MONDAY + DAY)
    return repository
