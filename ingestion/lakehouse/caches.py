"""Files that may be deleted at any time, and are made again: what they have is derived."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.parts import StoredFile

CACHES = "_caches"


class _CacheFileFields(NamedTuple):
    name: str
    lakehouse: Lakehouse


class CacheFile(StoredFile, _CacheFileFields):
    """A file of the caches; it need not be there."""

    __slots__ = ()

    @property
    def key(self) -> str:  # type: ignore[override]
        """Where it is below the lakehouse's root."""
        return f"{CACHES}/{self.name}"

    def put(self, staged: Path) -> None:
        """Give it a staged file's content, wholly or not at all; that file moves."""
        self.lakehouse.put(self.key, staged)
