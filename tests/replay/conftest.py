"""A replay scanner over the sample, and plain HTTP to talk to it: no client of ours in between."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from ingestion.replay import Panel, ReplayScanner

NOW = datetime(2021, 4, 12, 21, 30, tzinfo=UTC)


@pytest.fixture
def start_replay(sample_panel: Panel) -> Iterator[Callable[..., ReplayScanner]]:
    """Start replay scanners that stop with the test."""
    with ExitStack() as stack:

        def start(
            now: datetime = NOW, panel: Panel = sample_panel, **options: Any
        ) -> ReplayScanner:
            return stack.enter_context(ReplayScanner(panel, now=lambda: now, **options))

        yield start


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture
def scan(
    start_replay: Callable[..., ReplayScanner], http: requests.Session
) -> Callable[..., requests.Response]:
    """Post a question to a fault-free replay."""
    url = start_replay().url

    def post(market: str = "global", **question: Any) -> requests.Response:
        return http.post(f"{url}/{market}/scan", json=question, timeout=60)

    return post
