"""What came from the scanner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingestion.cli.render.units import minute
from ingestion.jobs.ingest.data_ingest import DataIngestResult
from ingestion.jobs.ingest.feature_ingest import FeatureIngestResult
from ingestion.jobs.ingest.holes import said
from ingestion.jobs.ingest.meta_ingest import MetaIngestResult
from ingestion.quality.coverage import CoverageReport
from ingestion.runs.receipt import plain


def ingest_document(result: FeatureIngestResult) -> dict[str, Any]:
    """Return a snapshot's outcome for ``--json``."""
    return {
        **_coverage(result.report),
        "quarantined": _quarantined(result),
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
    stopped = _quarantined(result)
    quarantined = f", {stopped:,} of them quarantined" if stopped else ""
    return (
        f"{report.fetched:,} rows known at {minute(report.known_at)}{quarantined}{resumed}\n"
        f"{report}\n{result.part}"
    )


def _quarantined(result: FeatureIngestResult) -> int:
    """Return how many rows broke a rule; they are in the run's ``quarantine.parquet``."""
    return result.quality.quarantined.num_rows if result.quality else 0


def bars_document(result: DataIngestResult) -> dict[str, Any]:
    """Return the outcome of a run over daily bars for ``--json``."""
    return {
        **_coverage(result.report),
        "bars": result.bars.document(),
        "missing": plain(result.missing),
        "parts": [str(part) for part in result.parts],
        "receipt": str(result.receipt),
    }


def bars_text(result: DataIngestResult) -> str:
    """Return the outcome of a run over daily bars for people."""
    bars = result.bars
    counts = (
        (bars.restated, "of them restated"),
        (bars.released, "of them released"),
        (bars.unchanged, "there already"),
        (len(bars.overruled), "unlike the imported ones, which stay"),
        (bars.open, "still open"),
        (len(bars.refused), "refused"),
    )
    told = "".join(f", {count:,} {what}" for count, what in counts if count)
    lines = [f"{bars.written:,} closed bars written{told}"]
    if bars.never_closing:
        lines.append(
            f"{bars.never_closing:,} of markets that never close, whose row is always the running "
            "bar: they get theirs through `tvfeast import-bars`"
        )
    if bars.unknown_hours:
        lines.append(
            f"{bars.unknown_hours:,} of exchanges of unknown hours, closed 24 h after their open"
        )
    if days := bars.traded_on_closed_days:
        lines.append(
            f"{len(days):,} days on which symbols traded and the calendar has none; if the market "
            f"was open, write them to feature_repo/sessions.csv: {', '.join(days[:_NAMED])}"
        )
    if bars.did_not_open:
        lines.append(
            "the market did not open, whatever its calendar says: the previous closes are those "
            f"of before: {', '.join(bars.did_not_open[:_NAMED])}"
        )
    if bars.assumed_hours:
        lines.append(assumed_text(bars.assumed_hours))
    lines += [f"  refused {count:,}: {why}" for why, count in bars.refused_by_reason.items()]
    if bars.refused_file:
        lines.append(f"  every refused row: {bars.refused_file}")
    lines += [
        f"  split suspected: {each.symbol}, {each.told} (close {each.stored_close:g}, now "
        f"{each.previous_close:g}); {what}: record it with `tvfeast import-bars --splits FILE`, "
        f"or a ratio of 1 if there was none: {each.record}"
        for what, suspects in (
            ("held back", bars.held_back),
            ("stored without it", bars.suspected_in_store),
        )
        for each in suspects[:_NAMED]
    ]
    if bars.waiting:
        lines.append(f"{bars.waiting:,} bars are held back in all")
    if bars.held_by_import:
        names = ", ".join(bars.held_by_import[:_NAMED])
        lines.append(
            f"{len(bars.held_by_import):,} symbols wait since an import for an answer to a "
            f"suspected split (`tvfeast import-bars --splits FILE`): {names}"
        )
    if bars.unsettled:
        names = ", ".join(each.symbol for each in bars.unsettled[:_NAMED])
        lines.append(
            f"{len(bars.unsettled):,} previous closes are not the stored ones, and not by a split "
            f"either; see the receipt: {names}"
        )
    return "\n".join([*lines, str(result.report), str(result.receipt), *said(result.missing)])


def assumed_text(assumed: Mapping[str, int]) -> str:
    """Tell people whose bars lie beyond what is known of their exchange's sessions."""
    told = ", ".join(f"{exchange} {count:,}" for exchange, count in assumed.items())
    return (
        f"the weekday's usual hours are assumed, beyond the calendar's end, for {told}: update "
        "exchange_calendars, or write the year's holidays and short days to "
        "feature_repo/sessions.csv"
    )


def symbols_document(result: MetaIngestResult) -> dict[str, Any]:
    """Return the outcome of a run over metadata for ``--json``."""
    return {
        **_coverage(result.report),
        "symbols": vars(result.symbols),
        "part": str(result.part) if result.part else None,
        "receipt": str(result.receipt),
    }


def symbols_text(result: MetaIngestResult) -> str:
    """Return the outcome of a run over metadata for people."""
    symbols = result.symbols
    lines = [
        f"{symbols.new:,} new symbols, {symbols.changed:,} changed, {symbols.unchanged:,} as before"
    ]
    for names, what in (
        (symbols.became_inactive, "no longer active: absent from three complete daily answers"),
        (symbols.returned, "active again"),
    ):
        if names:
            lines.append(f"{len(names):,} {what}: {', '.join(names[:_NAMED])}")
    if waiting := len(symbols.absent_days) - len(symbols.became_inactive):
        lines.append(f"{waiting:,} active symbols absent so far")
    if symbols.unknown_columns:
        lines.append(f"the scanner does not have {', '.join(symbols.unknown_columns)}: kept as is")
    if symbols.other_exchange:
        told = [f"{symbol} {exchange}" for symbol, exchange in symbols.other_exchange.items()]
        lines.append(
            f"{len(told):,} of another exchange than their symbol says: {', '.join(told[:_NAMED])}"
        )
    return "\n".join([*lines, str(result.report), str(result.receipt)])


_NAMED = 20


def _coverage(report: CoverageReport) -> dict[str, Any]:
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
    }
