"""What is in an object store, as it was listed once and as its only writer has changed it since.

Who has the lease lists a dataset by one request per 1,000 files, and then knows: nobody else
changes it meanwhile. (What Feast's offline writes add meanwhile, without the lease, the next run
sees.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ingestion.base.objects import Stored

Inside = tuple[list[str], list[Stored]]
"""Folders, by name, and objects in a folder, in order."""


def area_of(key: str) -> str:
    """Return what is listed at once with a key: a dataset, or one of the lakehouse's own folders.

    Examples
    --------
    >>> area_of("ohlcv_1d/date=2026-01-02/part-0.parquet"), area_of("_runs/20260102T1/files.jsonl")
    ('ohlcv_1d', '_runs')
    """
    own, dated, _ = key.partition("/date=")
    if dated:
        return own
    return key.partition("/")[0] if key.startswith("_") else key


class Listing:
    """What was listed of some areas; an area is a folder with all that is in it."""

    def __init__(self) -> None:
        self._areas: set[str] = set()
        self._files: dict[str, dict[str, Stored]] = {}
        self._folders: dict[str, set[str]] = {}

    def knows(self, key: str) -> bool:
        """Return whether a file or a folder is in what was listed."""
        return bool(self._areas) and not self._areas.isdisjoint(_and_above(key))

    def take(self, area: str, objects: Iterable[Stored]) -> None:
        """Take what a store has listed of an area."""
        for each in objects:
            self.put(each)
        self._areas.add(area)

    def put(self, stored: Stored) -> None:
        """Add an object, or what one has become."""
        folder, _, name = stored.key.rpartition("/")
        if folder not in self._files:
            self._files[folder] = {}
            above, _, inner = folder.rpartition("/")
            while inner and inner not in self._folders.setdefault(above, set()):
                self._folders[above].add(inner)
                above, _, inner = above.rpartition("/")
        self._files[folder][name] = stored

    def remove(self, keys: Collection[str]) -> None:
        """Take objects out."""
        for key in keys:
            folder, _, name = key.rpartition("/")
            self._files.get(folder, {}).pop(name, None)

    def get(self, key: str) -> Stored | None:
        """Return an object; None if there is none."""
        folder, _, name = key.rpartition("/")
        return self._files.get(folder, {}).get(name)

    def inside(self, folder: str) -> Inside:
        """Return what is in a folder."""
        within = f"{folder}/" if folder else ""
        folders = sorted(
            name for name in self._folders.get(folder, ()) if self.has_files(f"{within}{name}")
        )
        return folders, [stored for _, stored in sorted(self._files.get(folder, {}).items())]

    def has_files(self, folder: str) -> bool:
        """Return whether there is any object below a folder."""
        return bool(self._files.get(folder)) or any(
            self.has_files(f"{folder}/{name}") for name in self._folders.get(folder, ())
        )


def _and_above(key: str) -> list[str]:
    parts = key.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
