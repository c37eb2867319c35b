"""Sessions that are accepted as missing."""

from __future__ import annotations

from typing import Any

from ingestion.jobs.ingest.holes import AcceptedHoles
from ingestion.runs.receipt import plain


def accepted_document(result: AcceptedHoles) -> dict[str, Any]:
    """Return what was accepted for ``--json``."""
    document: dict[str, Any] = plain(result)
    return document


def accepted_text(result: AcceptedHoles) -> str:
    """Return what was accepted, a line for each session."""
    lines = [f"{each.market} {each.session} is accepted as missing" for each in result.sessions]
    return "\n".join([*lines, "run `tvfeast local-features` to compute the values over it"])
