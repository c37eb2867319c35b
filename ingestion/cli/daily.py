"""The daily flow, and its last steps: what is served."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from ingestion.base.errors import demand_all
from ingestion.base.wording import counted
from ingestion.cli.bars import cross_sections_text, local_text
from ingestion.cli.checks import online_text, validate_text
from ingestion.cli.daily_bars import daily_text
from ingestion.cli.group import cli, examples, this_project
from ingestion.cli.ingest import (
    bars_text,
    declared,
    ingest_text,
    read_request,
    symbols_text,
    universe_text,
)
from ingestion.cli.options import (
    NAME,
    NAMES,
    RHYTHM,
    json_option,
    resume_options,
    scanner_options,
    source_options,
    step_options,
)
from ingestion.cli.output import minute, show

if TYPE_CHECKING:
    from ingestion.jobs.flow import FlowResult
    from ingestion.jobs.serve.materialize import MaterializeResult, ViewLoad
    from ingestion.jobs.serve.rebuild import RebuildResult
    from ingestion.jobs.steps import StepOutcome


@cli.command(
    "materialize",
    **examples(
        "materialize",
    ),
)
@step_options
@json_option
def materialize_command(as_json: bool) -> None:
    """Load the newest valid rows into the online store."""
    from ingestion.jobs.serve.materialize import materialize

    result = materialize(this_project())
    show(as_json, result, materialize_text)


def materialize_text(result: MaterializeResult) -> str:
    """Return a materialization's outcome for people."""
    views = "; ".join(map(_load_text, result.loads))
    return f"online store as of {minute(result.until)}: {views} ({result.duration_s:.1f} s)"


def _load_text(load: ViewLoad) -> str:
    late = f", {load.late_parts} of them late" if load.late_parts else ""
    counts = (
        f"{counted(load.rows, 'row')}, {load.changed:,} new" if load.rows is not None else "loaded"
    )
    return f"{load.view} {counts} from {counted(load.new_parts, 'new part')}{late}"


@cli.command(
    "rebuild",
    **examples(
        "rebuild",
    ),
)
@json_option
def rebuild_command(as_json: bool) -> None:
    """Make registry and online store anew.

    They are made from the definitions and the lakehouse.
    """
    from ingestion.jobs.serve.rebuild import rebuild

    result = rebuild(this_project())
    show(as_json, result, rebuild_text)
    demand_all(result.report)


def rebuild_text(result: RebuildResult) -> str:
    """Return a rebuild's outcome for people."""
    text = (
        f"registry and online store made anew\n{materialize_text(result.materialize)}\n"
        f"{online_text(result.report)}"
    )
    if result.dropped:
        text += (
            f"\nno longer registered: {', '.join(result.dropped)}, which this project does not "
            "define: run `feast apply` with their definitions, and load their rows again"
        )
    return text


@cli.command(
    "flow-data",
    **examples(
        "flow-data --candidates portfolio_candidates.json",
        "flow-data --universe us_large --profile large --every 1d",
        "flow-data --universe america --min-coverage 0.9 --json",
    ),
)
@step_options
@source_options
@click.option(
    "--profile",
    type=NAME,
    show_default="its candidates file, universe or market",
    help="Name under which `status` knows this flow.",
)
@click.option(
    "--every",
    type=RHYTHM,
    show_default="the median of its last five starts",
    help="How often it is to start, as 1d or 1h.",
)
@click.option(
    "--groups",
    type=NAMES,
    show_default="all",
    help="Groups of the scanner to ask for where they are due, as NAME,NAME.",
)
@resume_options
@scanner_options
@json_option
def flow_data_command(
    as_json: bool,
    profile: str | None,
    every: timedelta | None,
    groups: tuple[str, ...] | None,
    **arguments: Any,
) -> None:
    """Run the daily flow, from the scanner to the online store.

    Bars, symbols, the snapshots that are due, local features, the gate, the online store, and what
    it serves compared with the lakehouse. Exit 3 if a step was refused; the last lines say what was
    published. With --run-id, what the run has done is not done again.
    """
    from ingestion.jobs.flow import flow_data
    from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
    from ingestion.jobs.profiles import default_name

    project, source = this_project(), arguments["candidates"] or arguments["universe"]
    named = dict(arguments)
    request = read_request(FeatureIngestRequest, arguments)
    universe = declared(project, named)
    name = profile or default_name(project, source)
    result = flow_data(
        project,
        request,
        profile=name,
        every=every,
        universe=universe,
        groups=groups,
    )
    show(as_json, result, flow_text)
    if result.error:
        raise result.error


def flow_text(result: FlowResult) -> str:
    """Return a flow's outcome for people: one line per step, and what is new and what is not.

    Each reason of a refusal is there once; the first one is in the error, which is printed last.
    """
    width = max(len(step.name) for step in result.steps)
    lines = [f"{step.name:{width}}  {_step_text(step)}" for step in result.steps]
    lines.append(f"published: {', '.join(map(str, result.published)) or 'nothing new'}")
    refused: dict[str, list[str]] = {}
    for each in result.refused:
        # The steps of one scan differ in their receipts only.
        reason = each.reason.partition("; see ")[0]
        refused.setdefault(reason, []).append(each.group or each.step)
    for reason, names in refused.items():
        why = "see the last line" if reason in str(result.error) else reason
        lines.append(f"refused: {', '.join(names)}: {why}")
    return "\n".join([*lines, str(result.receipt)])


def _step_text(step: StepOutcome) -> str:
    if step.status in ("failed", "refused"):
        return step.status.upper()
    if step.reason:
        return f"{step.status.upper()}: {step.reason}"
    job = "feature-ingest" if step.group else step.name
    job = "daily-bars" if job.startswith("daily-bars ") else job
    return _TEXTS[job](step.result).partition("\n")[0]


_TEXTS: dict[str, Callable[[Any], str]] = {
    "universe": lambda result: universe_text(result),
    "data-ingest": bars_text,
    "meta-ingest": symbols_text,
    "feature-ingest": ingest_text,
    "daily-bars": daily_text,
    "local-features": local_text,
    "cross-sections": cross_sections_text,
    "validate": validate_text,
    "materialize": materialize_text,
    "verify --online": online_text,
    # Its text begins with a table, whose first line says nothing; past a limit there is a reason.
    "status": lambda _: "everything is within its limits",
}
"""The text of each step's own result, of which a flow shows the first line."""
