"""Registry and online store anew, from the definitions and the lakehouse."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ingestion.errors import FeastRepositoryError
from ingestion.folders import held
from ingestion.jobs.loads import LOAD_FILE
from ingestion.jobs.materialize import Loaded, MaterializeResult, load, record
from ingestion.jobs.run import new_run_id
from ingestion.jobs.verify_online import OnlineReport, verify_online
from ingestion.lakehouse import lakehouse_lock
from ingestion.quality.receipt import Job
from ingestion.settings import Settings

_SCRATCH = "_rebuild"
_BUSY_S = 30.0


@dataclass(frozen=True)
class RebuildResult:
    """What was made, and whether it is right."""

    materialize: MaterializeResult
    report: OnlineReport
    dropped: tuple[str, ...]
    """Views and services that were registered and are not this project's: they are gone."""


def rebuild(settings: Settings) -> RebuildResult:
    """Make ``registry.db`` and ``online.db`` anew, with what this project defines.

    They are built in a folder of their own below ``data/`` and put in their places when they are
    whole: what is served until then is what was served before, and a killed rebuild is repeated.
    Whoever has ``online.db`` open sees the new rows at their next read.

    Raises
    ------
    InputError
        If the lakehouse holds no features yet.
    FeastRepositoryError
        If there is no ``feature_store.yaml``, or it keeps its files elsewhere.
    CorruptPart
        If a part of the lakehouse cannot be read.
    LakehouseLocked
        If another run is writing.
    """
    run_id, data = new_run_id(), settings.project / "data"
    yaml = settings.feast_repository / "feature_store.yaml"
    if not yaml.is_file():
        raise FeastRepositoryError(f"{yaml} is missing; TVFEAST_PROJECT names the project's folder")
    with (
        lakehouse_lock(settings.lakehouse, run_id),
        Job(settings, run_id, "rebuild", LOAD_FILE) as job,
    ):
        scratch = data / _SCRATCH
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            loaded = _build(settings, scratch, yaml)
            for name in ("online.db", "registry.db"):
                if not (scratch / "data" / name).is_file():
                    raise FeastRepositoryError(
                        f"{yaml} does not keep its {name} in ../data: rebuild knows no other place"
                    )
            with held(data):  # what others make or commit is replaced whole, or comes after
                dropped = _registered(data) - _registered(scratch / "data")
                _put_in_place(scratch / "data", data)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        made = record(job, run_id, loaded)
        return RebuildResult(made, verify_online(settings), tuple(sorted(dropped)))


def _build(settings: Settings, scratch: Path, yaml: Path) -> Loaded:
    """Fill a project of its own, on the same lakehouse; its YAML's paths are relative."""
    elsewhere = replace(settings, project=scratch)
    elsewhere.feast_repository.mkdir(parents=True)
    (scratch / "data").mkdir()
    shutil.copy(yaml, elsewhere.feast_repository)
    return load(settings, elsewhere)


def _registered(data: Path) -> set[str]:
    """Return the names of all views and services; none if the registry cannot be read."""
    from feast.protos.feast.core.Registry_pb2 import Registry
    from google.protobuf.message import DecodeError

    try:
        registry = Registry.FromString((data / "registry.db").read_bytes())
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


def _put_in_place(made: Path, data: Path) -> None:
    from feature_repo.stores import registry_file

    online = data / "online.db"
    if not (online.is_file() and _refilled(online, made / "online.db")):
        with closing(sqlite3.connect(made / "online.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for leftover in ("online.db-wal", "online.db-shm"):
            # SQLite would replay the old file's log into the new one.
            (data / leftover).unlink(missing_ok=True)
        (made / "online.db").replace(online)
    registry_file.replace(data / "registry.db", (made / "registry.db").read_bytes())


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
