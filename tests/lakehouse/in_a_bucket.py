"""The tests' projects with their lakehouses in a bucket: ``pytest --lakehouse=bucket``.

A project whose lakehouse would be the folder ``/a/b`` has it at ``s3://lake/a/b``, and a test that
looks into that folder looks there: :class:`Place` can do what tests do with a path. What only a
folder can do, or only a program that reads folders, is in :data:`FOLDERS_ALONE`, with the reason.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache, wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ingestion.base.fetched import at_once
from ingestion.base.objects import Objects, Stored
from ingestion.base.settings import Settings, StoreUrl
from ingestion.lakehouse.parts import StoredFile
from ingestion.project import Project
from tests.lakehouse.s3 import BUCKET

_ROOT = f"s3://{BUCKET}"
_is_moved = False
_moved_here: set[Place] = set()
"""The lakehouses that this process has moved."""


@cache
def _client(process: int) -> Objects:
    """Return the objects of the bucket; a client is of one process, and takes time to make."""
    return Objects(_ROOT)


class Place(StoreUrl):
    """A file or a folder in the bucket, with the methods of a path that tests call."""

    __slots__ = ()

    @property
    def _objects(self) -> Objects:
        return _client(os.getpid())

    @property
    def _key(self) -> str:
        return self.removeprefix(_ROOT).strip("/")

    @property
    def name(self) -> str:
        return self.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0] or self.name

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    @property
    def parent(self) -> Place:
        return Place(self.rpartition("/")[0])

    @property
    def parents(self) -> list[Place]:
        above = self.parent
        return [] if above in (self, "s3:/") else [above, *above.parents]

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.split("/"))

    def __truediv__(self, name: object) -> Place:
        return Place(f"{self}/{name}")

    def with_name(self, name: str) -> Place:
        return self.parent / name

    def relative_to(self, other: str) -> Path:
        return Path(self._key).relative_to(Place(other)._key)

    def is_relative_to(self, other: str) -> bool:
        return f"{self}/".startswith(f"{other}/")

    def as_posix(self) -> str:
        return str(self)

    def _below(self) -> Iterator[Stored]:
        return self._objects.below(self._key)

    def is_file(self) -> bool:
        try:
            self._objects.head(self._key)
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        return next(self._below(), None) is not None

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def stat(self) -> SimpleNamespace:
        stored = self._objects.head(self._key)
        return SimpleNamespace(st_size=stored.size, st_mtime=stored.changed.timestamp())

    def read_bytes(self) -> bytes:
        return self._objects.get(self._key)[0]

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        self._objects.put(self._key, content)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        self.write_bytes(text.encode(encoding))

    def touch(self) -> None:
        self.write_bytes(b"")

    def unlink(self, *, missing_ok: bool = False) -> None:
        if not missing_ok:
            self._objects.head(self._key)
        self._objects.delete([self._key])

    def rename(self, other: Place) -> Place:
        other.write_bytes(self.read_bytes())
        self.unlink()
        return other

    def mkdir(self, **_: object) -> None:
        """There are no folders."""

    def iterdir(self) -> Iterator[Place]:
        folders, objects = self._objects.inside(self._key)
        return (self / each for each in sorted({*folders, *(_name(one) for one in objects)}))

    def rglob(self, pattern: str) -> Iterator[Place]:
        return (each for each in self._inner() if fnmatch(each.name, pattern))

    def glob(self, pattern: str) -> Iterator[Place]:
        wanted = pattern.split("/")
        if "**" in wanted:
            return (each for each in self._inner() if fnmatch(each.name, wanted[-1]))
        start = len(self) + 1
        return (
            each
            for each in self._inner()
            if len(names := each[start:].split("/")) == len(wanted)
            and all(map(fnmatch, names, wanted))
        )

    def _inner(self) -> Iterator[Place]:
        """Yield all files and folders."""
        found = {
            "/".join(names[:depth])
            for stored in self._below()
            for names in [stored.key.split("/")]
            for depth in range(self._key.count("/") + 2, len(names) + 1)
        }
        return (Place(f"{_ROOT}/{key}") for key in sorted(found))


def placed(folder: Path) -> Any:
    """Return a folder for a lakehouse, or the place in the bucket that it has there."""
    if not _is_moved:
        return folder
    place = place_of(folder)
    _moved_here.add(place)
    return place


def access() -> dict[str, str]:
    """Return the variables by which another process finds the bucket, if there is one."""
    return {name: each for name, each in os.environ.items() if _is_moved and name[:4] == "AWS_"}


def place_of(folder: Path | str) -> Place:
    """Return where a lakehouse is that would be in a folder."""
    return Place(folder if isinstance(folder, StoreUrl) else f"{_ROOT}{Path(folder).absolute()}")


def move_all(patch: pytest.MonkeyPatch) -> None:
    """Let each project that is made have its lakehouse in the bucket."""
    patch.setattr(f"{__name__}._is_moved", True)
    for made in (Settings, Project):
        patch.setattr(made, "__init__", _moved(made.__init__))
    patch.setattr(StoredFile, "path", property(lambda file: Place(str(file))))
    patch.setattr(shutil, "copy", _copy(shutil.copy))
    patch.setattr(shutil, "rmtree", _rmtree(shutil.rmtree))
    patch.setattr(shutil, "copytree", _copytree(shutil.copytree))


def _moved(init: Any) -> Any:
    @wraps(init)
    def made(self: Settings, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        object.__setattr__(self, "lakehouse_at", placed(self.lakehouse_at))

    return made


def _may_have_one(place: Place) -> bool:
    """Return whether a lakehouse, or files of one, may be there."""
    return any(each.is_relative_to(place) or place.is_relative_to(each) for each in _moved_here)


def _copy(copy: Any) -> Any:
    @wraps(copy)
    def copied(source: Any, target: Any) -> Any:
        if not isinstance(source, Place):
            return copy(source, target)
        to = place_of(target)
        to = to / source.name if to.is_dir() else to
        to.write_bytes(source.read_bytes())
        return to

    return copied


def _rmtree(remove: Any) -> Any:
    @wraps(remove)
    def rmtree(folder: Any, *args: Any, **named: Any) -> None:
        """Remove a folder, and what the lakehouses in it have in the bucket."""
        place = place_of(folder)
        keys = [each.key for each in place._below()] if _may_have_one(place) else []
        place._objects.delete(keys)
        if not isinstance(folder, Place) and (Path(folder).exists() or not keys):
            remove(folder, *args, **named)

    return rmtree


def _copytree(copy: Any) -> Any:
    @wraps(copy)
    def copytree(source: Any, target: Any, *args: Any, **named: Any) -> Any:
        """Copy a folder, and what the lakehouses in it have in the bucket."""
        if isinstance(source, os.DirEntry):  # of a folder in one that is being copied
            return copy(source, target, *args, **named)
        place, to = place_of(source), place_of(target)
        found = [each.key for each in place._below()] if _may_have_one(place) else []
        start = len(place._key)
        at_once(lambda key: place._objects.copy(key, f"{to._key}{key[start:]}"), found)
        if not isinstance(source, Place) and (Path(source).exists() or not found):
            copy(source, target, *args, **named)
        return target

    return copytree


def _name(stored: Stored) -> str:
    return stored.key.rpartition("/")[2]


FOLDERS_ALONE = {
    "in a bucket, a step that is killed while it writes loses the lease for its run": (
        "test_run_in_parts.py::test_a_step_that_was_killed_is_done_by_its_next_try",
    ),
    "it is of a disk: it spoils or looks at its files, or kills between two touches of it": (
        "test_bars_by_symbol.py",
        "test_compact.py::test_a_kill_before_each_touch_of_the_disk_loses_nothing_and_doubles_nothing",
        "test_compact.py::test_kills_at_random_lose_nothing_and_double_nothing",
        "test_doctor.py::test_a_disk_that_cannot_be_written_is_told",
        "test_doctor.py::test_a_disk_with_little_room_and_a_full_one_are_told",
        "test_doctor.py::test_a_lakehouse_that_is_a_file_is_told",
        "test_doctor.py::test_where_nothing_is_wrong_each_thing_is_named_with_its_value",
        "test_feature_ingest.py::test_the_stamp_is_taken_when_the_last_answer_has_come",
        "test_feature_ingest.py::test_what_a_killed_run_left_in_staging_is_removed",
        "test_further_bars.py::test_what_is_kept_wrongly_is_found",
        "test_kill.py",
        "test_local_features.py::test_a_killed_backfill_is_completed_by_the_next",
        "test_panel_answers.py::test_a_slice_reads_only_the_dates_that_it_needs",
        "test_prune.py::test_a_killed_prune_leaves_each_run_whole_and_the_next_one_completes_it",
        "test_records.py::test_a_byte_that_a_disk_changed_by_itself_is_found_by_reading_all_"
        "and_then_named",
        "test_records.py::test_nothing_is_kept_where_this_user_may_not_write",
        "test_records.py::test_what_changed_a_moment_ago_is_read_each_time",
        "test_records.py::test_what_is_known_equals_what_the_folders_say",
        "test_targets_lakehouse.py::test_only_the_partitions_of_the_windows_are_read",
        "test_verify_run_folders.py::test_a_ledger_that_cannot_be_read_is_named_"
        "and_all_others_are_looked_into",
        "test_verify_run_folders.py::test_a_run_folder_that_may_not_be_read_is_named",
        "test_verify_run_folders.py::test_a_run_that_was_killed_while_it_wrote_its_receipt_holds",
        "test_verify_run_folders.py::test_nothing_is_accepted_while_a_ledger_cannot_be_read",
    ),
    "an empty object under a part's name is a name that nobody may use, and no part": (
        "test_verify_lakehouse.py::test_a_part_that_cannot_be_read_is_named[True-empty]",
        "test_verify_lakehouse.py::test_a_part_that_cannot_be_read_is_named[False-empty]",
    ),
    "a file that is where a folder should be is in nobody's way in a bucket": (
        "test_run.py::test_a_receipt_that_cannot_be_written_hides_no_error",
    ),
    "it reads the lakehouse a thousand times, which takes minutes": (
        "test_verify_lakehouse.py::test_any_changed_byte_is_found",
    ),
    "it counts the files of a disk that a command opens": ("test_many_runs.py",),
    "flock keeps runs out while a folder is copied; for a bucket, `tvfeast copy` does": (
        "test_backup.py",
    ),
    "its lakehouse, or one of its two, is in an object store of its own": (
        "test_backfill_on_engine.py::test_rows_of_tasks_may_lie_in_an_object_store",
        "test_copy_lakehouse.py",
        "test_object_store_flow.py",
    ),
    "it looks at what a command imports, which the client of a bucket adds to": (
        "test_start.py",
        "test_validate.py::test_great_expectations_is_not_imported_where_the_gate_has_judged",
    ),
}
"""By the reason: the modules and tests that are not tried on a bucket."""
_WHY = {each: why for why, names in FOLDERS_ALONE.items() for each in names}


def only_in_a_folder(test: str) -> str | None:
    """Return why a test is not tried on a bucket; None for one that is."""
    path, given, which = test.partition("[")
    name = path.rpartition("/")[2]
    names = (f"{name}{given}{which}", name, name.partition("::")[0])
    return next((_WHY[each] for each in names if each in _WHY), None)
