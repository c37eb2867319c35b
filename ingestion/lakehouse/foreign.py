"""What is in the lakehouse's folder and is not the lakehouse's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ingestion.base.parts import part_number
from ingestion.catalog import Dataset
from ingestion.lakehouse.parts import partition_date
from ingestion.lakehouse.run_files import run_file, run_ids


def foreign_files(root: Path, datasets: Iterable[Dataset]) -> Iterator[str]:
    """Yield what is no part and no run's; of a folder, the folder alone. As paths below the root.

    Names that begin with ``_`` at the root are the lakehouse's own.
    """
    storages = {root / dataset.storage for dataset in datasets}
    above = {parent for storage in storages for parent in storage.parents}

    def search(folder: Path) -> Iterator[str]:
        for path in sorted(folder.iterdir()):
            name = path.relative_to(root).as_posix()
            if folder == root and name.startswith("_"):
                continue
            if (path in above or path in storages) and path.is_dir():
                yield from search(path)
            elif folder not in storages or partition_date(path.name) is None or not path.is_dir():
                yield name
            else:
                yield from (
                    inner.relative_to(root).as_posix()
                    for inner in sorted(path.iterdir())
                    if part_number(inner.name) is None
                )

    if root.is_dir():
        yield from search(root)
    for run_id in run_ids(root):
        folder = run_file(root, run_id, "").path
        if not folder.is_dir():
            yield folder.relative_to(root).as_posix()
