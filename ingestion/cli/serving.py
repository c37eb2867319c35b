"""Selecting and training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingestion.base.errors import InputError
from ingestion.base.plain import plain
from ingestion.base.wording import counted
from ingestion.cli.group import candidates_of, cli, examples, symbols_of, this_project
from ingestion.cli.options import (
    AS_OF,
    DAY,
    DURATION,
    LIMIT,
    adding,
    entry_option,
    json_option,
    known_at_option,
)
from ingestion.cli.output import age, minute, show, warn
from ingestion.cli.tables import Printing, Rows, cell, rows_options, table

if TYPE_CHECKING:
    from ingestion.datasets import DropReason
    from ingestion.jobs.serve.select import Selected, Selection, SelectRequest
    from ingestion.jobs.serve.targets import TrainingLabels
    from ingestion.jobs.serve.training_set import TrainingSetResult
    from ingestion.project import Project


_CHOICE = (
    click.option(
        "--by",
        show_default="the service's own",
        help="Feature to rank by: FEATURE or GROUP:FEATURE.",
    ),
    click.option(
        "--model",
        type=click.Path(path_type=Path),
        help="Rank by the scores of this model instead: a file of LightGBM, or .onnx.",
    ),
    click.option(
        "--trained-on",
        type=click.Path(path_type=Path),
        show_default="MODEL.json, a copy of the set's JSON file",
        help="The training set or panel that the model was trained on.",
    ),
    click.option("--min", "minimum", type=LIMIT, multiple=True, help="Lower limit, as ADX=25."),
    click.option("--max", "maximum", type=LIMIT, multiple=True, help="Upper limit, as RSI=70."),
    click.option(
        "--feature",
        "features",
        multiple=True,
        help="Show this feature too, of any group: FEATURE or GROUP:FEATURE.",
    ),
    click.option("--top", type=click.IntRange(1), default=20, help="Rows to list."),
    click.option("--ascending", is_flag=True, help="Smallest first."),
    click.option(
        "--candidates",
        type=click.Path(path_type=Path),
        help="Rank only the symbols of this file, instead of all with a fresh row.",
    ),
    click.option("--universe", help="Rank only the members of this universe, as known then."),
    click.option(
        "--max-bar-age",
        type=DURATION,
        default="4d",
        help="Leave out rows whose bar opened longer ago.",
    ),
    click.option("--closed-only", is_flag=True, help="Leave out rows whose bar may still move."),
    click.option(
        "--service", help="Rank by this service's features, those of its first group's rows."
    ),
    click.option(
        "--from-group",
        "group",
        show_default="the snapshots; what is computed where there was none by then",
        help="Whose rows to rank.",
    ),
)
choice_options = adding(_CHOICE)
"""Adds the options that say what to rank, and what to leave out."""


def choice_of(arguments: dict[str, Any]) -> SelectRequest:
    """Return what a command's arguments ask to be ranked."""
    from ingestion.jobs.serve.select import SelectRequest

    symbols = symbols_of(arguments.pop("candidates"), arguments["universe"])
    limits: dict[str, Any] = {name: dict(arguments.pop(name)) for name in ("minimum", "maximum")}
    return SelectRequest(symbols=symbols, **limits, **arguments)


@cli.command(
    "select",
    **examples(
        "select",
        "select --by RSI --ascending --top 5",
        "select --min ADX=25 --max RSI=70 --closed-only",
        "select --as-of 2021-03-05T22:00Z --by momentum_60d",
        "select --as-of 2021-03-05T22:00Z --known-at 2021-04-12 --from-group local_1d",
        "select --model rank.txt --trained-on weekly.parquet",
    ),
)
@choice_options
@click.option(
    "--as-of",
    type=AS_OF,
    help="Rank what was known then, from the offline store; a date is its end in UTC.",
)
@click.option(
    "--known-at",
    type=AS_OF,
    help="With --as-of: count only rows that were created by then; a date is its end in UTC.",
)
@click.option(
    "--record", is_flag=True, help="Keep what is listed, for `replay-decision` to show it again."
)
@rows_options
def select_command(printing: Printing, record: bool, **arguments: Any) -> None:
    """Rank the candidates by a feature or by a model."""
    from ingestion.jobs.serve.select import select

    request = choice_of(arguments)
    if record:
        from ingestion.jobs.serve.recorded_selection import select_and_record

        selection = select_and_record(this_project(), request)
    else:
        selection = select(this_project(), request)
    printing.show(selection, selection_text, selection_rows)


def selection_rows(selection: Selection) -> Rows:
    """Return a ranking with all features; ages are durations."""
    known = _known(selection)
    times = [known, f"{known}_age_s", "bar_open", "bar_age_s", "bar_state"]
    others = [f"{name}_age_s" for name in _others(selection)]
    return Rows(
        ["symbol", *selection.features, *times, *others],
        [_flat(row, selection) for row in selection.rows],
        selection_footer(selection),
    )


def selection_text(selection: Selection) -> str:
    """Return a ranking as a table: the feature ranked by, and a few beside it."""
    names = selection.shown
    rows = [
        [
            str(place),
            row.symbol,
            *(cell(row.features.get(name)) for name in names),
            age(selection.at - row.known_at),
            *(_age_of(row, name, selection) for name in selection.groups),
            age(selection.at - row.bar_open) if row.bar_open else "unknown",
            row.bar_state.value,
        ]
        for place, row in enumerate(selection.rows, start=1)
    ]
    headers = [
        "#",
        "symbol",
        *names,
        f"{_known(selection).replace('_', ' ')} age",
        *(f"{name} age" for name in selection.groups),
        "bar age",
        "bar",
    ]
    shown = table(headers, rows, {1, len(headers) - 1}) + "\n" if rows else ""
    return f"{shown}{selection_footer(selection)}"


def selection_footer(selection: Selection) -> str:
    """Return where a ranking comes from and what it leaves out."""
    from ingestion.jobs.serve.select import REASONS

    left_out = [f"{count:,} {REASONS[reason]}" for reason, count in selection.left_out.items()]
    return (
        f"{len(selection.rows):,} of {counted(selection.asked, 'symbol')} by {_by(selection)}, "
        f"{selection.group} of the {selection.source} at {minute(selection.at)}"
        + (f", as known at {minute(selection.known_at)}" if selection.known_at else "")
        + (f"; {later:,} of them written later" if (later := selection.written_later) else "")
        + (f"; left out: {', '.join(left_out)}" if left_out else "")
    )


def _by(selection: Selection) -> str:
    model = selection.model
    if model is None:
        return selection.by
    return f"{selection.by} of {model.file} ({model.kind}, {counted(model.inputs, 'feature')})"


def _known(selection: Selection) -> str:
    """Return what made the rows of a group knowable: the snapshot, or the close of the bar."""
    return "bar_close" if selection.of_closed_bars else "snapshot"


def _flat(row: Selected, selection: Selection) -> dict[str, Any]:
    at, known = selection.at, _known(selection)
    return {
        "symbol": row.symbol,
        **row.features,
        known: row.known_at,
        f"{known}_age_s": at - row.known_at,
        "bar_open": row.bar_open,
        "bar_age_s": at - row.bar_open if row.bar_open else None,
        "bar_state": row.bar_state,
        **{f"{name}_age_s": at - then if then else None for name, then in row.others.items()},
    }


def _others(selection: Selection) -> list[str]:
    """Return the further groups whose features were read."""
    return list(dict.fromkeys(name for row in selection.rows for name in row.others))


def _age_of(row: Selected, group: str, selection: Selection) -> str:
    known = row.others.get(group)
    return "none" if known is None else age(selection.at - known)


@cli.command(
    "training-set",
    **examples(
        "training-set --labels labels.parquet",
        "training-set --target fwd_return_5d --from 2021-03-01 --to 2021-03-31",
        "training-set --target fwd_return_20d --target barrier_10d,profit=2sd,loss=1sd "
        "--from 2021-01-04 --to 2021-01-29",
        "training-set --labels labels.csv --feature local_1d:RSI --feature momentum_60d --ages",
    ),
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="CSV or Parquet with symbol, event_timestamp and targets.",
)
@click.option(
    "--target",
    multiple=True,
    help="Make this label from the bars instead: fwd_return_5d, total_return_20d, "
    "excess_fwd_return_5d,benchmark=AMEX:SPY, scaled_…, sign_…, quantile_…, "
    "barrier_10d,profit=5%,loss=2sd; repeat it for several.",
)
@click.option("--from", "first", type=DAY, help="Date of the first decision, for --target.")
@click.option("--to", "last", type=DAY, help="Date of the last decision, for --target.")
@entry_option
@click.option("--candidates", type=click.Path(path_type=Path), help="Label only these symbols.")
@click.option(
    "--universe", help="Keep only labels of symbols that were in this universe at their time."
)
@click.option(
    "--universe-as-of",
    is_flag=True,
    help="Label only decisions on symbols that were active then, as meta-ingest observed.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="training_set.parquet",
    help="Parquet file to write.",
)
@click.option(
    "--service",
    show_default="the catalog's for --labels or --target",
    help="Feature service to join.",
)
@click.option(
    "--feature",
    "features",
    multiple=True,
    help="Join this feature, of any group, and no service: FEATURE or GROUP:FEATURE.",
)
@click.option("--ages", is_flag=True, help="Add how old each group's row was, in seconds.")
@known_at_option
@click.option(
    "--as-recorded", is_flag=True, help="Join only rows that had been written by the label's time."
)
@json_option
def training_set_command(
    as_json: bool,
    labels: Path | None,
    target: tuple[str, ...],
    candidates: Path | None,
    universe: str | None,
    **arguments: Any,
) -> None:
    """Join labels to the features that were known at their time."""
    from ingestion.jobs.serve.training_set import TrainingSetRequest, training_set
    from ingestion.runs.known_at import latest_known

    span = {name: arguments.pop(name) for name in ("first", "last", "entry", "universe_as_of")}
    service = arguments.pop("service")
    project = this_project()
    made: TrainingLabels | None = None
    told: dict[str, Any] | None = None
    if service and arguments["features"]:
        raise InputError("name --service or --feature, not both")
    if span["universe_as_of"] and not target:
        raise InputError("--universe-as-of goes with --target: the labels of a file are all kept")
    if span["universe_as_of"] and universe is not None:
        raise InputError("name --universe NAME or --universe-as-of, not both")
    for name in arguments["features"]:
        project.catalog.feature(name)  # refused before labels are made, which takes longer
    if labels is not None and not target:
        given: Any = labels
        use = "labels"
    elif target and labels is None:
        arguments["known_at"] = arguments["known_at"] or latest_known(project.lakehouse)
        symbols = candidates_of(candidates).symbols if candidates else None
        made = _labels(
            project,
            target,
            symbols,
            universe=universe,
            as_recorded=arguments["as_recorded"],
            known_at=arguments["known_at"],
            **span,
        )
        given = made.labels.table
        use = "target"
        told = {"candidates": candidates, **span, **plain(made)}
        told |= {"universe": universe, "symbols": symbols}
    else:
        raise InputError("name either --labels FILE or --target fwd_return_5d")
    if not service and not arguments["features"]:
        service = project.catalog.default_service(use).name
    request = TrainingSetRequest(
        labels=given,
        service=service,
        made=told,
        universe=None if made else universe,
        **arguments,
    )
    result = training_set(project, request)
    if result.unknown and result.of_members:
        from ingestion.jobs.serve.label_warnings import survivors_warning

        decided = result.rows + result.outside
        warn([survivors_warning(result.of_members, result.unknown, decided)])
    warn(result.warnings)
    show(as_json, result, lambda result: training_text(result, made))


def _labels(
    project: Project, target: Sequence[str], symbols: Sequence[str] | None, **span: Any
) -> TrainingLabels:
    from ingestion.jobs.serve.targets import training_labels

    if span["first"] is None or span["last"] is None:
        raise InputError("--target needs --from DATE and --to DATE")
    made = training_labels(project, target, **span, symbols=symbols)
    if not made.labels.table.num_rows:
        raise InputError(
            f"none of {counted(made.labels.decisions, 'decision')} has a label"
            f"{_counts('without', made.labels.dropped)}: give another --from or --to"
        )
    warn(made.warnings)
    return made


def training_text(result: TrainingSetResult, made: TrainingLabels | None = None) -> str:
    """Return a training set's outcome for people."""
    dropped, by_target = f" ({result.outside:,} of others left out)" if result.outside else "", ""
    if made is not None:
        dropped = f" of {counted(made.labels.decisions, 'decision')}"
        dropped += _counts("dropped", made.labels.dropped)
        for target, lacking in made.labels.missing.items():
            there = made.labels.decisions - sum(lacking.values())
            by_target += f"  {target}: {there:,}{_counts('without', lacking)}\n"
    later = (
        f"{counted(result.created_later, 'joined row was', 'joined rows were')} written "
        "after their label's time: knowable "
        "then, recorded later (--as-recorded leaves them out)\n"
        if result.created_later
        else ""
    )
    return (
        f"{counted(result.rows, 'label row')}{dropped}, {result.matched:,} of them with "
        "features known at "
        "their time "
        f"({counted(len(result.features), 'column')})\n{by_target}{later}{result.out}\n"
        f"{result.receipt}"
    )


def _counts(what: str, reasons: Mapping[DropReason, int]) -> str:
    counts = [f"{n:,} {reason.value}" for reason, n in reasons.items() if n]
    return f" ({what}: {', '.join(counts)})" if counts else ""
