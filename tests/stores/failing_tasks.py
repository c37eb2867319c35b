"""Tasks that fail, in a module that an engine's workers can import."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from ingestion.jobs.compute.all_bars import _of_symbols as computed_by_task
from ingestion.plugins.offline.files import Location
from ingestion.plugins.offline.writing import write_whole


def killed_once(folder: Location, number: int) -> int:
    """Write a file whole; the first attempt of an odd task dies before it does."""
    started = Path(folder.path) / f"started-{number}"
    if number % 2 and not started.exists():
        started.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    write_whole(folder.inside(f"part-{number}.parquet"), pa.table({"number": [number]}))
    return number


def failing(folder: Location, kind: type[Exception], number: int) -> int:
    with (Path(folder.path) / "attempts").open("a") as attempts:
        attempts.write(f"{number}\n")
    if number == 2:
        raise kind("the disk of worker 2\nis full")
    return number


def computing_once(place: Path, how: Callable[[], object], task, only):
    """Compute some symbols; the first attempt of one task ends when its file is written."""
    made = computed_by_task(task, only)
    if 0 in only and not place.exists():
        place.touch()
        how()
    return made


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill() -> None:
    raise OSError("the disk of a worker is full")
