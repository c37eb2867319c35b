"""Training sets."""

from __future__ import annotations

from typing import Any

from ingestion.jobs.serve.targets import TrainingLabels
from ingestion.jobs.serve.training_set import TrainingSetResult


def training_document(
    result: TrainingSetResult, made: TrainingLabels | None = None
) -> dict[str, Any]:
    """Return a training set's outcome for ``--json``."""
    document: dict[str, Any] = {
        "out": str(result.out),
        "rows": result.rows,
        "matched": result.matched,
        "created_later": result.created_later,
        "features": list(result.features),
        "receipt": str(result.receipt),
    }
    return document if made is None else document | labels_document(made)


def labels_document(made: TrainingLabels) -> dict[str, Any]:
    """Return what became of the decisions, for ``--json`` and for the receipt."""
    return {
        "decisions": made.labels.decisions,
        "dropped": {reason.value: n for reason, n in made.labels.dropped.items()},
        "warnings": list(made.warnings),
    }


def training_text(result: TrainingSetResult, made: TrainingLabels | None = None) -> str:
    """Return a training set's outcome for people."""
    dropped = ""
    if made is not None:
        counts = [f"{n:,} {reason.value}" for reason, n in made.labels.dropped.items() if n]
        dropped = f" of {made.labels.decisions:,} decisions"
        dropped += f" (dropped: {', '.join(counts)})" if counts else ""
    later = (
        f"{result.created_later:,} joined rows were written after their label's time: knowable "
        "then, recorded later (--as-recorded leaves them out)\n"
        if result.created_later
        else ""
    )
    return (
        f"{result.rows:,} label rows{dropped}, {result.matched:,} of them with features known at "
        f"their time ({len(result.features)} columns)\n{later}{result.out}\n{result.receipt}"
    )
