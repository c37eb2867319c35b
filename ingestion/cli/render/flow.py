"""The daily flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ingestion.cli.render import bars, online, scans, status
from ingestion.cli.render import quality as trust
from ingestion.jobs.flow import FlowResult, StepOutcome
from ingestion.runs.receipt import plain


class _Form(NamedTuple):
    """How a job's own result is written."""

    document: Callable[[Any], dict[str, Any]]
    text: Callable[[Any], str]


_FORMS = {
    "data-ingest": _Form(scans.bars_document, scans.bars_text),
    "meta-ingest": _Form(scans.symbols_document, scans.symbols_text),
    "feature-ingest": _Form(scans.ingest_document, scans.ingest_text),
    "local-features": _Form(bars.local_document, bars.local_text),
    "validate": _Form(trust.validate_document, trust.validate_text),
    "materialize": _Form(online.materialize_document, online.materialize_text),
    "verify --online": _Form(online.online_document, online.online_text),
    # Its text begins with a table, whose head tells nothing; a report past a limit has a reason.
    "status": _Form(status.status_document, lambda _: "everything is within its limits"),
}


def flow_document(result: FlowResult) -> dict[str, Any]:
    """Return a flow's outcome for ``--json``: what each step did, or why it did not."""
    return {
        "run_id": result.run_id,
        "profile": result.profile,
        "verdict": result.verdict,
        "published": plain(result.published),
        "refused": plain(result.refused),
        "steps": {step.name: _step_document(step) for step in result.steps},
        "receipt": str(result.receipt),
    }


def flow_text(result: FlowResult) -> str:
    """Return a flow's outcome for people: one line per step, and what is new and what is not."""
    width = max(len(step.name) for step in result.steps)
    lines = [f"{step.name:{width}}  {_step_text(step)}" for step in result.steps]
    lines.append(f"published: {', '.join(map(str, result.published)) or 'nothing new'}")
    lines += [f"refused: {each}" for each in result.refused]
    return "\n".join([*lines, str(result.receipt)])


def _step_document(step: StepOutcome) -> dict[str, Any]:
    told = {"status": step.status.value, "duration_s": step.duration_s}
    if step.reason:
        told["reason"] = step.reason
    if step.result is not None:
        told |= _FORMS[step.name].document(step.result)
    return told


def _step_text(step: StepOutcome) -> str:
    if step.reason:
        return f"{step.status.upper()}: {step.reason}"
    return _FORMS[step.name].text(step.result).partition("\n")[0]
