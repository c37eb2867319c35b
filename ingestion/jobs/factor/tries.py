"""How many features were tried on this lakehouse, as the receipts of factor reports record it.

A try is a feature, by name and by what it means, in a universe at a horizon. Who asks the same
again tries nothing new; a formula that was changed is another feature.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ingestion.lakehouse import Lakehouse
from ingestion.runs.receipt_file import receipts_told, text

RECEIPT_FILE = "factor_report.json"


class Try(NamedTuple):
    """One feature in one universe at one horizon."""

    feature: str
    """``group:name``."""
    sha256: str
    """Of its definition."""
    universe: str
    target: str
    """Name of the forward return."""


def tries(lakehouse: Lakehouse, now: Iterable[Try]) -> set[Try]:
    """Return all tries that receipts record, and those of now."""
    return set(now).union(*receipts_told(lakehouse, RECEIPT_FILE, _tried))


def _tried(receipt: dict[str, Any]) -> list[Try] | None:
    """Return what a report tried; None if it ended before it had any figures."""
    if "tried" not in receipt:
        return None
    return [Try(*map(text, (each[name] for name in Try._fields))) for each in receipt["tried"]]
