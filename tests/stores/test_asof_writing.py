"""What the offline store writes, by several at once and killed in the midst."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from ingestion.plugins.offline import writing
from ingestion.plugins.offline.files import Location, list_files
from tests.meanwhile import Meanwhile


def location(path: Path) -> Location:
    return Location(fs.LocalFileSystem(), str(path), dated=False)


def table(*values: int) -> pa.Table:
    return pa.table({"x": values})


def rows(path: Path) -> list[int]:
    """List and read, with nothing in between."""
    files = list_files(location(path), lambda *_: True)
    return [x for file in files for x in pq.ParquetFile(file.path).read()["x"].to_pylist()]


@contextmanager
def at_each_line_of_writing(look: Callable[[], None]) -> Iterator[None]:
    """Look before each line that the module runs: that is also what a kill there leaves."""
    looking = False

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal looking
        if frame.f_code.co_filename != writing.__file__:
            return None
        if event == "line" and not looking:
            looking = True
            look()
            looking = False
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("there", [True, False], ids=["more", "the first"])
def test_two_that_add_to_a_single_file_at_once_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
):
    path = tmp_path / "folder" / "signals.parquet"
    if there:
        writing.append(location(path), table(0), "x")
    meanwhile = Meanwhile(monkeypatch)
    replace = writing.write_whole

    def another_writes(where: Location, rows: pa.Table) -> None:
        monkeypatch.setattr(writing, "write_whole", replace)
        meanwhile(lambda: writing.append(location(path), table(2), "x"))
        replace(where, rows)

    monkeypatch.setattr(writing, "write_whole", another_writes)
    writing.append(location(path), table(1), "x")
    meanwhile.ended()
    assert rows(path) == [0, 1, 2][not there :]


@pytest.mark.parametrize("name", ["saved", "saved.parquet"])
def test_a_reader_sees_a_saved_dataset_as_it_was_or_as_it_is(tmp_path: Path, name: str):
    path = tmp_path / name
    writing.save(location(path), table(1, 2))
    if path.is_dir():
        writing.append(location(path), table(3), "x")
    old, files, seen = rows(path), list(path.glob("*")), []
    with at_each_line_of_writing(lambda: seen.append(rows(path))):
        writing.save(location(path), table(4, 5))
    assert len(seen) > 5
    changed = seen.index([4, 5])
    assert seen == [old] * changed + [[4, 5]] * (len(seen) - changed)
    assert not any(file.exists() for file in files), "who listed them would read another's rows"
    assert list(tmp_path.iterdir()) == [path]


def test_an_overwritten_folder_stays_behind_its_link_and_as_private_as_it_was(tmp_path: Path):
    folder, link = tmp_path / "elsewhere" / "private", tmp_path / "saved"
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    link.symlink_to(folder)
    writing.save(location(link), table(1))
    assert rows(folder) == [1]
    assert link.is_symlink()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_single_file_is_written_behind_its_link(tmp_path: Path):
    file, link = tmp_path / "elsewhere" / "signals.parquet", tmp_path / "signals.parquet"
    link.symlink_to(file)
    writing.save(location(link), table(1))
    writing.append(location(link), table(2), "x")
    assert rows(file) == [1, 2]
    assert link.is_symlink()


def test_rows_added_while_a_folder_is_overwritten_are_not_put_away_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "saved"
    writing.save(location(path), table(1))
    meanwhile = Meanwhile(monkeypatch)
    link = writing._link

    def another_writes(*given: Any, **named: Any) -> None:
        monkeypatch.setattr(writing, "_link", link)
        meanwhile(lambda: writing.append(location(path), table(3), "x"))
        link(*given, **named)

    monkeypatch.setattr(writing, "_link", another_writes)
    writing.save(location(path), table(2))
    meanwhile.ended()
    assert sorted(rows(path)) == [2, 3]
