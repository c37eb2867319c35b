"""A replay scanner at a fixed clock, told per test how to fail."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from scanner_tools import NOW, StartScanner, Stocks

from ingestion.replay import Panel, ReplayScanner


@pytest.fixture(scope="session")
def recordings() -> Path:
    return Path(__file__).resolve().parent.parent / "recordings"


@pytest.fixture
def start_scanner(sample_panel: Panel) -> Iterator[StartScanner]:
    """Start replay scanners that stop with the test."""
    with ExitStack() as stack:

        def start(now: datetime = NOW, **options: Any) -> ReplayScanner:
            return stack.enter_context(ReplayScanner(sample_panel, now=lambda: now, **options))

        yield start


@pytest.fixture(scope="session")
def stocks(sample_panel: Panel) -> Stocks:
    """Twelve symbols with all features, in an order that is not the scanner's."""
    return tuple(symbol for symbol in sample_panel.symbols if symbol.startswith("NASDAQ:"))[:12]
