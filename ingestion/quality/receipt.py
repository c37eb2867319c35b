"""What every receipt begins with: which run of which code did what, on which settings.

A job makes a :class:`Job` where it starts, and writes its receipt where it ends::

    job = Job(settings, run_id, "feature-ingest", request)
    …
    receipt = job.write("feature_ingest.json", fetched=…, symbols=…)

One that publishes after it has written its receipt writes it again at the end, with the hashes of
what it published.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from feature_repo.catalog import DATASETS
from ingestion import clock
from ingestion.lakehouse import write_run_file
from ingestion.lakehouse.ledger import read_ledger
from ingestion.settings import Settings

_CHECKOUT = Path(__file__).resolve().parent.parent.parent
_SECRET = frozenset({"headers"})
"""Members of a request whose values may be secrets; a receipt tells their names alone."""


class Job:
    """One job of a run, from its start to its receipt.

    Parameters
    ----------
    name
        The command's.
    request
        The request: a dataclass, a mapping, or whatever JSON can hold.
    """

    def __init__(self, settings: Settings, run_id: str, name: str, request: object = None) -> None:
        self._settings, self._run_id, self._name = settings, run_id, name
        self._request = plain(request)
        self._started, self._start = clock.now(), time.monotonic()
        self._receipt: tuple[str, dict[str, object]] | None = None
        # The jobs of a flow share one run, and with it one ledger.
        self._before = len(read_ledger(settings.lakehouse, run_id))

    def head(self) -> dict[str, Any]:
        """Return what all receipts share; times, memory and files are those up to now."""
        written = read_ledger(self._settings.lakehouse, self._run_id)[self._before :]
        return {
            "run_id": self._run_id,
            "job": self._name,
            "started": self._started.isoformat(),
            "finished": clock.now().isoformat(),
            "duration_s": round(time.monotonic() - self._start, 3),
            "peak_memory_mb": peak_memory_mb(),
            "code": code_version(),
            "catalog_sha256": catalog_hash(),
            "settings": _settings(self._settings),
            "request": self._request,
            "parts": [
                {"part": entry.part, "sha256": entry.sha256, "rows": entry.rows}
                for entry in written
                if entry.confirmed
            ],
        }

    def write(self, file_name: str, **body: object) -> Path:
        """Write the receipt.

        Parameters
        ----------
        body
            What this kind of job has to say; a member that the head has too replaces the head's.
        """
        self._receipt = file_name, body
        document = self.head() | {name: plain(value) for name, value in body.items()}
        content = json.dumps(document, indent=2, ensure_ascii=False).encode(errors="replace")
        root = self._settings.lakehouse
        return write_run_file(root, self._run_id, file_name, content + b"\n")

    def write_again(self) -> Path:
        """Write the receipt anew, with what has happened since: a job that publishes afterwards.

        Raises
        ------
        ValueError
            If it was not written before.
        """
        if self._receipt is None:
            raise ValueError(f"{self._name} has written no receipt yet")
        file_name, body = self._receipt
        return self.write(file_name, **body)


def plain(value: object) -> Any:
    """Return a value in the types of JSON, without what may be secret.

    Durations are seconds, instants ISO 8601, enumerations their values.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _member(field.name, getattr(value, field.name))
            for field in fields(value)
            if field.repr
        }
    if isinstance(value, Mapping):
        return {str(plain(key)): _member(str(key), member) for key, member in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        members = [plain(member) for member in value]
        return sorted(members) if isinstance(value, (set, frozenset)) else members
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def peak_memory_mb() -> int:
    """Return the most memory that this process has held so far, in MB."""
    # Linux, but for sandboxes; what is told elsewhere begins with the parent's.
    with suppress(OSError, LookupError, ValueError):
        told = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
        return int(told.split(maxsplit=1)[0]) // 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 // (1024 if sys.platform == "darwin" else 1)


@cache
def code_version() -> dict[str, str | None]:
    """Return the package's version, and the checkout's revision where it is one."""
    try:
        package: str | None = version("tvfeast")
    except PackageNotFoundError:
        package = None
    return {"version": package, "revision": _revision(_CHECKOUT)}


@cache
def catalog_hash() -> str:
    """Return the SHA-256 of all declarations: equal catalogs, equal hashes."""
    text = json.dumps(plain(DATASETS), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _member(name: str, value: object) -> Any:
    if name in _SECRET and isinstance(value, Mapping):
        return sorted(map(str, value))
    return plain(value)


def _settings(settings: Settings) -> dict[str, Any]:
    url = urlsplit(settings.scanner_url)
    return {
        "project": str(settings.project),
        "lakehouse": str(settings.lakehouse),
        "scanner_url": url._replace(netloc=url.netloc.rpartition("@")[2]).geturl(),
        "session": settings.session_id is not None,
        "replayed": clock.is_replayed(),
    }


def _revision(checkout: Path) -> str | None:
    """Read Git's own files; a subprocess would cost more than most jobs do."""
    git = checkout / ".git"
    try:
        if git.is_file():  # a worktree
            git = checkout / git.read_text().partition("gitdir: ")[2].strip()
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        common = git / (git / "commondir").read_text().strip() if _is_worktree(git) else git
        if (common / name).is_file():
            return (common / name).read_text().strip()
        packed = (common / "packed-refs").read_text().splitlines()
        return next(line.split()[0] for line in packed if line.endswith(f" {name}"))
    except (OSError, StopIteration, UnicodeError):
        return None


def _is_worktree(git: Path) -> bool:
    return (git / "commondir").is_file()
