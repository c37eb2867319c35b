"""What is in the lakehouse's folder and is not the lakehouse's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath

from ingestion.base.parts import part_number
from ingestion.catalog import Dataset
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.parts import partition_date
from ingestion.lakehouse.run_files import RUNS, run_ids


def foreign_files(lakehouse: Lakehouse, datasets: Iterable[Dataset]) -> Iterator[str]:
    """Yield what is no part and no run's; of a folder, the folder alone. As paths below the root.

    Names that begin with ``_`` at the root are the lakehouse's own.
    """
    storages = {dataset.storage for dataset in datasets}
    above = {parent.as_posix() for storage in storages for parent in PurePath(storage).parents}

    def search(folder: str) -> Iterator[str]:
        for name in sorted(lakehouse.names(folder)):
            key = f"{folder}/{name}" if folder else name
            if not folder and name.startswith("_"):
                continue
            if key in above | storages and _is_folder(lakehouse, key):
                yield from search(key)
            elif (
                folder not in storages
                or partition_date(name) is None
                or not _is_folder(lakehouse, key)
            ):
                yield key
            else:
                inner = sorted(lakehouse.names(key))
                yield from (f"{key}/{each}" for each in inner if part_number(each) is None)

    yield from search("")
    for run_id in run_ids(lakehouse):
        folder = f"{RUNS}/{run_id}"
        if not _is_folder(lakehouse, folder):
            yield folder


def _is_folder(lakehouse: Lakehouse, key: str) -> bool:
    try:
        lakehouse.names(key)
    except NotADirectoryError:
        return False
    except OSError:
        pass  # nobody may look
    return True
