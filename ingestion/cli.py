"""The command line: ``tvfeast COMMAND``.

Results go to stdout, as text or with ``--json`` as one JSON object; progress and errors go to
stderr. Commands import their job when they run, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import sys
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from ingestion.errors import InputError, TvfeastError
from ingestion.options import (
    DURATION,
    INSTANT,
    LIMIT,
    json_option,
    scanner_arguments,
    scanner_options,
    source_arguments,
    source_options,
)
from ingestion.settings import Settings


def main() -> None:
    """Run the command line; every error ends in one line and its exit code."""
    try:
        status = cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit("interrupted")
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except TvfeastError as error:
        click.echo(f"tvfeast: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last resort: a line and where to look
        click.echo(f"tvfeast: internal error: {error!r}; traceback in {_log(error)}", err=True)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _log(error: Exception) -> Path:
    folder = Settings.from_environment().log_folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tvfeast.log"
    with path.open("a") as file:
        file.write(f"--- {datetime.now().astimezone().isoformat()} {' '.join(sys.argv)}\n")
        traceback.print_exception(error, file=file)
    return path


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
    required=True,
    type=click.Path(path_type=Path),
    help="CSV or Parquet with symbol, event_timestamp and targets.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="training_set.parquet",
    show_default=True,
    help="Parquet file to write.",
)
@click.option("--service", default="served_history_v1", show_default=True, help="Feature service.")
@click.option(
    "--as-recorded", is_flag=True, help="Join only rows that had been written by the label's time."
)
@json_option
def training_set_command(as_json: bool, **arguments: Any) -> None:
    """Join labels to the features that were known at their time."""
    from ingestion import render
    from ingestion.jobs.training_set import TrainingSetRequest, training_set

    result = training_set(Settings.from_environment(), TrainingSetRequest(**arguments))
    _show(as_json, render.training_document(result), render.training_text(result))


@cli.command("replay-scanner")
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True)
@click.option(
    "--bars",
    type=click.Path(path_type=Path),
    help="Folder with bars.parquet and symbols.csv; the sample if not given.",
)
@click.option("--latency", type=float, default=0.0, help="Seconds before each answer.")
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
    from ingestion.jobs.demo import demo

    project = Settings.from_environment().project
    demo(project / folder, _sample(), click.echo)


def _sample() -> Path:
    return Path(__file__).resolve().parent.parent / "data" / "sample"


def _candidates(path: Path) -> Any:
    from ingestion.candidates import read_candidates

    candidates = read_candidates(path)
    for problem in candidates.problems:
        click.echo(f"{path}, {problem}; left out", err=True)
    return candidates


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


__all__ = ["cli", "main"]

if __name__ == "__main__":
    main()
