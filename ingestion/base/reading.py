"""Reading files that another process may replace meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_ATTEMPTS = 5

Made = TypeVar("Made")


def names_in(folder: Path) -> list[str]:
    """List a folder, in whatever order, without missing what changes places with another meanwhile.

    On Btrfs, a folder that is exchanged while its parent is being listed comes to lie behind the
    listing's end. What is exchanged once cannot be missing from two listings in a row.

    Raises
    ------
    FileNotFoundError
        If the folder is missing.
    """
    names = None
    while (now := {path.name for path in folder.iterdir()}) != names:
        names = now
    return list(now)


def reading_again(read: Callable[[], Made]) -> Made:
    """List files and read them, and anew whenever one of them has vanished in between.

    Compaction replaces files, each by another name. For readers that do not hold the lakehouse
    lock, which keeps compaction away; they may have to read until it is done.

    Raises
    ------
    FileNotFoundError
        If the same file is missing again and again: nothing replaced it.
    """
    missing: Counter[str] = Counter()
    while True:
        try:
            return read()
        except FileNotFoundError as error:
            missing[str(error)] += 1
            if missing[str(error)] == _ATTEMPTS:
                raise
