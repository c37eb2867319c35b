"""The commands: ``tvfeast COMMAND``.

Results go to stdout, as text or with ``--json`` as one JSON object; progress and errors go to
stderr. Commands import their job when they run, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ingestion.errors import GateRefused, InputError
from ingestion.options import (
    DAY,
    DURATION,
    INSTANT,
    LIMIT,
    Number,
    json_option,
    scanner_arguments,
    scanner_options,
    source_arguments,
    source_options,
)
from ingestion.settings import Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tvfeast")
def cli() -> None:
    """TradingView screener signals as point-in-time features, served by Feast."""


@cli.command("feature-ingest")
@source_options
@scanner_options
@json_option
def feature_ingest_command(as_json: bool, **arguments: Any) -> None:
    """Fetch one snapshot from the scanner and append it to the lakehouse."""
    from ingestion import render
    from ingestion.jobs.feature_ingest import feature_ingest

    request = _ingest_request(arguments)
    result = feature_ingest(Settings.from_environment(), request, render.progress())
    _show(as_json, render.ingest_document(result), render.ingest_text(result))


@cli.command("materialize")
@json_option
def materialize_command(as_json: bool) -> None:
    """Load the newest valid rows into the online store."""
    from ingestion import render
    from ingestion.jobs.materialize import materialize

    result = materialize(Settings.from_environment())
    _show(as_json, render.materialize_document(result), render.materialize_text(result))


@cli.command("flow-data")
@source_options
@scanner_options
@json_option
def flow_data_command(as_json: bool, **arguments: Any) -> None:
    """Run the daily flow: feature-ingest, then materialize."""
    from ingestion import render
    from ingestion.jobs.flow_data import flow_data

    request = _ingest_request(arguments)
    result = flow_data(Settings.from_environment(), request, render.progress())
    _show(as_json, render.flow_document(result), render.flow_text(result))


@cli.command("select")
@click.option("--by", default="Recommend.All", show_default=True, help="Feature to rank by.")
@click.option("--min", "minimum", type=LIMIT, multiple=True, help="Lower limit, as ADX=25.")
@click.option("--max", "maximum", type=LIMIT, multiple=True, help="Upper limit, as RSI=70.")
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, help="Rows to list.")
@click.option("--ascending", is_flag=True, help="Smallest first.")
@click.option(
    "--candidates",
    type=click.Path(path_type=Path),
    help="Rank only the symbols of this file, instead of all with a fresh snapshot.",
)
@click.option(
    "--max-bar-age",
    type=DURATION,
    default="4d",
    show_default=True,
    help="Leave out rows whose bar opened longer ago.",
)
@click.option("--closed-only", is_flag=True, help="Leave out rows whose bar may still move.")
@click.option("--as-of", type=INSTANT, help="Rank what was known then, from the offline store.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="How to print the ranking.",
)
@json_option
def select_command(
    as_json: bool,
    form: str,
    candidates: Path | None,
    minimum: tuple[tuple[str, float], ...],
    maximum: tuple[tuple[str, float], ...],
    **arguments: Any,
) -> None:
    """Rank the candidates by a feature."""
    from ingestion import render
    from ingestion.jobs.select import SelectRequest, select

    symbols = _candidates(candidates).symbols if candidates else None
    request = SelectRequest(
        symbols=symbols, minimum=dict(minimum), maximum=dict(maximum), **arguments
    )
    selection = select(Settings.from_environment(), request)
    if form == "csv" and not as_json:
        click.echo(render.selection_csv(selection), nl=False)
        click.echo(render.selection_footer(selection), err=True)
        return
    _show(
        as_json or form == "json",
        render.selection_document(selection),
        render.selection_text(selection),
    )


@cli.command("training-set")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="CSV or Parquet with symbol, event_timestamp and targets.",
)
@click.option("--target", help="Make the labels from the bars instead: fwd_return_5d.")
@click.option("--from", "first", type=DAY, help="Date of the first decision, for --target.")
@click.option("--to", "last", type=DAY, help="Date of the last decision, for --target.")
@click.option(
    "--entry",
    type=click.Choice(["open", "close"]),
    default="open",
    show_default=True,
    help="Where the position is entered: the next open, or the decision's own close.",
)
@click.option("--candidates", type=click.Path(path_type=Path), help="Label only these symbols.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="training_set.parquet",
    show_default=True,
    help="Parquet file to write.",
)
@click.option(
    "--service", help="Feature service [served_history_v1 for --labels, training_v1 for --target]."
)
@click.option(
    "--as-recorded", is_flag=True, help="Join only rows that had been written by the label's time."
)
@json_option
def training_set_command(
    as_json: bool,
    labels: Path | None,
    target: str | None,
    candidates: Path | None,
    **arguments: Any,
) -> None:
    """Join labels to the features that were known at their time."""
    from ingestion import render
    from ingestion.jobs.training_set import TrainingSetRequest, training_set

    span = {name: arguments.pop(name) for name in ("first", "last", "entry")}
    service = arguments.pop("service")
    settings = Settings.from_environment()
    made = None
    if labels is not None and target is None:
        given: Any = labels
        service = service or "served_history_v1"
    elif target is not None and labels is None:
        made = _labels(settings, target, candidates, **span)
        given = made.labels.table
        service = service or "training_v1"
    else:
        raise InputError("name either --labels FILE or --target fwd_return_5d")
    request = TrainingSetRequest(labels=given, service=service, **arguments)
    result = training_set(settings, request)
    _show(as_json, render.training_document(result, made), render.training_text(result, made))


@cli.command("import-bars")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--exchange", help="Exchange of bare tickers.")
@click.option(
    "--symbol-map",
    type=click.Path(path_type=Path),
    help="JSON object or two-column CSV: vendor's name → EXCHANGE:TICKER.",
)
@click.option(
    "--splits",
    type=click.Path(path_type=Path),
    help="CSV or Parquet with symbol, ex-date and ratio; also without FILES.",
)
@click.option("--adjusted", is_flag=True, help="The files' prices are split-adjusted.")
@click.option(
    "--max-return",
    type=Number(0.001, 1e9),
    default=5.0,
    show_default=True,
    help="Refuse bars whose one-day return is larger, as a fraction.",
)
@json_option
def import_bars_command(as_json: bool, **arguments: Any) -> None:
    """Load daily bars from vendors' FILES: CSV or Parquet, long or one a symbol."""
    from ingestion import render
    from ingestion.jobs.import_bars import ImportRequest, import_bars

    result = import_bars(Settings.from_environment(), ImportRequest(**arguments))
    _show(as_json, render.import_document(result), render.import_text(result))


@cli.command("local-features")
@json_option
def local_features_command(as_json: bool) -> None:
    """Compute local_1d for the bars that are new."""
    from ingestion import render
    from ingestion.jobs.local_features import local_features

    result = local_features(Settings.from_environment())
    _show(as_json, render.local_document(result), render.local_text(result))


@cli.command("backfill")
@click.option("--from", "first", type=DAY, required=True, help="First date of bars' closes, UTC.")
@click.option("--to", "last", type=DAY, required=True, help="Last date, included.")
@json_option
def backfill_command(as_json: bool, **arguments: Any) -> None:
    """Compute local_1d for a span of history; writes only what differs."""
    from ingestion import render
    from ingestion.jobs.local_features import backfill

    result = backfill(Settings.from_environment(), **arguments)
    _show(as_json, render.local_document(result), render.local_text(result))


@cli.command("verify")
@click.option("--lookahead", is_flag=True, help="Prove that no feature of a bar looks past it.")
@json_option
def verify_command(as_json: bool, lookahead: bool) -> None:
    """Check what the lakehouse holds; exit 3 if something does not hold."""
    from ingestion import render
    from ingestion.jobs.lookahead import verify_lakehouse

    if not lookahead:
        raise InputError("name what to verify: --lookahead")
    report = verify_lakehouse(Settings.from_environment())
    _show(as_json, render.lookahead_document(report), render.lookahead_text(report))
    if not report.passed:
        raise GateRefused(f"{len(report.leaks)} features look ahead")


@cli.command("replay-scanner")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8787,
    show_default=True,
    help="Port on 127.0.0.1; 0 for a free one.",
)
@click.option(
    "--bars",
    type=click.Path(path_type=Path),
    help="Folder with bars.parquet and symbols.csv; the sample if not given.",
)
@click.option("--latency", type=Number(0, 600), default=0.0, help="Seconds before each answer.")
@click.option(
    "--fail",
    "faults",
    multiple=True,
    metavar="FAULT",
    help="Misbehave: `empty:3` for the next three requests, `html@0.1` for one in ten.",
)
def replay_scanner_command(port: int, bars: Path | None, latency: float, faults: Any) -> None:
    """Stand in for TradingView's scanner on this machine, over recorded bars."""
    from ingestion.replay import serve

    serve(bars or _sample(), port=port, latency=latency, fail=faults)


@cli.command("demo")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default="data/demo",
    show_default=True,
    help="Where to build it, relative to the project; replaced if it is an earlier demo.",
)
def demo_command(folder: Path) -> None:
    """Replay a week of real bars through the whole flow, then train and select."""
    from ingestion import render
    from ingestion.jobs.demo import demo

    project = Settings.from_environment().project
    demo(project / folder, _sample(), click.echo, render.selection_text)


def _sample() -> Path:
    return Path(__file__).resolve().parent.parent / "data" / "sample"


def _candidates(path: Path) -> Any:
    from ingestion.candidates import read_candidates

    candidates = read_candidates(path)
    for problem in candidates.problems:
        click.echo(f"{path}, {problem}; left out", err=True)
    return candidates


def _labels(settings: Settings, target: str, candidates: Path | None, **span: Any) -> Any:
    from ingestion.jobs.targets import training_labels

    if span["first"] is None or span["last"] is None:
        raise InputError("--target needs --from DATE and --to DATE")
    symbols = _candidates(candidates).symbols if candidates else None
    made = training_labels(settings, target, **span, symbols=symbols)
    for warning in made.warnings:
        click.echo(f"warning: {warning}", err=True)
    return made


def _ingest_request(arguments: dict[str, Any]) -> Any:
    from ingestion.jobs.feature_ingest import FeatureIngestRequest
    from ingestion.scanner import ScannerOptions

    candidates, universe = source_arguments(arguments)
    if candidates and not universe:
        source = _candidates(candidates)
    elif universe and not candidates:
        source = universe
    else:
        raise InputError("name either --candidates FILE or --universe MARKET")
    options = ScannerOptions(**scanner_arguments(arguments))
    return FeatureIngestRequest(source=source, scanner=options, **arguments)


def _show(as_json: bool, document: dict[str, Any], text: str) -> None:
    click.echo(json.dumps(document, ensure_ascii=False) if as_json else text)
