"""Results as people and machines read them."""

from __future__ import annotations

import csv
import io
import sys
from datetime import datetime, timedelta
from typing import Any

from tabulate import tabulate
from tqdm import tqdm

from ingestion.jobs.feature_ingest import FeatureIngestResult, Progress
from ingestion.jobs.flow_data import FlowResult
from ingestion.jobs.import_bars import ImportResult
from ingestion.jobs.local_features import LocalFeaturesResult
from ingestion.jobs.lookahead import LookaheadReport
from ingestion.jobs.materialize import MaterializeResult
from ingestion.jobs.select import REASONS, Selected, Selection
from ingestion.jobs.targets import TrainingLabels
from ingestion.jobs.training_set import TrainingSetResult

_SELECTED_TIMES = ("snapshot", "snapshot_age_s", "bar_open", "bar_age_s", "bar_state")
_SHOWN_ANYWAY = ("Recommend.All", "RSI", "ADX", "Perf.W")


class _Bar(Progress):
    """A progress bar on stderr."""

    def __init__(self) -> None:
        self._bar: Any = None

    def start(self, total: int) -> None:
        if self._bar is not None:
            self._bar.total = total
        elif total:
            self._bar = tqdm(total=total, unit=" symbols", desc="scanner", file=sys.stderr)

    def advance(self, symbols: int) -> None:
        if self._bar is not None:
            self._bar.update(symbols)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def progress() -> Progress:
    """Return a progress bar on a terminal, and silence elsewhere."""
    return _Bar() if sys.stderr.isatty() else Progress()


def ingest_document(result: FeatureIngestResult) -> dict[str, Any]:
    """Return a snapshot's outcome for ``--json``."""
    report = result.report
    return {
        "run_id": report.run_id,
        "known_at": report.known_at.isoformat(),
        "asked": report.asked,
        "fetched": report.fetched,
        "resumed": report.resumed,
        "failed": len(report.failed_symbols),
        "absent": len(report.absent),
        "shortfall": report.shortfall,
        "coverage": round(report.coverage, 6),
        "part": str(result.part) if result.part else None,
        "receipt": str(result.receipt),
    }


def ingest_text(result: FeatureIngestResult) -> str:
    """Return a snapshot's outcome for people."""
    report = result.report
    if result.part is None:
        missing = f"; {report.missing}" if report.missing else ""
        return (
            f"nothing to add: {report.resumed:,} of {report.asked:,} symbols had a row inside the "
            f"resume window{missing}"
        )
    resumed = f", {report.resumed:,} had a row already" if report.resumed else ""
    return (
        f"{report.fetched:,} rows known at {_minute(report.known_at)}{resumed}\n"
        f"{report}\n{result.part}"
    )


def materialize_document(result: MaterializeResult) -> dict[str, Any]:
    """Return a materialization's outcome for ``--json``."""
    return {
        "views": list(result.views),
        "until": result.until.isoformat(),
        "duration_s": result.duration_s,
    }


def materialize_text(result: MaterializeResult) -> str:
    """Return a materialization's outcome for people."""
    return (
        f"online store holds {', '.join(result.views)} as of {_minute(result.until)} "
        f"({result.duration_s:.1f} s)"
    )


def flow_document(result: FlowResult) -> dict[str, Any]:
    """Return a flow's outcome for ``--json``, a member a job."""
    return {
        "feature_ingest": ingest_document(result.ingest),
        "materialize": materialize_document(result.materialize),
    }


def flow_text(result: FlowResult) -> str:
    """Return a flow's outcome for people."""
    return f"{ingest_text(result.ingest)}\n{materialize_text(result.materialize)}"


def selection_document(selection: Selection) -> dict[str, Any]:
    """Return a ranking for ``--json``: all features, ages in seconds."""
    return {
        "at": selection.at.isoformat(),
        "source": selection.source,
        "by": selection.by,
        "asked": selection.asked,
        "left_out": selection.left_out,
        "selection": [_selected_document(row, selection.at) for row in selection.rows],
    }


def selection_csv(selection: Selection) -> str:
    """Return a ranking as CSV: all features, ages in seconds."""
    out = io.StringIO()
    names = ["symbol", *selection.features, *_SELECTED_TIMES]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_selected_document(row, selection.at) for row in selection.rows)
    return out.getvalue()


def selection_text(selection: Selection) -> str:
    """Return a ranking as a table: the feature ranked by, and a few beside it."""
    names = list(dict.fromkeys((selection.by, *_SHOWN_ANYWAY)))
    rows = [
        [
            place,
            row.symbol,
            *(_figure(row.features.get(name)) for name in names),
            age(selection.at - row.known_at),
            age(selection.at - row.bar_open) if row.bar_open else "unknown",
            row.bar_state.value,
        ]
        for place, row in enumerate(selection.rows, start=1)
    ]
    headers = ["#", "symbol", *names, "snapshot age", "bar age", "bar"]
    align = ["right", "left", *["right"] * (len(names) + 2), "left"]
    table = tabulate(rows, headers, disable_numparse=True, colalign=align) if rows else ""
    return f"{table}\n{selection_footer(selection)}".lstrip("\n")


def selection_footer(selection: Selection) -> str:
    """Return where a ranking comes from and what it leaves out."""
    left_out = [f"{count:,} {REASONS[reason]}" for reason, count in selection.left_out.items()]
    return (
        f"{len(selection.rows):,} of {selection.asked:,} symbols by {selection.by}, "
        f"{selection.source} at {_minute(selection.at)}"
        + (f"; left out: {', '.join(left_out)}" if left_out else "")
    )


def training_document(
    result: TrainingSetResult, made: TrainingLabels | None = None
) -> dict[str, Any]:
    """Return a training set's outcome for ``--json``."""
    document: dict[str, Any] = {
        "out": str(result.out),
        "rows": result.rows,
        "matched": result.matched,
        "features": list(result.features),
    }
    if made is not None:
        document["decisions"] = made.labels.decisions
        document["dropped"] = {reason.value: n for reason, n in made.labels.dropped.items()}
        document["warnings"] = list(made.warnings)
    return document


def training_text(result: TrainingSetResult, made: TrainingLabels | None = None) -> str:
    """Return a training set's outcome for people."""
    dropped = ""
    if made is not None:
        counts = [f"{n:,} {reason.value}" for reason, n in made.labels.dropped.items() if n]
        dropped = f" of {made.labels.decisions:,} decisions"
        dropped += f" (dropped: {', '.join(counts)})" if counts else ""
    return (
        f"{result.rows:,} label rows{dropped}, {result.matched:,} of them with features known at "
        f"their time ({len(result.features)} columns)\n{result.out}"
    )


def import_document(result: ImportResult) -> dict[str, Any]:
    """Return an import's outcome for ``--json``."""
    return {
        "run_id": result.run_id,
        "read": result.read,
        "accepted": result.accepted,
        "refused": result.refused,
        "refused_by_reason": {str(why): n for why, n in result.refused_by_reason.items()},
        "written": result.written,
        "restated": result.restated,
        "unchanged": result.unchanged,
        "symbols": result.symbols,
        "still_adjusted": list(result.still_adjusted),
        "parts": len(result.parts),
        "receipt": str(result.receipt),
    }


def import_text(result: ImportResult) -> str:
    """Return an import's outcome for people."""
    lines = [
        f"{result.read:,} rows read: {result.written:,} written in {len(result.parts):,} parts, "
        f"{result.unchanged:,} there already, {result.refused:,} refused; "
        f"{result.symbols:,} symbols"
    ]
    lines += [f"  refused {n:,}: {why}" for why, n in result.refused_by_reason.items()]
    if adjusted := result.still_adjusted:
        lines.append(f"taken split-adjusted, for want of their splits: {', '.join(adjusted[:10])}")
    return "\n".join([*lines, str(result.receipt)])


def local_document(result: LocalFeaturesResult) -> dict[str, Any]:
    """Return a recomputation's outcome for ``--json``."""
    return {
        "run_id": result.run_id,
        "bars": result.bars,
        "dates": result.dates,
        "rows_written": result.rows_written,
        "rows_unchanged": result.rows_unchanged,
        "parts": len(result.parts),
    }


def local_text(result: LocalFeaturesResult) -> str:
    """Return a recomputation's outcome for people."""
    if not result.dates:
        return "nothing new: no bar was written since local_1d was computed"
    return (
        f"{result.bars:,} bars read; {result.dates:,} dates: {result.rows_written:,} rows written "
        f"in {len(result.parts):,} parts, {result.rows_unchanged:,} unchanged"
    )


def lookahead_document(report: LookaheadReport) -> dict[str, Any]:
    """Return a lookahead proof for ``--json``."""
    return {
        "passed": report.passed,
        "features": list(report.features),
        "bars": report.bars,
        "symbols": report.symbols,
        "recomputations": report.recomputations,
        "rows_compared": report.rows_compared,
        "leaks": [str(leak) for leak in report.leaks],
    }


def lookahead_text(report: LookaheadReport) -> str:
    """Return a lookahead proof for people."""
    verdict = "no feature looks ahead" if report.passed else "FEATURES LOOK AHEAD"
    lines = [
        f"{verdict}: {len(report.features)} features of {report.bars:,} bars, {report.symbols:,} "
        f"symbols; {report.rows_compared:,} rows of {report.recomputations} recomputations "
        "compared bit for bit"
    ]
    return "\n".join([*lines, *(f"  {leak}" for leak in report.leaks)])


def age(duration: timedelta) -> str:
    """Return a duration in its two largest units: ``3 d 17 h``, ``1 h 05 m``."""
    minutes = int(duration.total_seconds() // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    return f"{days} d {hours:02} h" if days else f"{hours} h {minutes:02} m"


def _selected_document(row: Selected, at: datetime) -> dict[str, Any]:
    return {
        "symbol": row.symbol,
        **row.features,
        "snapshot": row.known_at.isoformat(),
        "snapshot_age_s": int((at - row.known_at).total_seconds()),
        "bar_open": row.bar_open.isoformat() if row.bar_open else None,
        "bar_age_s": int((at - row.bar_open).total_seconds()) if row.bar_open else None,
        "bar_state": row.bar_state.value,
    }


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _minute(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
