"""What runs every day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ingestion.base.errors import InputError
from ingestion.cli.group import candidates_of, cli, show
from ingestion.cli.options import (
    NAME,
    RHYTHM,
    json_option,
    resume_options,
    scanner_arguments,
    scanner_options,
    source_arguments,
    source_options,
)
from ingestion.project import Project

if TYPE_CHECKING:
    from ingestion.markets.candidates import Candidates

RequestT = TypeVar("RequestT")


@cli.command("data-ingest")
@source_options
@scanner_options
@json_option
def data_ingest_command(as_json: bool, **arguments: Any) -> None:
    """Fetch the current daily bars and append those that have closed.

    Exit 3 while a session is missing.
    """
    from ingestion.cli.render.progress import progress
    from ingestion.cli.render.scans import bars_document, bars_text
    from ingestion.jobs.ingest.data_ingest import data_ingest, refuse_unless_usable
    from ingestion.jobs.ingest.holes import refuse_if_missing
    from ingestion.jobs.ingest.scan import ScanRequest

    request = _request(ScanRequest, arguments)
    result = data_ingest(Project.from_environment(), request, progress())
    show(as_json, bars_document(result), bars_text(result))
    refuse_unless_usable(result)
    refuse_if_missing(result.missing)


@cli.command("meta-ingest")
@source_options
@scanner_options
@json_option
def meta_ingest_command(as_json: bool, **arguments: Any) -> None:
    """Fetch the symbols' metadata and append what has changed."""
    from ingestion.cli.render.progress import progress
    from ingestion.cli.render.scans import symbols_document, symbols_text
    from ingestion.jobs.ingest.meta_ingest import meta_ingest
    from ingestion.jobs.ingest.scan import ScanRequest

    request = _request(ScanRequest, arguments)
    result = meta_ingest(Project.from_environment(), request, progress())
    show(as_json, symbols_document(result), symbols_text(result))


@cli.command("feature-ingest")
@source_options
@resume_options
@scanner_options
@json_option
def feature_ingest_command(as_json: bool, **arguments: Any) -> None:
    """Fetch one snapshot from the scanner and append it to the lakehouse."""
    from ingestion.cli.render.progress import progress
    from ingestion.cli.render.scans import ingest_document, ingest_text
    from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest

    request = _request(FeatureIngestRequest, arguments)
    result = feature_ingest(Project.from_environment(), request, progress())
    show(as_json, ingest_document(result), ingest_text(result))


@cli.command("materialize")
@json_option
def materialize_command(as_json: bool) -> None:
    """Load the newest valid rows into the online store."""
    from ingestion.cli.render.online import materialize_document, materialize_text
    from ingestion.jobs.serve.materialize import materialize

    result = materialize(Project.from_environment())
    show(as_json, materialize_document(result), materialize_text(result))


@cli.command("rebuild")
@json_option
def rebuild_command(as_json: bool) -> None:
    """Make registry.db and online.db anew, from the definitions and the lakehouse."""
    from ingestion.cli.render.online import rebuild_document, rebuild_text
    from ingestion.jobs.serve.rebuild import rebuild
    from ingestion.jobs.serve.verify_online import refuse_unless_equal

    result = rebuild(Project.from_environment())
    show(as_json, rebuild_document(result), rebuild_text(result))
    refuse_unless_equal(result.report)


@cli.command("flow-data")
@source_options
@click.option(
    "--profile",
    type=NAME,
    help="Name under which `status` knows this flow [its candidates file or market].",
)
@click.option(
    "--every",
    type=RHYTHM,
    help="How often it is to start, as 1d or 1h [the median of its last five starts].",
)
@resume_options
@scanner_options
@json_option
def flow_data_command(
    as_json: bool, profile: str | None, every: timedelta | None, **arguments: Any
) -> None:
    """Run the daily flow: bars, symbols, snapshot, local features, checks, online store."""
    from ingestion.cli.render.flow import flow_document, flow_text
    from ingestion.cli.render.progress import progress
    from ingestion.jobs.flow import flow_data
    from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
    from ingestion.jobs.profiles import default_name

    project, source = Project.from_environment(), arguments["candidates"] or arguments["universe"]
    request = _request(FeatureIngestRequest, arguments)
    name = profile or default_name(project, source)
    result = flow_data(project, request, progress(), profile=name, every=every)
    show(as_json, flow_document(result), flow_text(result))
    if result.error:
        raise result.error


def _request(kind: Callable[..., RequestT], arguments: dict[str, Any]) -> RequestT:
    from ingestion.scanner import ScannerOptions

    source: Candidates | str
    candidates, universe = source_arguments(arguments)
    if candidates and not universe:
        source = candidates_of(candidates)
    elif universe and not candidates:
        source = universe
    else:
        raise InputError("name either --candidates FILE or --universe MARKET")
    options = ScannerOptions(**scanner_arguments(arguments))
    return kind(source=source, scanner=options, **arguments)
