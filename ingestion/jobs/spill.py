"""Regroup more rows than fit in memory: append batches to numbered files, then read each whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pyarrow as pa


class Spill:
    """Numbered Arrow streams below a folder of their own; a context manager that removes them.

    Parameters
    ----------
    folder
        Made if missing, removed at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    def __enter__(self) -> Spill:
        self._folder.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def append(self, number: int, rows: pa.Table) -> None:
        """Add rows to a file; all of one file have one schema."""
        if number not in self._writers:
            path = self._folder / str(number)
            self._writers[number] = pa.ipc.new_stream(path, rows.schema)
        self._writers[number].write_table(rows)

    def drain(self) -> Iterator[tuple[int, pa.Table]]:
        """Yield each file's rows, in the order of the numbers, and remove the file behind it."""
        numbers = sorted(self._writers)
        self._close()
        for number in numbers:
            path = self._folder / str(number)
            with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
                yield number, stream.read_all()
            path.unlink()

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
