"""Steps that are run in turn: one that fails stops those that need it, and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from ingestion.base.errors import GateRefused, LakehouseLocked, StepDone, TvfeastError
from ingestion.jobs.ingest.scan import Spent
from ingestion.runs.run import peak_memory_mb


class Status(StrEnum):
    """What became of a step."""

    DONE = "done"
    SKIPPED = "nothing to do"
    REFUSED = "refused"
    """A limit said no, to all of it or to a part."""
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class StepOutcome:
    """What became of one step."""

    name: str
    status: Status
    group: str | None = None
    """Which of the scanner's groups it fetches, if it fetches one."""
    reason: str = ""
    """Why it was refused, failed, had nothing to do, or was not run."""
    duration_s: float = 0.0
    cpu_s: float = 0.0
    """What the whole process took of the processor meanwhile."""
    peak_memory_mb: int = 0
    """The most memory that the process has had so far."""
    result: Any = None
    """The job's own; a step that was refused may have one too."""


class NothingToDo(Exception):
    """A step has nothing to do; ``str()`` says why."""


class Step(NamedTuple):
    """One step of a chain."""

    name: str
    group: str | None
    """Which of the scanner's groups it fetches, if it fetches one."""
    needs: tuple[str, ...]
    """Steps without whose result this one would publish what is not known to be right."""
    run: Callable[[], Any]
    """Returns the job's result, which says in ``refusal`` what of it was refused, if it can be."""


def run_in_turn(chain: Sequence[Step]) -> Iterator[tuple[StepOutcome, TvfeastError | None]]:
    """Run some steps, and yield of each what became of it, and its failure.

    Raises
    ------
    LakehouseLocked
        If another run is writing: no later step could write either.
    """
    stopped: set[str] = set()
    for step in chain:
        if waits_for := [name for name in step.needs if name in stopped]:
            stopped.add(step.name)
            reason = f"it needs {' and '.join(waits_for)}"
            yield StepOutcome(step.name, Status.NOT_RUN, step.group, reason), None
            continue
        began = Spent.now()
        state, reason = Status.DONE, ""
        failure: TvfeastError | None = None
        result: object = None
        try:
            result = step.run()
            if (refusal := getattr(result, "refusal", None)) is not None:
                raise GateRefused(refusal)
        except (NothingToDo, StepDone) as why:
            state, reason = Status.SKIPPED, str(why)
        except LakehouseLocked:
            raise
        except TvfeastError as error:
            if result is None:
                stopped.add(step.name)
            state = Status.REFUSED if isinstance(error, GateRefused) else Status.FAILED
            reason, failure = str(error), error
        took = taken_since(began)
        yield StepOutcome(step.name, state, step.group, reason, result=result, **took), failure


def taken_since(began: Spent) -> dict[str, Any]:
    """Return what the process took since then, for a receipt."""
    now = Spent.now()
    return {
        "duration_s": round(now.clock - began.clock, 3),
        "cpu_s": round(now.cpu - began.cpu, 3),
        "peak_memory_mb": peak_memory_mb(),
    }
