"""Bars and what is computed from them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from ingestion.bars import HINTS, Reason
from ingestion.cli.render.units import minute
from ingestion.jobs.compute.local_features import LocalFeaturesResult
from ingestion.jobs.ingest.import_bars import SCALED_PAST, ImportResult
from ingestion.jobs.ingest.withdraw import WithdrawnBars
from ingestion.runs.receipt import plain

_NAMED = 10
"""How many symbols are named one by one."""


def import_document(result: ImportResult) -> dict[str, Any]:
    """Return an import's outcome for ``--json``."""
    return {
        "run_id": result.run_id,
        "read": result.read,
        "accepted": result.accepted,
        "refused": result.refused,
        "held": result.held,
        "released": result.released,
        "refused_by_reason": {str(why): n for why, n in result.refused_by_reason.items()},
        "refused_file": str(result.refused_file) if result.refused_file else None,
        "written": result.written,
        "restated": result.restated,
        "unchanged": result.unchanged,
        "symbols": result.symbols,
        "still_adjusted": list(result.still_adjusted),
        "splits_ahead": result.splits_ahead,
        "refused_files": result.refused_files,
        "named_by_files": {each.file: each.named for each in result.files if each.named},
        "findings": {
            each.name: {"count": each.count, "examples": each.examples} for each in result.findings
        },
        "parts": len(result.parts),
        **result.doubts.document(),
        "suspected_splits_file": str(result.suspects_file) if result.suspects_file else None,
        "receipt": str(result.receipt),
    }


def import_text(result: ImportResult) -> str:
    """Return an import's outcome for people."""
    parts = f" in {len(result.parts):,} parts"
    lines = [
        f"{result.read:,} rows read: {result.written:,} written{parts if result.written else ''}, "
        f"{result.unchanged:,} there already, {result.refused:,} refused"
        f"{f', {result.held:,} held back' if result.held else ''}; {result.symbols:,} symbols"
    ]
    for why, count in result.refused_by_reason.items():
        hint = f" ({HINTS[why]})" if why in HINTS else ""
        lines += [f"  refused {count:,}: {why}{hint}", f"    the first: {_first(result, why)}"]
    if adjusted := result.still_adjusted:
        lines.append(f"taken split-adjusted, for want of their splits: {', '.join(adjusted[:10])}")
    if result.splits_ahead:
        lines.append(f"{result.splits_ahead:,} splits recorded ahead of their bars")
    lines += map(str, result.findings)
    if refused := result.refused_files:
        lines.append(f"{len(refused):,} files refused:")
        lines += [f"  {problem}" for problem in list(refused.values())[:10]]
        lines += ["  …"] if len(refused) > 10 else []
    if result.released:
        where = "" if result.written else parts
        lines.append(f"{result.released:,} bars that were held back are stored now{where}")
    lines += _doubts(result)
    if result.refused_file:
        lines.append(f"every refused row: {result.refused_file}")
    return "\n".join([*lines, str(result.receipt)])


def _first(result: ImportResult, reason: Reason) -> str:
    one = next(each for each in result.refusals if each.reason is reason)
    told = ", ".join(filter(None, (one.symbol, one.detail)))
    return f"{one.file}, row {one.row}{f': {told}' if told else ''}"


def _doubts(result: ImportResult) -> Iterator[str]:
    found = result.doubts
    for what, lines in (
        (
            "prices contradict the split",
            [f"{each.symbol}, {each.bars:,} bars: {each.told}" for each in found.contradictions],
        ),
        ("restated", [each.told for each in found.restated]),
        (f"refused: {SCALED_PAST}", [each.told for each in found.refused_pasts]),
        (
            "split suspected, bars held back from there on",
            [each.told for each in found.suspects],
        ),
    ):
        yield from (f"  {what}: {line}" for line in lines[:_NAMED])
        if len(lines) > _NAMED:
            yield f"  {what}: {len(lines) - _NAMED:,} more, see the receipt"
    if result.suspects_file:
        yield (
            f"correct the ratios in {result.suspects_file} (1: there was no split) and give it "
            f"back: tvfeast import-bars --splits {result.suspects_file}"
        )


def local_document(result: LocalFeaturesResult) -> dict[str, Any]:
    """Return a recomputation's outcome for ``--json``."""
    return {
        "run_id": result.run_id,
        "bars": result.bars,
        "dates": result.dates,
        "rows_written": result.rows_written,
        "rows_unchanged": result.rows_unchanged,
        "quarantined": result.quarantined,
        "parts": len(result.parts),
        "receipt": str(result.receipt),
    }


def local_text(result: LocalFeaturesResult) -> str:
    """Return a recomputation's outcome for people."""
    if not result.dates:
        return "nothing new: no bar was written since local_1d was computed"
    stopped = f", {result.quarantined:,} quarantined" if result.quarantined else ""
    return (
        f"{result.bars:,} bars read; {result.dates:,} dates: {result.rows_written:,} rows written "
        f"in {len(result.parts):,} parts, {result.rows_unchanged:,} unchanged{stopped}"
    )


def withdrawn_document(result: WithdrawnBars) -> dict[str, Any]:
    """Return what was taken back for ``--json``."""
    return {
        "run_id": result.run_id,
        "reason": result.reason,
        "bars": result.bars,
        "symbols": result.symbols,
        "splits": plain(result.splits),
        "parts": len(result.parts),
        "receipt": str(result.receipt),
    }


def withdrawn_text(result: WithdrawnBars) -> str:
    """Return what was taken back for people."""
    lines = [f"{result.bars:,} bars of {result.symbols:,} symbols are withdrawn"]
    lines += [
        f"  {split.symbol}: the bar that closes {_closing(split.event)} has the split ratio "
        f"{split.ratio:g} now"
        for split in result.splits[:_NAMED]
    ]
    lines.append("run `tvfeast local-features` to compute what follows from them")
    return "\n".join([*lines, str(result.receipt)])


def _closing(event: int) -> str:
    return minute(datetime.fromtimestamp(event, UTC))
