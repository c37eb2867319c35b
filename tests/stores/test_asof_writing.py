"""What the offline store writes, by several at once and killed in the midst."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from feature_repo.stores.offline import writing
from feature_repo.stores.offline.files import Location, list_files
from tests.meanwhile import Meanwhile


def location(path: Path) -> Location:
    return Location(fs.LocalFileSystem(), str(path), dated=False)


def table(*values: int) -> pa.Table:
    return pa.table({"x": values})


def rows(path: Path) -> list[int]:
    """List and read, with nothing in between."""
    files = list_files(location(path), lambda *_: True)
    return [x for file in files for x in pq.ParquetFile(file.path).read()["x"].to_pylist()]


@pytest.mark.parametrize("there", [True, False], ids=["more", "the first"])
def test_two_that_add_to_a_single_file_at_once_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
):
    path = tmp_path / "folder" / "signals.parquet"
    if there:
        writing.append(location(path), table(0), "x")
    meanwhile = Meanwhile(monkeypatch)
    replace = writing._replace

    def another_writes(where: Location, rows: pa.Table) -> None:
        monkeypatch.setattr(writing, "_replace", replace)
        meanwhile(lambda: writing.append(location(path), table(2), "x"))
        replace(where, rows)

    monkeypatch.setattr(writing, "_replace", another_writes)
    writing.append(location(path), table(1), "x")
    meanwhile.ended()
    assert rows(path) == [0, 1, 2][not there :]
