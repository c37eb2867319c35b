"""Reading files that another process may remove meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

_ATTEMPTS = 5

Made = TypeVar("Made")


def reading_again(read: Callable[[], Made]) -> Made:
    """List files and read them, and again whenever one of them is gone in between.

    Compaction removes files that a new one replaces. Readers that have locked the lakehouse do not
    meet it; others may have to read again until it is done.

    Raises
    ------
    FileNotFoundError
        If the same file is missing again and again: nothing replaces it.
    """
    missing: Counter[str] = Counter()
    while True:
        try:
            return read()
        except FileNotFoundError as error:
            missing[str(error)] += 1
            if missing[str(error)] == _ATTEMPTS:
                raise
