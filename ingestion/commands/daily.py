"""What runs every day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingestion.commands.group import candidates_of, cli, show
from ingestion.errors import InputError
from ingestion.options import (
    json_option,
    scanner_arguments,
    scanner_options,
    source_arguments,
    source_options,
)
from ingestion.settings import Settings

if TYPE_CHECKING:
    from ingestion.candidates import Candidates


@cli.command("feature-ingest")
@source_options
@scanner_options
@json_option
def feature_ingest_command(as_json: bool, **arguments: Any) -> None:
    """Fetch one snapshot from the scanner and append it to the lakehouse."""
    from ingestion.jobs.feature_ingest import feature_ingest
    from ingestion.render.progress import progress
    from ingestion.render.scans import ingest_document, ingest_text

    request = _ingest_request(arguments)
    result = feature_ingest(Settings.from_environment(), request, progress())
    show(as_json, ingest_document(result), ingest_text(result))


@cli.command("materialize")
@json_option
def materialize_command(as_json: bool) -> None:
    """Load the newest valid rows into the online store."""
    from ingestion.jobs.materialize import materialize
    from ingestion.render.online import materialize_document, materialize_text

    result = materialize(Settings.from_environment())
    show(as_json, materialize_document(result), materialize_text(result))


@cli.command("flow-data")
@source_options
@scanner_options
@json_option
def flow_data_command(as_json: bool, **arguments: Any) -> None:
    """Run the daily flow: feature-ingest, then materialize."""
    from ingestion.jobs.flow_data import flow_data
    from ingestion.render.flow import flow_document, flow_text
    from ingestion.render.progress import progress

    request = _ingest_request(arguments)
    result = flow_data(Settings.from_environment(), request, progress())
    show(as_json, flow_document(result), flow_text(result))


def _ingest_request(arguments: dict[str, Any]) -> Any:
    from ingestion.jobs.feature_ingest import FeatureIngestRequest
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
    return FeatureIngestRequest(source=source, scanner=options, **arguments)
