"""Registry and online store anew, from the definitions and the lakehouse."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ingestion.base.errors import FeastRepositoryError
from ingestion.base.locks import folder_lock
from ingestion.base.store_files import read_configuration, store_files, with_files
from ingestion.jobs.serve.feast_repository import feast_project, own_tables
from ingestion.jobs.serve.loads import LOAD_FILE
from ingestion.jobs.serve.materialize import MaterializeResult, load
from ingestion.jobs.serve.registered import VALUE_TYPES
from ingestion.jobs.serve.verify_online import OnlineReport, verify_online
from ingestion.plugins.online.layout import Layout
from ingestion.plugins.online.reading import table_name
from ingestion.plugins.online.rows import Read
from ingestion.plugins.online.sqlite import SqliteTables
from ingestion.project import Project
from ingestion.runs.run import Run

_SCRATCH = "_rebuild"
_IN_A_FILE = "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore"
_BUSY_S = 30.0


@dataclass(frozen=True)
class RebuildResult:
    """What was made, and whether it is right."""

    materialize: MaterializeResult
    report: OnlineReport
    dropped: tuple[str, ...]
    """Views and services that were registered and are not this project's: they are gone."""


def rebuild(project: Project) -> RebuildResult:
    """Make registry and online store anew, with what this project defines.

    They are built in a folder beside the online store and put in their places when they are
    whole: what is served until then is what was served before, and a killed rebuild is repeated.
    Whoever has the online store open sees the new rows at their next read.

    Raises
    ------
    InputError
        If the lakehouse has no features yet.
    FeastRepositoryError
        If there is no ``feature_store.yaml``, it keeps the registry in no file, or the online store
        in no file and not in one of this project's.
    CorruptPart
        If a part of the lakehouse cannot be read.
    LakehouseLocked
        If another run is writing.
    """
    files = _files(project)
    with Run.open(project, "rebuild", file=LOAD_FILE) as run:
        places = [each for each in files if each is not None]
        for each in places:
            each.parent.mkdir(parents=True, exist_ok=True)
        scratch = places[-1].parent / _SCRATCH
        made = _Made(scratch / "registry" / files.registry.name, scratch / "online.db")
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            loaded = _build(run, project, scratch, made, files.online is None)
            with ExitStack() as stack:
                # What others make or commit is replaced whole, or comes after.
                for folder in sorted({each.parent for each in places}):
                    stack.enter_context(folder_lock(folder))
                dropped = _registered(files.registry) - _registered(made.registry)
                if files.online is None:
                    _refill(project, made.online, dropped)
                else:
                    _put_in_place(made.online, files.online)
                from ingestion.plugins import registry_file

                registry_file.replace(files.registry, made.registry.read_bytes())
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        run.tell(**loaded.told)
        return RebuildResult(loaded, verify_online(project), tuple(sorted(dropped)))


class _Files(NamedTuple):
    registry: Path
    online: Path | None
    """None for an online store of this project on a server."""


class _Made(NamedTuple):
    registry: Path
    online: Path


def _files(project: Project) -> _Files:
    registry, online = store_files(project)
    if registry is None or (online is None and own_tables(project) is None):
        raise FeastRepositoryError(
            f"{project.feast_repository / 'feature_store.yaml'} keeps its "
            f"{'registry' if registry is None else 'online store'} in no file of this machine: "
            "rebuild makes files, and fills the online stores of this project, alone"
        )
    return _Files(registry, online)


def _build(
    run: Run, project: Project, scratch: Path, made: _Made, for_server: bool
) -> MaterializeResult:
    """Fill a project of its own, on the same lakehouse, whose two files are in the folder."""
    import yaml

    elsewhere = replace(project, folder=scratch, declarations=project.feast_repository)
    elsewhere.feast_repository.mkdir(parents=True)
    configuration = with_files(read_configuration(project), *made)
    if for_server:
        configuration["online_store"] = {"type": _IN_A_FILE, "path": str(made.online)}
    path = elsewhere.feast_repository / "feature_store.yaml"
    path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    return load(run, project, elsewhere)


def _refill(project: Project, made: Path, dropped: Iterable[str]) -> None:
    """Give the tables on a server what was made in a file, in one transaction."""
    feast, tables = feast_project(project), own_tables(project)
    if tables is None:
        raise FeastRepositoryError("feature_store.yaml has changed meanwhile: run it again")
    layouts = {
        table_name(feast, group.name): Layout.of(
            (column.name, VALUE_TYPES[column.dtype]) for column in group.served
        )
        for group in project.catalog.groups
    }
    reads = [Read(table, list(layout.type_of)) for table, layout in layouts.items()]
    filled = SqliteTables(made).read(reads)
    contents = {
        table: (layout, rows.laid_out(layout))
        for (table, layout), rows in zip(layouts.items(), filled, strict=True)
    }
    tables.refill([table_name(feast, name) for name in dropped], contents)


def _registered(path: Path) -> set[str]:
    """Return the names of all views and services; none if the registry cannot be read."""
    from feast.protos.feast.core.Registry_pb2 import Registry
    from google.protobuf.message import DecodeError

    try:
        registry = Registry.FromString(path.read_bytes())
    except (OSError, DecodeError):
        return set()
    kinds = (
        registry.feature_views,
        registry.on_demand_feature_views,
        registry.stream_feature_views,
        registry.label_views,
        registry.feature_services,
    )
    return {each.spec.name for kind in kinds for each in kind}


def _put_in_place(made: Path, online: Path) -> None:
    if not (online.is_file() and _refilled(online, made)):
        with closing(sqlite3.connect(made)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for leftover in (f"{online.name}-wal", f"{online.name}-shm"):
            # SQLite would replay the old file's log into the new one.
            (online.parent / leftover).unlink(missing_ok=True)
        made.replace(online)


def _refilled(online: Path, made: Path) -> bool:
    """Give a database another's content, in one transaction; False if it is a database no more.

    Another file would not do: who has the old one open goes on with it, and what they write while
    the names change hands may end in a log that belongs to neither.

    Raises
    ------
    FeastRepositoryError
        If it cannot be written, or is locked for too long.
    """

    def go_on(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise FeastRepositoryError(
                f"{online} has been locked by another process for {_BUSY_S:.0f} s: let that end, "
                "or end it, and try again"
            )

    try:
        with (
            closing(sqlite3.connect(made)) as new,
            closing(sqlite3.connect(online, timeout=_BUSY_S)) as old,
        ):
            new.backup(old, progress=go_on)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return False
        raise FeastRepositoryError(f"{online} cannot be made anew: {error}") from error
    return True
