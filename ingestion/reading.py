"""Reading files that another process may replace meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_ATTEMPTS = 5

Made = TypeVar("Made")


def reading_again(read: Callable[[], Made]) -> Made:
    """List files and read them, and anew whenever one of them has vanished in between.

    Compaction replaces files, each by another name. For readers that do not hold the lakehouse
    lock, which keeps compaction away; they may have to read until it is done.

    Raises
    ------
    FileNotFoundError
        If the same file is missing time after time: nothing replaced it.
    """
    missing, times = "", 0
    while True:
        try:
            return read()
        except FileNotFoundError as error:
            times = times + 1 if str(error) == missing else 1
            missing = str(error)
            if times == _ATTEMPTS:
                raise
