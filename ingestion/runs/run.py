"""A run: its id, the lock, its scratch folders, and the receipt that it leaves.

A job opens a run where it starts. Leaving it writes the receipt, whatever happened::

    with Run.open(project, "feature-ingest", request, file="feature_ingest.json") as run:
        …
        run.tell(fetched=…, symbols=…)

A job whose readers need its receipt before it publishes calls ``run.write()`` before that. A flow
opens one run, and each of its jobs is a step of it: :meth:`Run.child`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import resource
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from ingestion.base import clock
from ingestion.base.errors import GateRefused, StepDone, TvfeastError
from ingestion.base.plain import plain
from ingestion.base.redaction import Redaction, session_header
from ingestion.base.wording import counted
from ingestion.catalog import Catalog
from ingestion.lakehouse import RunFile, lakehouse_lock, run_file, write_run_file
from ingestion.lakehouse.lease import KEPT_S, Step
from ingestion.lakehouse.ledger import Entry, read_ledger
from ingestion.lakehouse.run_files import RUNS
from ingestion.project import Project

_CHECKOUT = Path(__file__).resolve().parent.parent.parent
_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of a job; beside each, the exit code of a command that is the job alone."""

    RUNNING = "running"
    """It runs, or was killed."""
    DONE = "done"
    """0."""
    REFUSED = "refused"
    """3: a limit said no, to all or to a part."""
    FAILED = "failed"
    """1, 2 or 4."""
    INTERRUPTED = "interrupted"
    """130: by Ctrl-C, or by SIGTERM."""


def new_run_id() -> str:
    """Return an id that sorts by the wall clock, also when ``TVFEAST_NOW`` is set.

    Runs of one second are in order too: who looks for the newest receipt goes by this.
    """
    seconds, microseconds = divmod(time.time_ns() // 1_000, 1_000_000)
    second = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
    return f"{second}-{microseconds:06}{secrets.token_hex(2)}"


def run_instant(run_id: str) -> datetime:
    """Return when a run started by the wall clock, as :func:`new_run_id` has put it into its id."""
    return datetime.strptime(run_id[:23], "%Y%m%dT%H%M%SZ-%f").replace(tzinfo=UTC)


class Run:
    """A job that runs, from its start to its receipt; a context manager.

    :meth:`open` makes one that has the lakehouse's lock.

    Parameters
    ----------
    id_
        What the parts and files that it writes are of; the steps of a flow share it.
    job
        The command's name.
    file
        The receipt's name.
    request
        What was asked: a dataclass, a mapping, or whatever JSON can contain.
    """

    def __init__(
        self, project: Project, id_: str, job: str, request: object = None, *, file: str
    ) -> None:
        self.id, self.file = id_, file
        self._project, self._job, self._request = project, job, plain(request)
        self._started, self._start = clock.now(), time.monotonic()
        self._outcome, self._error = Outcome.RUNNING, ""
        self._body: dict[str, object] = {}
        self._secrets = _secrets(project, request)
        # The steps of a flow share one ledger.
        self._before = len(read_ledger(project.lakehouse, id_))

    @classmethod
    @contextmanager
    def open(
        cls,
        project: Project,
        job: str,
        request: object = None,
        *,
        file: str,
        step_of: Run | None = None,
        writes: bool = True,
    ) -> Iterator[Run]:
        """Run a job under a new id and the lakehouse's lock; its receipt is there afterwards.

        Parameters
        ----------
        step_of
            The flow that the job is a step of, which has the lock already.
        writes
            Whether the job changes the lakehouse; without, it needs no lock.

        Raises
        ------
        LakehouseLocked
            If another process is writing; this leaves no receipt.
        StepDone
            If the project names a run in parts, which has done this job.
        """
        if step_of is not None:
            with step_of.child(job, request, file=file) as step:
                yield step
            return
        id_ = project.run_id or new_run_id()
        of_parts = None if project.run_id is None else _step(project, id_, job, file)
        with (
            lakehouse_lock(project.lakehouse, id_, of_parts) if writes else nullcontext(),
            cls(project, id_, job, request, file=file) as run,
        ):
            yield run

    def child(self, job: str, request: object = None, *, file: str) -> Run:
        """Return a step of this run: it has its id and its lock, and a receipt of its own.

        Raises
        ------
        StepDone
            If the project names a run in parts, which has done this job.
        """
        if self._project.run_id is not None:
            _refuse_done(self._project, self.id, job, file)
        return Run(self._project, self.id, job, request, file=file)

    def scratch(self, name: str) -> Path:
        """Return a folder for what is too large for memory; it does not outlive the lock."""
        return self._project.lakehouse.scratch_folder(f"{self.id}-{name}")

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.fail(error)
        elif self._outcome is Outcome.RUNNING:
            self._outcome = Outcome.DONE
        try:
            self.write()
        except (OSError, TvfeastError) as also:
            if error is None:
                raise
            # The disk may be full: then the first error is the one to report.
            _log.warning("%s could not be written: %s", self.receipt, also)

    @property
    def receipt(self) -> RunFile:
        """Where it is, or will be."""
        return run_file(self._project.lakehouse, self.id, self.file)

    def tell(self, **body: object) -> None:
        """Add what this kind of job has to say; a member that the head has too replaces it."""
        self._body |= body

    def fail(self, error: BaseException) -> None:
        """Take down an error that the job goes on after; leaving it by one does the same."""
        self._outcome, self._error = outcome_of(error), _told(error)

    def _dataset(self, entry: Entry) -> str:
        """Return whose part it is; a folder that is no dataset's is named itself."""
        folder = entry.part.partition("/date=")[0]
        datasets = self._project.catalog.datasets
        return next((each.name for each in datasets if each.storage == folder), folder)

    def published(self) -> dict[str, int]:
        """Return how many rows it has published so far, by dataset."""
        rows: Counter[str] = Counter()
        for entry in self._confirmed():
            rows[self._dataset(entry)] += entry.rows
        return dict(rows)

    def published_so_far(self) -> str:
        """Return the same for a message that says why it does not go on."""
        rows = self.published()
        return f"published before that: {row_counts(rows)}" if rows else "nothing was published"

    def head(self) -> dict[str, Any]:
        """Return what all receipts share; times, memory and files are those up to now."""
        return {
            "run_id": self.id,
            "job": self._job,
            "outcome": self._outcome,
            "error": self._error or None,
            "started": self._started.isoformat(),
            "finished": clock.now().isoformat(),
            "duration_s": round(time.monotonic() - self._start, 3),
            "peak_memory_mb": peak_memory_mb(),
            "code": code_version(),
            "catalog_sha256": catalog_hash(self._project.catalog),
            "settings": _settings(self._project),
            "request": self._request,
            "parts": [
                {"part": entry.part, "sha256": entry.sha256, "rows": entry.rows}
                for entry in self._confirmed()
            ],
        }

    def _confirmed(self) -> list[Entry]:
        written = read_ledger(self._project.lakehouse, self.id)[self._before :]
        return [entry for entry in written if entry.confirmed]

    def write(self) -> RunFile:
        """Write the receipt, of what is known so far; leaving the job writes it once more."""
        document = self.head() | {name: plain(value) for name, value in self._body.items()}
        text = self._secrets.hide(json.dumps(document, indent=2, ensure_ascii=False))
        lakehouse, content = self._project.lakehouse, text.encode(errors="replace")
        return write_run_file(lakehouse, self.id, self.file, content + b"\n")


def _step(project: Project, id_: str, job: str, file: str) -> Step:
    """Return which step of a run in parts a job is."""
    _refuse_done(project, id_, job, file)
    keep_s = 0 if project.is_last_step else KEPT_S
    return Step(project.lakehouse.exists(f"{RUNS}/{id_}"), keep_s)


def _refuse_done(project: Project, id_: str, job: str, file: str) -> None:
    """Raise :class:`StepDone` if a run has done a job, as its receipt says."""
    with suppress(FileNotFoundError, ValueError, LookupError, TypeError):
        receipt = json.loads(run_file(project.lakehouse, id_, file).read())
        if receipt["outcome"] == Outcome.DONE:
            raise StepDone(f"run {id_} has done {job} already, and does not do it again")


def row_counts(rows: Mapping[str, int]) -> str:
    """Return numbers of rows by dataset, for people."""
    return ", ".join(f"{name} ({counted(count, 'row')})" for name, count in rows.items())


def outcome_of(error: BaseException | None) -> Outcome:
    """Return what became of a job that ended with an error, or with none."""
    if error is None:
        return Outcome.DONE
    if isinstance(error, GateRefused):
        return Outcome.REFUSED
    return Outcome.FAILED if isinstance(error, Exception) else Outcome.INTERRUPTED


def _told(error: BaseException) -> str:
    text = str(error) if isinstance(error, TvfeastError) else repr(error)
    return " ".join(text.split())


def _secrets(settings: Project, request: object) -> Redaction:
    """Return what hides the session and the headers that an error may repeat."""
    headers = dict(getattr(getattr(request, "scanner", None), "headers", {}))
    session = [session_header(settings.session_id)] if settings.session_id else []
    return Redaction([*headers.items(), *session])


def peak_memory_mb() -> int:
    """Return the most memory that this process has held so far, in MB."""
    # Linux, but for sandboxes; the figure elsewhere begins with the parent's.
    with suppress(OSError, LookupError, ValueError):
        told = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
        return int(told.split(maxsplit=1)[0]) // 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 // (1024 if sys.platform == "darwin" else 1)


@cache
def code_version() -> dict[str, str | None]:
    """Return the package's version, and the checkout's revision where it is one."""
    from importlib.metadata import PackageNotFoundError, version  # it takes 10 ms to import

    try:
        package: str | None = version("tvfeast")
    except PackageNotFoundError:
        package = None
    return {"version": package, "revision": _revision(_CHECKOUT)}


@cache
def catalog_hash(catalog: Catalog) -> str:
    """Return the SHA-256 of all declarations: equal catalogs, equal hashes."""
    text = json.dumps(plain(catalog.datasets), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _settings(settings: Project) -> dict[str, Any]:
    url = urlsplit(settings.scanner_url)
    return {
        "project": str(settings.folder),
        "lakehouse": str(settings.lakehouse_at),
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
