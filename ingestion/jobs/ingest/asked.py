"""Which markets the operation still asks the scanner for, as its newest runs show."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from ingestion.bars.holes import market_of
from ingestion.base.clock import parse_instant
from ingestion.jobs.profiles import FLOW_FILE, known_profiles
from ingestion.runs.receipt_file import receipt_told, receipts_told

DATA_INGEST_FILE = "data_ingest.json"


class _Asked(NamedTuple):
    """What a run of ``data-ingest`` has asked for."""

    run_id: str
    started: datetime
    name: str
    """Of the candidates file, or of the market."""
    symbols: frozenset[str] | None
    """None for a whole market."""


def markets_asked_for(root: Path, markets: AbstractSet[str], since: datetime) -> AbstractSet[str]:
    """Return those of some markets that somebody still asks for.

    Of each flow, and of each candidates file outside of flows, the newest run counts: a market that
    was taken out of the candidates is asked for no more. Flows that are forgotten do not count.

    Parameters
    ----------
    markets
        Exchange codes.
    since
        Earlier runs do not count; if there are no others, all markets are asked for.
    """
    profiles = known_profiles(root, lambda _: None)
    seen: set[tuple[bool, str]] = set()
    found: set[str] = set()
    for asked in receipts_told(root, DATA_INGEST_FILE, _asked, lambda _: None):
        if asked.started < since or found >= markets:
            break
        profile = _profile(root, asked.run_id)
        key = profile is not None, profile or asked.name
        if key in seen:
            continue
        seen.add(key)
        if profile is None or profile in profiles:
            found |= markets if asked.symbols is None else _markets(asked.symbols) & markets
    return found if seen else markets


def _asked(receipt: dict[str, Any]) -> _Asked:
    source = receipt["request"]["source"]
    is_market = isinstance(source, str)
    return _Asked(
        receipt["run_id"],
        parse_instant(receipt["started"]),
        source if is_market else str(source["profile"]),
        None if is_market else frozenset(map(str, source["symbols"])),
    )


def _markets(symbols: Iterable[str]) -> set[str]:
    return {market for symbol in symbols if (market := market_of(symbol))}


def _profile(root: Path, run_id: str) -> str | None:
    """Return the name of the flow that a run is of; None if it is of none."""
    path = root / "_runs" / run_id / FLOW_FILE
    if not path.exists():
        return None
    return receipt_told(path, lambda receipt: str(receipt["profile"]), lambda _: None)
