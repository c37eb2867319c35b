"""Whether the machine is ready: what is wrong, and what to do about it.

Each check looks at one thing, changes nothing, and goes on where another found a fault.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingestion.base import clock
from ingestion.base.disk import can_be_locked
from ingestion.base.errors import FeastRepositoryError, ScannerRefused, TvfeastError
from ingestion.base.settings import VARIABLES, Settings, StoreUrl, project_folder, variable
from ingestion.project import Project

_PYTHONS = (3, 11), (3, 13)
_LOCK = "requirements.lock"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_LITTLE_MEMORY = 1 << 30
_LITTLE_ROOM, _NO_ROOM = 1 << 30, 100 << 20
_PATIENCE_S = 15.0
"""How long the scanner may take to answer."""
_APART_S = 60.0
"""So far apart may the clocks of this machine and of the scanner be."""
_SYMBOL, _COLUMNS = "NASDAQ:AAPL", ("name", "close")
_SECRET = "TVFEAST_SESSION_ID"  # noqa: S105 - its name
_ZONES = ("America/New_York", "Europe/London", "Asia/Tokyo")


class State(StrEnum):
    """How a thing is."""

    FINE = "ok"
    NOTE = "note"
    """It works, and somebody should know this."""
    WRONG = "WRONG"


@dataclass(frozen=True)
class Finding:
    """What was found out about one thing."""

    about: str
    state: State
    what: str
    remedy: str = ""
    """What to do; empty where nothing is to be done."""


@dataclass(frozen=True)
class Diagnosis:
    """All findings, in the order of the checks."""

    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """Return those about what does not work."""
        return tuple(each for each in self.findings if each.state is State.WRONG)

    @property
    def refusal(self) -> str | None:
        """Say how many things are wrong; None if none is."""
        count = len(self.wrong)
        return f"{count} {'thing is' if count == 1 else 'things are'} wrong" if count else None


def diagnose() -> Diagnosis:
    """Look at the machine, the settings, the project, the disk and the scanner."""
    findings = [*_python(), *_packages(), *_resources(), *_time_zones(), *_settings()]
    try:
        project = Project.from_environment()
    except TvfeastError:  # its setting is named above
        return Diagnosis(tuple(findings))
    for about, check in (
        ("project", _declarations),
        ("disk", _disk),
        ("lakehouse", _lakehouse),
        ("stores", _stores),
        ("scanner", _scanner),
    ):
        findings += _guarded(about, check, project)
    return Diagnosis(tuple(findings))


def _guarded(
    about: str, check: Callable[[Project], Iterator[Finding]], project: Project
) -> Iterator[Finding]:
    try:
        yield from check(project)
    except TvfeastError as error:
        yield Finding(about, State.WRONG, str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        yield Finding(
            about,
            State.WRONG,
            f"{where}{error.strerror}",
            "make room, or give this user the right to it",
        )


def _python() -> Iterator[Finding]:
    here = sys.version_info[:2]
    told = sys.version.split()[0]
    if _PYTHONS[0] <= here <= _PYTHONS[1]:
        yield Finding("Python", State.FINE, told)
    else:
        remedy = "make the environment with Python 3.11, 3.12 or 3.13: make setup PYTHON=python3.12"
        yield Finding("Python", State.WRONG, f"{told} is not supported", remedy)


def _packages() -> Iterator[Finding]:
    """Compare what is installed of the direct requirements with the lock, where there is one."""
    lock = Path(__file__).resolve().parents[3] / _LOCK
    pinned = {
        name.lower(): number
        for name, number in _PINNED.findall(lock.read_text() if lock.is_file() else "")
    }
    other, missing = [], []
    names = [re.split(r"[^A-Za-z0-9._-]", each)[0] for each in _requirements()]
    for name in names:
        try:
            installed = version(name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        if (wanted := pinned.get(name.lower())) is not None and wanted != installed:
            other.append(f"{name} {installed}, locked {wanted}")
    if missing:
        told = f"not installed: {', '.join(missing)}"
        yield Finding("packages", State.WRONG, told, "run `make setup`")
    if other:
        told = f"not the locked version: {'; '.join(other)}"
        yield Finding("packages", State.NOTE, told, "run `make setup` if something fails")
    if not missing and not other:
        as_locked = ", as the lock has them" if pinned else ""
        yield Finding("packages", State.FINE, f"{len(names)} are installed{as_locked}")


def _requirements() -> list[str]:
    try:
        return [each for each in requires("tvfeast") or [] if "extra ==" not in each]
    except PackageNotFoundError:
        return []


def _resources() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        told = Path("/proc/meminfo").read_text().partition("MemAvailable:")[2]
        free = int(told.split()[0]) * 1024
    except (OSError, ValueError, IndexError):  # a system without it
        pass
    what = f"{free / 2**30:.1f} GB of memory are free; cores: {cores}"
    if free < _LITTLE_MEMORY:
        remedy = "a flow of 10,000 symbols takes about 1 GB: end other programs"
        yield Finding("machine", State.NOTE, what, remedy)
    else:
        yield Finding("machine", State.FINE, what)


def _time_zones() -> Iterator[Finding]:
    try:
        for name in _ZONES:
            ZoneInfo(name)
    except ZoneInfoNotFoundError as error:
        remedy = "install the system's tzdata, or `pip install tzdata`"
        yield Finding("time zones", State.WRONG, f"there are no rules: {error}", remedy)
    else:
        yield Finding("time zones", State.FINE, "their rules are there")


def _settings() -> Iterator[Finding]:
    """Return each setting with its value and where that is from."""
    folder, source = project_folder()
    yield Finding("TVFEAST_PROJECT", State.FINE, f"{folder}, from {source}")
    try:
        settings = Settings.from_environment()
    except TvfeastError as error:
        yield Finding("settings", State.WRONG, str(error), "correct it, or unset it")
    else:
        for name, value in (
            ("TVFEAST_LAKEHOUSE", str(settings.lakehouse_at)),
            ("TVFEAST_SCANNER_URL", settings.scanner_url),
        ):
            yield Finding(name, State.FINE, f"{value}, from {_origin(name)}")
    session = "set, and not shown" if variable(_SECRET) else "not set: the data may be delayed"
    yield Finding(_SECRET, State.FINE, session)
    try:
        now = clock.now()
    except TvfeastError as error:
        yield Finding("TVFEAST_NOW", State.WRONG, str(error), "correct it, or unset it")
    else:
        told = f"{now:%Y-%m-%d %H:%M:%S} UTC, from {_origin('TVFEAST_NOW')}"
        replayed = clock.is_replayed()
        remedy = "unset it, unless you replay a day" if replayed else ""
        yield Finding("TVFEAST_NOW", State.NOTE if replayed else State.FINE, told, remedy)
    unknown = [name for name in os.environ if name.startswith("TVFEAST_") and name not in VARIABLES]
    if unknown:
        remedy = f"there are {', '.join(VARIABLES)}"
        yield Finding(", ".join(unknown), State.NOTE, "no such setting", remedy)


def _origin(name: str) -> str:
    if variable(name) is not None:
        return "the environment"
    return "the wall clock" if name == "TVFEAST_NOW" else "the default"


def _declarations(project: Project) -> Iterator[Finding]:
    from ingestion.jobs.audit.catalog_check import check_catalog

    configuration = project.feast_repository / "feature_store.yaml"
    if not configuration.is_file():
        remedy = "go to a project's folder, set TVFEAST_PROJECT, or make one: tvfeast init FOLDER"
        yield Finding("project", State.WRONG, f"{configuration} is missing", remedy)
        return
    checked = check_catalog(project)
    for problem in checked.problems:
        yield Finding("project", State.WRONG, problem, "correct it: tvfeast catalog check")
    if not checked.problems:
        told = f"its declarations are sound: {checked.groups} groups, {checked.services} services"
        yield Finding("project", State.FINE, told)


def _disk(project: Project) -> Iterator[Finding]:
    in_store = isinstance(project.lakehouse_at, StoreUrl)  # then runs need room for their scratch
    place = Path(tempfile.gettempdir()) if in_store else _existing(Path(project.lakehouse_at))
    free = shutil.disk_usage(place).free
    locks = in_store or can_be_locked(place)
    if not locks:
        remedy = "put the lakehouse on a local disk: TVFEAST_LAKEHOUSE"
        told = f"{place}: two programs may lock one file, so two runs could write at once"
        yield Finding("disk", State.WRONG, told, remedy)
    what = (
        f"{place} can be written{'' if in_store else ' and locked'}; {free / 1e9:,.1f} GB are free"
    )
    if free < _NO_ROOM:
        yield Finding("disk", State.WRONG, what, "make room: the next run may not fit")
    elif free < _LITTLE_ROOM:
        yield Finding("disk", State.NOTE, what, "make room soon; tvfeast prune, tvfeast compact")
    elif locks:
        yield Finding("disk", State.FINE, what)


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    return next(each for each in (folder, *folder.parents) if each.is_dir())


def _lakehouse(project: Project) -> Iterator[Finding]:
    from ingestion.lakehouse import list_dates

    at, lakehouse = project.lakehouse_at, project.lakehouse
    if not (at.exists() if isinstance(at, Path) else lakehouse.exists("")):
        yield Finding("lakehouse", State.FINE, "it is not there yet: the first run makes it")
        return
    if isinstance(at, Path) and not at.is_dir():
        remedy = "set TVFEAST_LAKEHOUSE to a folder"
        yield Finding("lakehouse", State.WRONG, f"{project.lakehouse_at} is no folder", remedy)
        return
    catalog = project.catalog  # refuses columns that do not fit what is stored
    filled = [each for each in catalog.datasets if list_dates(project.lakehouse, each)]
    told = f"{len(filled)} of {len(catalog.datasets)} datasets have parts, whose columns fit"
    yield Finding("lakehouse", State.FINE, told)
    if (holder := project.lakehouse.holder()) is not None:
        remedy = "wait for it to end: other runs end with exit code 5 until then"
        yield Finding("lakehouse", State.NOTE, f"{holder} is writing", remedy)


def _stores(project: Project) -> Iterator[Finding]:
    from ingestion.base.store_files import store_files
    from ingestion.jobs.audit.status.served import look_at_stores
    from ingestion.jobs.serve.feast_repository import own_stores

    files = store_files(project)
    made = [each for each in (files.registry, files.online) if each is not None and each.exists()]
    if not made:
        told = "there is no registry and no online store yet: the first flow makes them"
        yield Finding("stores", State.FINE, told)
        return
    try:
        own_stores(project)
    except FeastRepositoryError as error:
        yield Finding("registry", State.WRONG, str(error), "run `tvfeast rebuild`")
    else:
        yield Finding("registry", State.FINE, f"{files.registry} can be read")
    looked = look_at_stores(project, clock.now())
    if looked.unreadable is not None:
        yield Finding("online store", State.WRONG, looked.unreadable, "run `tvfeast rebuild`")
    elif looked.online is not None and not looked.has_online:
        told = f"{looked.online} is missing, so nothing is served"
        yield Finding("online store", State.WRONG, told, "run `tvfeast rebuild`")
    else:
        rows = sum(view.valid for view in looked.views)
        yield Finding("online store", State.FINE, f"{rows:,} rows are served")


def _scanner(project: Project) -> Iterator[Finding]:
    """Ask for one symbol, and compare the clocks."""
    from ingestion.scanner import GLOBAL, ScannerOptions
    from ingestion.scanner.transport import Rejected, Transient, Transport
    from ingestion.scanner.wire import Tickers

    url, began = project.scanner_url, time.monotonic()
    options = ScannerOptions(read_timeout=_PATIENCE_S, total_timeout=_PATIENCE_S)
    with closing(Transport(url, options, project.session_id)) as transport:
        try:
            answer = transport.scan(GLOBAL, Tickers((_SYMBOL,)), _COLUMNS)
        except Transient as error:
            remedy = "look at the network and TVFEAST_SCANNER_URL, and try again in a minute"
            yield Finding("scanner", State.WRONG, f"{url} gave no answer: {error}", remedy)
        except (Rejected, ScannerRefused) as error:
            remedy = "look at TVFEAST_SCANNER_URL and TVFEAST_SESSION_ID"
            yield Finding("scanner", State.WRONG, f"{url} refused: {error}", remedy)
        else:
            took = time.monotonic() - began
            told = f"{url} answered in {took:.1f} s with {len(answer.rows)} row of {_SYMBOL}"
            yield Finding("scanner", State.FINE, told)
        if transport.last_date is not None:
            yield _clock(transport.last_date.timestamp())


def _clock(there: float) -> Finding:
    apart = clock.now().timestamp() - there
    if abs(apart) <= _APART_S:
        return Finding("clock", State.FINE, f"it is {abs(apart):.0f} s from the scanner's")
    side = "ahead of" if apart > 0 else "behind"
    told = f"it is {_long(abs(apart))} {side} the scanner's, so rows would have wrong times"
    remedy = "unset TVFEAST_NOW" if clock.is_replayed() else "set it: sudo timedatectl set-ntp true"
    return Finding("clock", State.WRONG, told, remedy)


def _long(seconds: float) -> str:
    for length, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} seconds"
