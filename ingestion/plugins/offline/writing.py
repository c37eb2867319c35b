"""Writing Parquet: saved datasets, and rows appended to a source.

On local disks what is written appears whole or not at all: it is written beside its place, under a
name that no reader takes for data, and then linked or renamed. A file that is added gets a number
that no other has. Who changes a file, or overwrites a folder, locks the folder meanwhile
(:mod:`ingestion.base.locks`).
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, date
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from ingestion.base.errors import InputError
from ingestion.base.locks import folder_lock
from ingestion.base.parts import content_hash, names_in, part_name, part_numbers, with_replaced
from ingestion.base.wording import counted
from ingestion.plugins.offline.files import HIVE_NULL, Location, is_local

_PASSING: dict[str, Any] = {"compression": "none", "use_dictionary": False}
"""How files are written that nobody keeps: as fast as it goes."""


def exists(location: Location) -> bool:
    """Return whether there is a file or folder."""
    return bool(location.filesystem.get_file_info(location.path).type != fs.FileType.NotFound)


def save(location: Location, table: pa.Table) -> None:
    """Make a table the only content of a file, or of a folder if the name has no ``.parquet``.

    A folder's new file says which files it replaces, before they are removed one by one.
    """
    if location.path.endswith(".parquet"):
        change(location, lambda: table)
        return
    if is_local(location.filesystem):
        _overwrite(_behind_links(location), table)
        return
    found = files_in(location)
    _add(location, location.path, table)
    for old in found:
        location.filesystem.delete_file(old)


@contextmanager
def filling(location: Location) -> Iterator[Location]:
    """Give an empty folder; what it then contains becomes the only content of another folder.

    On local disks at one stroke, or, where there is something to replace, at two: for a moment
    there is nothing. Object stores have no strokes: the files get their names one after another,
    and then the old ones are removed. An error meanwhile leaves everything as it was.
    """
    if is_local(location.filesystem):
        target = _behind_links(location)
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch(Location(location.filesystem, str(target.parent))) as made:
            yield made
            _exchange(Path(made.path), target)
        return
    old = files_in(location)
    with scratch(location) as made:
        yield made
        # Names that no older file has: nothing is written over.
        name = uuid.uuid4().hex
        for number, path in enumerate(files_in(made)):
            location.filesystem.move(path, f"{location.path}/part-{number:05d}-{name}.parquet")
        for path in old:
            location.filesystem.delete_file(path)


@contextmanager
def scratch(folder: Location) -> Iterator[Location]:
    """Give an empty folder in another one, that no reader takes for data; then delete it."""
    made = folder.inside(f"_{uuid.uuid4().hex}.unfinished")
    made.filesystem.create_dir(made.path)
    try:
        yield made
    finally:
        if exists(made):
            made.filesystem.delete_dir(made.path)


def files_in(folder: Location) -> list[str]:
    """Return the files of a folder and those below it, by name; none if there is no folder."""
    selector = fs.FileSelector(folder.path, allow_not_found=True, recursive=True)
    found = folder.filesystem.get_file_info(selector)
    return sorted(info.path for info in found if info.type == fs.FileType.File)


def change(location: Location, content: Callable[[], pa.Table]) -> None:
    """Write one file anew, with what ``content`` returns while no other writer is at the file."""
    with _lock_around(location):
        write_whole(location, content())


def write_whole(
    location: Location,
    table: pa.Table,
    row_group_size: int | None = None,
    *,
    lasting: bool = True,
) -> None:
    """Write one file, in place of one that is there; its folder is there.

    Parameters
    ----------
    lasting
        Whether the file is kept. Otherwise no time is spent to make it small, or safe from a loss
        of power.
    """
    how: dict[str, Any] = {"compression": "zstd"}
    if not lasting:
        how = dict(_PASSING)
    how["row_group_size"] = row_group_size
    if not is_local(location.filesystem):
        pq.write_table(table, location.path, filesystem=location.filesystem, **how)
        return
    target = _behind_links(location)
    unfinished = _unfinished(target.parent)
    _write(unfinished, table, lasting=lasting, **how)
    unfinished.replace(target)


def write_passing(place: Location, tables: Iterable[pa.Table]) -> bool:
    """Write tables that only pass between tasks as the row groups of a file, nothing of it lasting.

    Returns
    -------
    bool
        Whether there is a file: there is none without a table.
    """
    writer: pq.ParquetWriter | None = None
    for rows in tables:
        writer = writer or pq.ParquetWriter(
            place.path, rows.schema, filesystem=place.filesystem, **_PASSING
        )
        writer.write_table(rows, row_group_size=rows.num_rows)
    if writer is not None:
        writer.close()
    return writer is not None


def add_file(location: Location, table: pa.Table, partition_by: Sequence[str] = ()) -> None:
    """Add rows to a folder as new files, one per combination of values of some columns.

    These columns are in the names of the folders, as in Hive, and not in the files.
    """
    if not partition_by:
        _add(location, location.path, table)
        return
    for values in table.select(partition_by).group_by(list(partition_by)).aggregate([]).to_pylist():
        of_values = [
            pc.is_null(table[name]) if value is None else pc.equal(table[name], value)
            for name, value in values.items()
        ]
        folders = "/".join(f"{name}={_folder(value)}" for name, value in values.items())
        rows = table.filter(reduce(pc.and_, of_values)).drop_columns(list(partition_by))
        _add(location, f"{location.path}/{folders}", rows)


def _folder(value: object) -> str:
    return HIVE_NULL if value is None else quote(str(value), safe=" ")


def append(location: Location, table: pa.Table, event: str) -> None:
    """Add rows to a source: to its one file, or as a new file of its folder.

    In a source with partition dates, each row goes to the folder of its event's UTC date.

    Raises
    ------
    InputError
        If a row of such a source has no event time.
    """
    if location.path.endswith(".parquet") or _is_file(location):

        def extended() -> pa.Table:
            if not _is_file(location):
                return table
            with location.filesystem.open_input_file(location.path) as file:
                before = pq.ParquetFile(file).read()
            return pa.concat_tables([before, table.select(before.column_names)])

        change(location, extended)
    elif location.dated:
        for day, rows in _by_day(table, event):
            _add(location, f"{location.path}/date={day:%Y-%m-%d}", rows)
    else:
        _add(location, location.path, table)


def _by_day(table: pa.Table, event: str) -> Iterator[tuple[date, pa.Table]]:
    if table[event].null_count:
        raise InputError(
            f"{counted(table[event].null_count, 'row has', 'rows have')} no {event}, which "
            "decides their partition"
        )
    days = pc.floor_temporal(table[event], unit="day")
    for day in pc.unique(days):
        yield day.as_py().astimezone(UTC).date(), table.filter(pc.equal(days, day))


def _is_file(location: Location) -> bool:
    return bool(location.filesystem.get_file_info(location.path).type == fs.FileType.File)


def _lock_around(location: Location) -> AbstractContextManager[None]:
    """Lock the folder around a file; object stores have nothing to lock."""
    if not is_local(location.filesystem):
        return nullcontext()
    folder = _behind_links(location).parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder_lock(folder)


def _behind_links(location: Location) -> Path:
    """Return where a local file or folder lies: a link would be replaced itself."""
    return Path(location.path).resolve()


def _exchange(new: Path, target: Path) -> None:
    if not target.exists():
        new.rename(target)
        return
    with folder_lock(target):
        old = _unfinished(target.parent)
        target.rename(old)
        new.rename(target)
    shutil.rmtree(old)


def _overwrite(folder: Path, table: pa.Table) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder):
        old = [path for path in folder.rglob("*") if path.is_file()]
        replaced = {path.name: content_hash(path) for path in old if path.parent == folder}
        # The first part of a folder, number 0, replaces nothing.
        _link(folder, with_replaced(table, replaced), folder.parent, first=1 if old else 0)
        for path in old:
            path.unlink(missing_ok=True)


def _add(location: Location, folder: str, table: pa.Table) -> None:
    """Add a file under the next free number; object stores do not know which that is."""
    if is_local(location.filesystem):
        Path(folder).mkdir(parents=True, exist_ok=True)
        _link(Path(folder), table, Path(location.path).parent)
        return
    name = f"{folder}/part-{uuid.uuid4().hex}.parquet"
    pq.write_table(table, name, filesystem=location.filesystem, compression="zstd")


def _link(folder: Path, table: pa.Table, beside: Path, first: int = 0) -> None:
    """Write a file in one folder, and put it whole into another under the next free number."""
    unfinished = _unfinished(beside)
    _write(unfinished, table)
    try:
        number = max([*part_numbers(names_in(folder)), first - 1]) + 1
        while True:
            try:
                (folder / part_name(number)).hardlink_to(unfinished)
            except FileExistsError:  # another one was faster
                number += 1
            else:
                return
    finally:
        unfinished.unlink()


def _unfinished(folder: Path) -> Path:
    return folder / f".{uuid.uuid4().hex}.unfinished"


def _write(path: Path, table: pa.Table, *, lasting: bool = True, **how: Any) -> None:
    with path.open("wb") as file:
        pq.write_table(table, file, **{"compression": "zstd"} | how)
        if lasting:
            file.flush()
            os.fsync(file.fileno())
