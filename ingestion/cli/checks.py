"""Checking what is stored."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import click

from ingestion.base.errors import GateRefused, InputError, demand_all
from ingestion.base.wording import counted
from ingestion.cli.group import cli, examples, nothing_stored, this_project
from ingestion.cli.options import DAY, between, json_option, step_options
from ingestion.cli.output import minute, show
from ingestion.cli.tables import Printing, Rows, rows_options, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingestion.jobs.audit.cache_check import CachesChecked
    from ingestion.jobs.audit.upgrade import UpgradeReport
    from ingestion.jobs.audit.validate import DataDocsResult, ValidateResult
    from ingestion.jobs.audit.verify_lakehouse import AcceptResult, LakehouseReport
    from ingestion.jobs.compute.lookahead import LookaheadReport
    from ingestion.jobs.serve.verify_online import OnlineReport
    from ingestion.quality.parity import ColumnParity, Difference, ParityReport

_MOST_ONLINE = 20
"""How many differences of the online store the text names."""
_MOST_OF_COLUMN = 3
"""How many differences of a column `parity` names."""


@cli.command(
    "verify",
    **examples(
        "verify",
        "verify --since 2021-04-01",
        "verify --online   # what is served, against the lakehouse",
        "verify --lookahead --since 2021-04-01",
    ),
)
@click.option("--lookahead", is_flag=True, help="Prove that no feature of a bar looks past it.")
@click.option("--online", is_flag=True, help="Compare the online store with the lakehouse.")
@click.option(
    "--accept",
    "accepted",
    metavar="PART",
    multiple=True,
    help="Record why a part or receipt, or all of a folder, is gone.",
)
@click.option("--reason", help="What became of it, and who says so.")
@click.option(
    "--since",
    type=DAY,
    show_default="all",
    help="Check parts and runs, or with --lookahead use bars, of this UTC date or later.",
)
@click.option("--all", "anew", is_flag=True, help="Read again receipts that are as they were.")
@json_option
def verify_command(
    as_json: bool,
    anew: bool,
    lookahead: bool,
    online: bool,
    accepted: tuple[str, ...],
    reason: str | None,
    since: date | None,
) -> None:
    """Check the files of the lakehouse.

    Exit 3 if one is wrong, or there is none. Without an option, every file: its hash, schema,
    order, keys, date and values, and the receipts. That takes longer with each part; --since limits
    it. Receipts whose files are as an earlier check has left them are not read again; --all reads
    them.

    --lookahead computes the features of 200 symbols 36 times. That takes longer with each bar;
    --since limits it.
    """
    if lookahead + online + bool(accepted) > 1:
        raise InputError("verify one thing at a time: --lookahead, --online or --accept")
    if reason is not None and not accepted:
        raise InputError("--reason goes with --accept")
    if anew and (lookahead or online or accepted):
        raise InputError("--all is of the check of files alone")
    if since and (online or accepted):
        raise InputError("--since is of the check of files, and of --lookahead")
    project = this_project()
    if accepted:
        from ingestion.jobs.audit.verify_lakehouse import accept_losses

        show(as_json, accept_losses(project, accepted, reason or ""), accept_text)
    elif lookahead:
        from ingestion.jobs.compute.cross_section_proof import verify_project

        proof = verify_project(project, since or date.min)
        show(as_json, proof, lookahead_text)
        if not proof.passed:
            raise GateRefused(
                f"{counted(len(proof.leaks), 'feature looks', 'features look')} ahead"
            )
    elif online:
        from ingestion.jobs.serve.verify_online import verify_online

        served = verify_online(project)
        show(as_json, served, online_text)
        demand_all(served)
    else:
        from ingestion.jobs.audit.verify_lakehouse import check_lakehouse

        report = check_lakehouse(project, since or date.min, anew=anew)
        show(as_json, report, verify_text)
        if not report.passed:
            files = len({fault.file for fault in report.faults})
            raise GateRefused(
                f"{counted(files, 'file of the lakehouse is', 'files of the lakehouse are')} "
                "not sound"
            )
        if since is None and not report.parts:
            raise nothing_stored(project)


def verify_text(report: LakehouseReport) -> str:
    """Return a check of the lakehouse for people, one line per fault."""
    verdict = "the lakehouse is sound" if report.passed else "THE LAKEHOUSE IS NOT SOUND"
    apart = (
        (report.not_recorded, "without a recorded hash"),
        (report.unpublished, "announced by runs that died before they appeared"),
        (report.replaced, "merged into others"),
        (report.accepted, "gone, as somebody recorded"),
        (report.unread, "runs as an earlier check has left them, not read again (--all)"),
    )
    left_out = "".join(f"; {count:,} {what}" for count, what in apart if count)
    line = (
        f"{verdict}: {counted(report.parts, 'part')}, {counted(report.rows, 'row')}, "
        f"{counted(report.receipts, 'receipt')}"
    )
    line += f" since {report.since}" * (report.since is not None)
    warnings = (f"  warning: {warning}" for warning in report.warnings)
    lines = [line + left_out, *(f"  {fault}" for fault in report.faults), *warnings]
    return "\n".join([*lines, *_caches_text(report.caches)])


def _caches_text(caches: CachesChecked) -> Iterator[str]:
    if caches.symbols:
        yield (
            f"  caches: {counted(caches.files, 'file')}; the bars of {caches.symbols:,} of "
            f"{caches.of:,} "
            "symbols were computed anew, for comparison with what is kept of them"
        )
    elif caches.unfit:
        yield (
            f"  caches: {counted(caches.files, 'file')}; not compared with the bars: {caches.unfit}"
        )


@cli.command(
    "upgrade",
    **examples(
        "upgrade --check",
    ),
)
@click.option("--check", is_flag=True, required=True, help="Look, and change nothing.")
@json_option
def upgrade_command(as_json: bool, check: bool) -> None:
    """Show what a lakehouse of an earlier version needs.

    Exit 3 if it needs something.
    """
    from ingestion.jobs.audit.upgrade import check_upgrade

    report = check_upgrade(this_project())
    show(as_json, report, upgrade_text)
    if not report.is_ready:
        raise GateRefused(f"the lakehouse needs {counted(len(report.needs), 'step')}")


def upgrade_text(report: UpgradeReport) -> str:
    """Return what a lakehouse needs for people, a line per step."""
    parts = sum(state.parts for state in report.datasets)
    verdict = "nothing is needed" if report.is_ready else "TO DO"
    return "\n".join(
        [
            f"{verdict}: {counted(parts, 'part')} of {counted(len(report.datasets), 'dataset')}",
            *(f"  {number}. {need}" for number, need in enumerate(report.needs, start=1)),
            *(f"  {note}" for note in report.notes),
        ]
    )


def accept_text(result: AcceptResult) -> str:
    """Return what is accepted as gone, a line per file."""
    lines = [
        f"  {entry.part}, {counted(entry.rows, 'row') + ' ' if entry.rows else ''}of run "
        f"{entry.run_id}"
        for entry in result.accepted
    ]
    return "\n".join([f"gone, and {result.receipt} says why:", *lines])


def lookahead_text(report: LookaheadReport) -> str:
    """Return a lookahead proof for people."""
    verdict = "no feature looks ahead" if report.passed else "FEATURES LOOK AHEAD"
    lines = [
        f"{verdict}: {counted(len(report.features), 'feature')} of "
        f"{counted(report.bars, 'bar')}, {report.symbols:,} "
        f"symbols of {', '.join(report.exchanges)}"
        + f", and of {counted(report.days, 'day')} of cross-sections"
        * bool(report.days)
        + f"; {counted(report.rows_compared, 'row')} of "
        f"{report.recomputations} recomputations compared bit for bit"
    ]
    return "\n".join([*lines, *(f"  {leak}" for leak in report.leaks)])


def online_text(report: OnlineReport) -> str:
    """Return a comparison of the online store with the lakehouse for people."""
    verdict = (
        "online store = lakehouse"
        if report.passed
        else f"THE ONLINE STORE DIFFERS in {report.different:,} places"
    )
    views = "; ".join(
        f"{view.view} {counted(view.symbols, 'symbol')}, {counted(view.values, 'value')}"
        + (f", {view.expired:,} expired" if view.expired else "")
        + (f", as loaded at {minute(view.as_of)}: not promoted since" if view.as_of else "")
        for view in report.views
    )
    named = [f"  {difference}" for difference in report.differences[:_MOST_ONLINE]]
    return "\n".join([f"{verdict} at {minute(report.at)}: {views}", *named])


@cli.command(
    "validate",
    **examples(
        "validate",
        "validate --json",
    ),
)
@step_options
@json_option
def validate_command(as_json: bool) -> None:
    """Decide whether the newest rows may be served.

    Exit 3 if not.
    """
    from ingestion.jobs.audit.validate import validate

    result = validate(this_project())
    show(as_json, result, validate_text)
    demand_all(result)


def validate_text(result: ValidateResult) -> str:
    """Return a verdict for people."""
    lines = [f"the newest rows at {minute(result.at)} {result.verdict}"]
    for finding in result.findings:
        mark = "ok" if finding.passed else "NO" if finding.is_fault else "waived"
        by = f" (waived by {finding.waived_by})" if finding.waived_by else ""
        lines.append(f"  {mark:<6} {finding}{by}")
    lines += [f"  {'–':<6} {group}: judged {by}" for group, by in result.judged.items()]
    skipped: dict[tuple[str, str], list[str]] = {}
    for group, each in result.skipped:
        skipped.setdefault((group, each.reason), []).append(each.check)
    for (group, reason), checks in skipped.items():
        lines.append(f"  {'–':<6} {group}: skipped, {reason}: {', '.join(checks)}")
    return "\n".join([*lines, str(result.receipt)])


@cli.command(
    "data-docs",
    **examples(
        "data-docs",
    ),
)
@json_option
def data_docs_command(as_json: bool) -> None:
    """Build the HTML site of the latest checks.

    Its path is printed.
    """
    from ingestion.jobs.audit.validate import data_docs

    result = data_docs(this_project())
    show(as_json, result, data_docs_text)


def data_docs_text(result: DataDocsResult) -> str:
    """Return the site for people."""
    return "\n".join([*map(str, result.reports), str(result.index)])


@cli.command(
    "parity",
    **examples(
        "parity",
        "parity --from 2021-04-01 --tolerance 0.001",
    ),
)
@click.option(
    "--from", "first", type=DAY, show_default="all", help="UTC date of the first snapshots."
)
@click.option(
    "--to", "last", type=DAY, show_default="all", help="UTC date of the last snapshots, included."
)
@click.option(
    "--tolerance",
    type=between(0, 1),
    default=0.01,
    help="Name differences beyond this share of a column's scale.",
)
@click.option(
    "--max-vote-share",
    type=between(0, 1),
    default=0.05,
    help="Exit 3 if a vote of a rating is served otherwise, since a date, on so many more bars.",
)
@rows_options
def parity_command(
    printing: Printing,
    first: date | None,
    last: date | None,
    tolerance: float,
    max_vote_share: float,
) -> None:
    """Compare served technicals with those of the bars.

    Where the ratings of a whole market differ since a date, the vote whose rule has changed is
    named, and the exit code is 3.

    That takes longer with each stored snapshot; --from and --to limit it.
    """
    from ingestion.jobs.compute.parity import ParityRequest, parity

    request = ParityRequest(first or date.min, last or date.max, tolerance, max_vote_share)
    result = parity(this_project(), request)
    printing.show(
        result, lambda result: parity_text(result.report), lambda result: parity_rows(result.report)
    )
    demand_all(result)


def parity_rows(report: ParityReport) -> Rows:
    """Return a comparison, one row per feature."""
    names = (
        *("feature", "n", "median_error", "max_error", "sign_agreement", "rank_correlation"),
        *("beyond", "served_only", "recomputed_only"),
    )
    values = [{name: getattr(column, name) for name in names} for column in report.columns]
    return Rows(names, values, _footer(report))


def parity_text(report: ParityReport) -> str:
    """Return a comparison as a table, with the largest differences below it."""
    named = [line for column in report.columns for line in _named(column)]
    return "\n".join([parity_table(report), *named, *map(str, report.broken)])


def parity_table(report: ParityReport) -> str:
    """Return a comparison as a table, and which snapshots are in it."""
    headers = [
        *("feature", "n", "median error", "largest", "same sign", "rank corr."),
        *("beyond", "one side null"),
    ]
    rows = [
        [
            column.feature,
            f"{column.n:,}",
            _error(column.median_error),
            _error(column.max_error),
            "–" if column.sign_agreement is None else f"{column.sign_agreement:.1%}",
            "–" if column.rank_correlation is None else f"{column.rank_correlation:.4f}",
            f"{column.beyond:,}",
            f"{column.served_only + column.recomputed_only:,}",
        ]
        for column in report.columns
    ]
    return f"{table(headers, rows, {0})}\n{_footer(report)}"


def _footer(report: ParityReport) -> str:
    apart = (
        (report.repeated, "repeat a bar"),
        (report.open, "of unfinished bars"),
        (report.unknown, "of bars that may be unfinished"),
        (report.unmatched, "of bars without a recomputed row"),
    )
    left_out = ", ".join(f"{count:,} {what}" for count, what in apart if count)
    return (
        f"{report.compared:,} of {counted(report.snapshots, 'snapshot')} from {report.first} to "
        f"{report.last}, {counted(report.beyond, 'value')} beyond "
        f"{100 * report.tolerance:g} % of scale" + (f"; left out: {left_out}" if left_out else "")
    )


def _named(column: ColumnParity) -> list[str]:
    lines = [
        f"  {column.feature} of {_difference(each)}" for each in column.worst[:_MOST_OF_COLUMN]
    ]
    more = column.beyond - len(lines)
    if not more:
        return lines
    counts = sorted(column.causes.items(), key=lambda each: -each[1])
    causes = ", ".join(f"{cause} {count:,}" for cause, count in counts)
    return [*lines, f"  {column.feature} of {more:,} more; all by cause: {causes}"]


def _difference(difference: Difference) -> str:
    return (
        f"{difference.symbol}, bar closed {minute(difference.bar_close)}: served "
        f"{difference.served:.6g}, recomputed {difference.recomputed:.6g}"
        + (f" ({difference.cause})" if difference.cause else "")
    )


def _error(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"
