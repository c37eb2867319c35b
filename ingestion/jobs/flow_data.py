"""The daily flow: each job in turn, as one run, in one process, so that Feast is imported once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from feature_repo.catalog import OHLCV_1D
from ingestion import clock
from ingestion.errors import LakehouseLocked, TvfeastError
from ingestion.jobs.data_ingest import data_ingest
from ingestion.jobs.feast_repository import open_repository
from ingestion.jobs.feature_ingest import (
    FeatureIngestRequest,
    FeatureIngestResult,
    feature_ingest,
)
from ingestion.jobs.local_features import local_features
from ingestion.jobs.materialize import materialize
from ingestion.jobs.meta_ingest import meta_ingest
from ingestion.jobs.profiles import FLOW_FILE as RECEIPT_FILE
from ingestion.jobs.profiles import known_profiles, name_of, with_run
from ingestion.jobs.run import new_run_id
from ingestion.jobs.scan import Progress
from ingestion.jobs.status import refuse_unless_fresh, status
from ingestion.jobs.validate import refuse_unless_passed, validate
from ingestion.jobs.verify_online import refuse_unless_equal, verify_online
from ingestion.lakehouse import lakehouse_lock, list_parts
from ingestion.quality.receipt import Job
from ingestion.settings import Settings
from ingestion.store_files import store_files


class Status(StrEnum):
    """What became of a step."""

    DONE = "done"
    SKIPPED = "nothing to do"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class StepOutcome:
    """One step of the flow."""

    name: str
    status: Status
    reason: str = ""
    """Why it failed, had nothing to do, or was not run."""
    duration_s: float = 0.0
    result: Any = None
    """The job's own."""


@dataclass(frozen=True)
class FlowResult:
    """What each step of the flow did."""

    run_id: str
    steps: tuple[StepOutcome, ...]
    receipt: Path
    error: TvfeastError | None
    """The first failure: its exit code is the flow's."""

    def __getitem__(self, name: str) -> StepOutcome:
        """Return a step's outcome."""
        return next(step for step in self.steps if step.name == name)


def flow_data(
    settings: Settings,
    request: FeatureIngestRequest,
    progress: Progress | None = None,
    *,
    profile: str | None = None,
    every: timedelta | None = None,
) -> FlowResult:
    """Run the chain; a step that fails stops those that need it, and no other.

    A repeated flow picks up where this one stopped: each job adds only what is not there yet. The
    receipt is written before the first step and after each, so that a flow that is killed has told
    how far it came.

    Parameters
    ----------
    profile
        Under which name ``status`` knows this flow; that of its candidates or market if None.
    every
        How often it is to start; what its last starts show if None.

    Raises
    ------
    LakehouseLocked
        If another run is writing.
    FeastRepositoryError
        If the registry describes other definitions or another lakehouse; nothing is published.
    """
    run_id = new_run_id()
    name, started = profile or name_of(request.source), clock.now()
    with (
        lakehouse_lock(settings.lakehouse, run_id),
        Job(settings, run_id, "flow-data", RECEIPT_FILE, request) as job,
    ):
        chain = _chain(settings, request, progress, run_id, name)
        steps = [StepOutcome(step.name, Status.NOT_RUN) for step in chain]
        profiles = with_run(known_profiles(settings.lakehouse), name, run_id)
        job.tell(profile=name, every=every, profiles=profiles)
        job.tell(steps=[_told(each) for each in steps])
        job.write()
        registry = store_files(settings).registry
        if registry is None or registry.exists():
            open_repository(settings, apply_if_missing=True)  # before anything is published
        error: TvfeastError | None = None
        for number, (step, failure) in enumerate(_run(chain)):
            steps[number] = step
            error = error or failure
            if isinstance(step.result, FeatureIngestResult) and step.result.part:
                job.tell(profiles=profiles | {name: profiles[name].fetched(started)})
            job.tell(steps=[_told(each) for each in steps])
            job.write()
        if error:
            job.fail(error)
    return FlowResult(run_id, tuple(steps), job.receipt, error)


class _NothingToDo(Exception):
    """A step has nothing to do; ``str()`` says why."""


class _Step(NamedTuple):
    name: str
    needs: tuple[str, ...]
    """Steps without which this one would publish what is not known to be right."""
    run: Callable[[], object]


def _chain(
    settings: Settings,
    request: FeatureIngestRequest,
    progress: Progress | None,
    run_id: str,
    profile: str,
) -> tuple[_Step, ...]:
    def compute() -> object:
        if not list_parts(settings.lakehouse, OHLCV_1D):
            raise _NothingToDo("no bars yet; `tvfeast import-bars` loads history")
        return local_features(settings, run_id)

    def gate() -> object:
        verdict = validate(settings, run_id)
        refuse_unless_passed(verdict)
        return verdict

    def compare() -> object:
        report = verify_online(settings)
        refuse_unless_equal(report)
        return report

    def look() -> object:
        report = status(settings, profile=profile)
        refuse_unless_fresh(report)
        return report

    features = ("feature-ingest", "local-features")
    return (
        _Step("data-ingest", (), lambda: data_ingest(settings, request, progress, run_id)),
        _Step("meta-ingest", (), lambda: meta_ingest(settings, request, progress, run_id)),
        _Step("feature-ingest", (), lambda: feature_ingest(settings, request, progress, run_id)),
        _Step("local-features", ("data-ingest",), compute),
        _Step("validate", features, gate),
        _Step("materialize", ("validate",), lambda: materialize(settings, run_id)),
        _Step("verify --online", ("materialize",), compare),
        _Step("status", (), look),
    )


def _run(chain: tuple[_Step, ...]) -> Iterator[tuple[StepOutcome, TvfeastError | None]]:
    stopped: set[str] = set()
    for step in chain:
        if waits_for := [name for name in step.needs if name in stopped]:
            stopped.add(step.name)
            reason = f"it needs {' and '.join(waits_for)}"
            yield StepOutcome(step.name, Status.NOT_RUN, reason), None
            continue
        began = time.monotonic()
        state, reason = Status.DONE, ""
        failure: TvfeastError | None = None
        result: object = None
        try:
            result = step.run()
        except _NothingToDo as why:
            state, reason = Status.SKIPPED, str(why)
        except LakehouseLocked:
            raise
        except TvfeastError as error:
            stopped.add(step.name)
            state, reason, failure = Status.FAILED, str(error), error
        duration = round(time.monotonic() - began, 3)
        yield StepOutcome(step.name, state, reason, duration, result), failure


def _told(step: StepOutcome) -> dict[str, object]:
    return {
        "step": step.name,
        "status": step.status,
        "reason": step.reason,
        "duration_s": step.duration_s,
    }
