"""Proofs."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from ingestion.cli.render.units import minute
from ingestion.jobs.compute.lookahead import LookaheadReport
from ingestion.jobs.compute.parity import ParityResult
from ingestion.quality.parity import ColumnParity, Difference, ParityReport

_NAMED = 3
"""How many differences of a column the text names."""


def lookahead_document(report: LookaheadReport) -> dict[str, Any]:
    """Return a lookahead proof for ``--json``."""
    return {
        "passed": report.passed,
        "features": list(report.features),
        "bars": report.bars,
        "symbols": report.symbols,
        "exchanges": list(report.exchanges),
        "recomputations": report.recomputations,
        "rows_compared": report.rows_compared,
        "leaks": [str(leak) for leak in report.leaks],
    }


def lookahead_text(report: LookaheadReport) -> str:
    """Return a lookahead proof for people."""
    verdict = "no feature looks ahead" if report.passed else "FEATURES LOOK AHEAD"
    lines = [
        f"{verdict}: {len(report.features)} features of {report.bars:,} bars, {report.symbols:,} "
        f"symbols of {', '.join(report.exchanges)}; {report.rows_compared:,} rows of "
        f"{report.recomputations} recomputations compared bit for bit"
    ]
    return "\n".join([*lines, *(f"  {leak}" for leak in report.leaks)])


def parity_document(result: ParityResult) -> dict[str, Any]:
    """Return a comparison for ``--json``."""
    return {**result.report.to_dict(), "receipt": str(result.receipt)}


def parity_text(report: ParityReport) -> str:
    """Return a comparison as a table, with the largest differences below it."""
    named = [line for column in report.columns for line in _named(column)]
    return "\n".join([parity_table(report), *named])


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
    align = ["left", *["right"] * (len(headers) - 1)]
    table = tabulate(rows, headers, disable_numparse=True, colalign=align)
    return f"{table}\n{_footer(report)}"


def _footer(report: ParityReport) -> str:
    apart = (
        (report.repeated, "repeat a bar"),
        (report.open, "of unfinished bars"),
        (report.unknown, "of bars that may be unfinished"),
        (report.unmatched, "of bars without a row in local_1d"),
    )
    left_out = ", ".join(f"{count:,} {what}" for count, what in apart if count)
    return (
        f"{report.compared:,} of {report.snapshots:,} snapshots from {report.first} to "
        f"{report.last}, {report.beyond:,} values beyond {100 * report.tolerance:g} % of scale"
        + (f"; left out: {left_out}" if left_out else "")
    )


def _named(column: ColumnParity) -> list[str]:
    lines = [f"  {column.feature} of {_difference(each)}" for each in column.worst[:_NAMED]]
    more = column.beyond - len(lines)
    return [*lines, f"  {column.feature} of {more:,} more"] if more else lines


def _difference(difference: Difference) -> str:
    return (
        f"{difference.symbol}, bar closed {minute(difference.bar_close)}: served "
        f"{difference.served:.6g}, recomputed {difference.recomputed:.6g}"
    )


def _error(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"
