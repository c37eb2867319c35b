"""How well features rank what follows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingestion.base.wording import counted
from ingestion.cli.group import cli, examples, symbols_of, this_project
from ingestion.cli.options import (
    as_recorded_option,
    decision_options,
    entry_option,
    json_option,
    known_at_option,
)
from ingestion.cli.output import figure, minute, show, warn
from ingestion.cli.tables import table

if TYPE_CHECKING:
    from ingestion.jobs.factor.factor_report import FactorReport


@cli.command(
    "factor-report",
    **examples(
        "factor-report local_1d:RSI momentum_60d --from 2021-01-04 --to 2021-03-31",
        "factor-report local_1d:RSI --universe us_large --horizon 5 --from 2020-01-02 "
        "--to 2021-03-31",
        "factor-report momentum_60d --target excess_fwd_return_5d,benchmark=AMEX:SPY "
        "--from 2021-01-04 --to 2021-03-31",
    ),
)
@click.argument("features", metavar="FEATURE...", nargs=-1, required=True)
@decision_options
@click.option(
    "--horizon",
    "horizons",
    type=click.IntRange(1, 9999),
    multiple=True,
    show_default="1, 5, 10 and 20",
    help="Sessions of a forward return; several may be named.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    help="A return to measure against in place of --horizon, as `training-set` reads it: "
    "total_return_5d; excess_fwd_return_5d,benchmark=AMEX:SPY; several may be named.",
)
@click.option(
    "--every",
    type=click.Choice(["session", "week", "month"]),
    default="session",
    help="Decide at each session's close, or at the last of each week or month, by exchange.",
)
@entry_option
@click.option(
    "--universe",
    "universes",
    multiple=True,
    help="Study its members at each decision; several are studied one beside the other.",
)
@click.option(
    "--candidates",
    type=click.Path(path_type=Path),
    help="Study the symbols of this file; without both, all that have bars.",
)
@click.option(
    "--quantiles", type=click.IntRange(2, 100), default=5, help="Quantiles of each date's rows."
)
@click.option(
    "--min-symbols",
    type=click.IntRange(2),
    default=10,
    help="Leave out dates of fewer symbols with a label.",
)
@known_at_option
@as_recorded_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="factor_report.html",
    help="HTML file to write.",
)
@json_option
def factor_command(
    as_json: bool, candidates: Path | None, horizons: tuple[int, ...], **arguments: Any
) -> None:
    """Measure how features rank the returns that follow.

    Rank correlation by horizon with its decay, t-values of labels that overlap, returns and
    turnover by quantile, coverage; by year, sector and universe. Each feature, universe and horizon
    that was ever tried on the lakehouse raises what a t-value must reach.
    """
    from ingestion.datasets import Schedule
    from ingestion.jobs.factor.factor_report import HORIZONS, FactorRequest, factor_report

    if horizons and arguments["targets"]:
        raise click.UsageError("name --horizon or --target, not both")
    schedule = Schedule(**{name: arguments.pop(name) for name in ("first", "last", "every")})
    arguments["universes"] = tuple(dict.fromkeys(arguments["universes"]))
    symbols = symbols_of(candidates, arguments["universes"])
    request = FactorRequest(
        schedule=schedule,
        symbols=symbols,
        candidates=candidates,
        horizons=horizons or HORIZONS,
        **arguments,
    )
    report = factor_report(this_project(), request)
    warn(report.warnings)
    show(as_json, report, factor_text)


def factor_text(report: FactorReport) -> str:
    """Return the figures for people: one line per feature, universe and horizon."""
    head = ("feature", "universe", "horizon", "IC", "t", "no overlap", "spread %", "dates")
    rows = [
        (
            of.feature,
            of.universe,
            each.label,
            figure(each.ic if each.ic is None else f"{each.ic:+.3f}"),
            figure(each.t) + ("*" if each.passes else ""),
            figure(each.t_independent),
            figure(each.spread if each.spread is None else f"{100 * each.spread:+.2f}"),
            f"{each.dates:,}",
        )
        for of in report.factors
        for each in of.horizons
    ]
    return "\n".join(
        [
            table(head, rows, {0, 1}),
            f"* |t| reaches {figure(report.threshold)}, the threshold after "
            f"{counted(report.tried, 'try', 'tries')} on this lakehouse",
            f"as the lakehouse was at {minute(report.known_at)}",
            str(report.out),
            str(report.receipt),
        ]
    )
