"""Progress on a terminal."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from ingestion.jobs.ingest.scan import Progress


class _Bar(Progress):
    """A progress bar on stderr."""

    def __init__(self) -> None:
        self._bar: Any = None

    def start(self, total: int) -> None:
        if self._bar is not None:
            self._bar.total = total
        elif total:
            self._bar = tqdm(total=total, unit=" symbols", desc="scanner", file=sys.stderr)

    def advance(self, symbols: int) -> None:
        if self._bar is not None:
            self._bar.update(symbols)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def progress() -> Progress:
    """Return a progress bar on a terminal, and silence elsewhere."""
    return _Bar() if sys.stderr.isatty() else Progress()
