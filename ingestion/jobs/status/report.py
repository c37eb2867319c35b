"""How fresh and how complete the lakehouse is, and what waits for somebody.

Reads the newest receipts and the keys of recent rows; one that cannot be read is past a limit, and
the one before it counts, as it does where a run died before its snapshot appeared. Changes nothing,
does not ask Feast, and waits for nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from feature_repo.catalog import GROUPS, LOCAL_1D, OHLCV_1D, TV_TECHNICALS_1D, FeatureGroup
from ingestion import clock
from ingestion.errors import GateRefused, InputError
from ingestion.jobs.half_imports import half_imports
from ingestion.jobs.status.looks import LOOKS
from ingestion.jobs.status.sections import Section
from ingestion.lakehouse.ledger import LEDGER_FILE, read_ledger
from ingestion.quality.freshness import newest_events
from ingestion.quality.quarantine import quarantined
from ingestion.quality.receipt_file import ended_before, newest_receipt
from ingestion.settings import Settings
from ingestion.symbols import exchange_of

LOOKBACK = timedelta(days=90)
"""A symbol without a row for longer counts as missing, not as stale."""
_SNAPSHOT, _BARS, _LOAD = "feature_ingest_coverage.json", "data_ingest.json", "materialize.json"


@dataclass(frozen=True)
class StatusLimits:
    """From where on a monitor is to ring; a value at its limit is inside."""

    max_age: timedelta | None = None
    """Of each group's newest rows and of the online store; the catalog's for each group if None."""
    min_coverage: float = 0.95
    """Of the newest snapshot."""
    max_stale_share: float = 0.05
    """Stale and missing symbols among those that were asked for."""
    max_held_back: int | None = None
    """Symbols whose bars wait until a split is recorded; None for any number."""


@dataclass(frozen=True)
class GroupStatus:
    """One feature group."""

    view: str
    newest: datetime | None
    """Event of its newest row; None without one in the last 90 days."""
    age: timedelta | None
    max_age: timedelta
    coverage: float | None
    """Of the newest snapshot, by its receipt; None where no receipt tells."""
    asked: int
    """Symbols of the newest snapshot's request that the group can have."""
    stale: tuple[str, ...]
    """Those among them whose newest row is older than ``max_age``."""
    missing: tuple[str, ...]
    """Those among them without any row in the last 90 days."""
    quarantined: int
    """Rows that the newest snapshot's run kept back."""


@dataclass(frozen=True)
class Load:
    """The last materialization."""

    run_id: str
    until: datetime
    age: timedelta
    rows: dict[str, int | None]
    """By view, the symbols that were loaded."""


@dataclass(frozen=True)
class StatusReport:
    """What there is, and which limits it is past."""

    at: datetime
    groups: tuple[GroupStatus, ...]
    load: Load | None
    without_bars: dict[str, tuple[str, ...]]
    """By exchange, symbols with a fresh snapshot and no stored bar: nothing is recomputed."""
    held_back: tuple[dict[str, Any], ...]
    """Split suspected: symbols whose bars wait until it is recorded, as their receipt tells."""
    sections: tuple[Section, ...]
    """What further looks have found; their problems and warnings are among those below too."""
    problems: tuple[str, ...]
    """What a monitor is to ring for."""
    warnings: tuple[str, ...]
    """What is to be known in time, and nothing to ring for."""

    @property
    def passed(self) -> bool:
        """Whether everything is inside the limits."""
        return not self.problems


def status(settings: Settings, limits: StatusLimits | None = None) -> StatusReport:
    """Look at what there is now.

    Raises
    ------
    CorruptPart
        If a part of the last 90 days cannot be read.
    """
    limits, at, root = limits or StatusLimits(), clock.now(), settings.lakehouse
    # Told by the status itself: a monitor reads no warnings, and what is older may look sound.
    damaged: list[InputError] = []
    newest = {
        dataset.name: newest_events(root, dataset, at - LOOKBACK, at)
        for dataset in (*GROUPS, OHLCV_1D)
    }
    snapshot = newest_receipt(root, _SNAPSHOT, partial(_snapshot, root), damaged.append)
    asked = _asked(snapshot, newest[TV_TECHNICALS_1D.name])
    with_bars = newest[OHLCV_1D.name].keys()
    groups = tuple(
        _group(
            root,
            group,
            newest[group.name],
            asked & with_bars if group is LOCAL_1D else asked,
            snapshot,
            limits.max_age or group.quality.max_age,
            at,
        )
        for group in GROUPS
    )
    load = newest_receipt(root, _LOAD, partial(_load, settings, at), damaged.append)
    held_back = newest_receipt(root, _BARS, _held_back, damaged.append) or ()
    half = half_imports(root, damaged.append)
    sections = tuple(look(settings, at) for look in LOOKS)
    return StatusReport(
        at=at,
        groups=groups,
        load=load,
        without_bars=_without_bars(groups, newest),
        held_back=held_back,
        sections=sections,
        problems=(
            *map(str, damaged),
            *map(str, half),
            *_problems(limits, groups, load, held_back, bool(with_bars)),
            *(problem for section in sections for problem in section.problems),
        ),
        warnings=tuple(warning for section in sections for warning in section.warnings),
    )


def refuse_unless_fresh(report: StatusReport) -> None:
    """Stop where a limit is passed.

    Raises
    ------
    GateRefused
        If one is.
    """
    if not report.passed:
        first, *others = report.problems
        more = f" and {len(others)} more" if others else ""
        raise GateRefused(f"{first}{more}")


@dataclass(frozen=True)
class _Snapshot:
    """What the receipt of the newest snapshot tells."""

    run_id: str
    coverage: float
    symbols: frozenset[str] | None
    """What was asked for by name; None if it was a market."""
    failed: frozenset[str]


def _snapshot(root: Path, receipt: dict[str, Any]) -> _Snapshot | None:
    if ended_before(receipt, "coverage"):
        return None
    source, coverage = receipt["request"]["source"], float(receipt["coverage"])
    if not 0 <= coverage <= 1:  # not-a-number would be inside any limit
        raise ValueError(f"{coverage} is no share")
    is_to_appear = receipt.get("verdict") == "publish" and receipt["fetched"] > 0
    if is_to_appear and not _has_appeared(root, receipt["run_id"]):
        return None
    return _Snapshot(
        run_id=receipt["run_id"],
        coverage=coverage,
        symbols=None if isinstance(source, str) else frozenset(map(_text, source["symbols"])),
        failed=frozenset(receipt["failed_symbols"]),
    )


def _has_appeared(root: Path, run_id: str) -> bool:
    """Tell whether a run's snapshot was ever there: its receipt is written before.

    It may be gone again, or merged with others; and a run may die between the part and its word.
    """
    if not (root / "_runs" / run_id / LEDGER_FILE).exists():  # from before the ledgers
        return True
    return any(
        entry.confirmed or (root / entry.part).exists()
        for entry in read_ledger(root, run_id)
        if entry.part.startswith(f"{TV_TECHNICALS_1D.storage}/")
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _asked(snapshot: _Snapshot | None, seen: Mapping[str, datetime]) -> frozenset[str]:
    """Return the symbols that the newest snapshot was to have.

    A market is not asked for by name: of it, whatever was seen lately is asked for again.
    """
    if snapshot is None:
        return frozenset(seen)
    return snapshot.symbols if snapshot.symbols is not None else snapshot.failed | seen.keys()


def _group(
    root: Path,
    group: FeatureGroup,
    newest: Mapping[str, datetime],
    asked: frozenset[str],
    snapshot: _Snapshot | None,
    max_age: timedelta,
    at: datetime,
) -> GroupStatus:
    last = max(newest.values(), default=None)
    run = root / "_runs" / snapshot.run_id if snapshot else None
    is_snapshot = group is TV_TECHNICALS_1D
    return GroupStatus(
        view=group.name,
        newest=last,
        age=at - last if last else None,
        max_age=max_age,
        coverage=snapshot.coverage if snapshot and is_snapshot else None,
        asked=len(asked),
        stale=tuple(sorted(s for s in asked & newest.keys() if at - newest[s] > max_age)),
        missing=tuple(sorted(asked - newest.keys())),
        quarantined=quarantined(run)[group.name] if run else 0,
    )


def _load(settings: Settings, at: datetime, receipt: dict[str, Any]) -> Load | None:
    if receipt["settings"]["project"] != str(settings.project):  # it shares the lakehouse
        return None
    if ended_before(receipt, "views"):
        return None
    until = clock.parse_instant(receipt["until"])
    rows = {_text(view["view"]): view["rows"] for view in receipt["views"]}
    return Load(receipt["run_id"], until, at - until, rows)


def _held_back(receipt: dict[str, Any]) -> tuple[dict[str, Any], ...] | None:
    if "bars" not in receipt:  # it was refused
        return None
    return tuple(dict(each) for each in receipt["bars"]["held_back"])


def _without_bars(
    groups: tuple[GroupStatus, ...], newest: Mapping[str, Mapping[str, datetime]]
) -> dict[str, tuple[str, ...]]:
    lacking = newest[TV_TECHNICALS_1D.name].keys() - newest[OHLCV_1D.name].keys()
    lacking -= {symbol for group in groups for symbol in group.stale}
    exchanges: dict[str, list[str]] = {}
    for symbol in sorted(lacking):
        exchanges.setdefault(exchange_of(symbol), []).append(symbol)
    return {exchange: tuple(symbols) for exchange, symbols in exchanges.items()}


def _problems(
    limits: StatusLimits,
    groups: tuple[GroupStatus, ...],
    load: Load | None,
    held_back: tuple[dict[str, Any], ...],
    has_bars: bool,
) -> Iterator[str]:
    """Yield the limits that are passed, each with what to do."""
    for group in groups:
        recomputed = group.view == LOCAL_1D.name
        if group.age is None:
            if not recomputed or has_bars:
                command = "local-features" if recomputed else "flow-data"
                yield f"{group.view} has no rows of the last 90 days: run `tvfeast {command}`"
            continue
        if group.age > group.max_age:
            yield f"{group.view} is {group.age} old, more than {group.max_age}"
        if group.coverage is not None and group.coverage < limits.min_coverage:
            yield f"{group.view} covers {group.coverage:.1%}, less than {limits.min_coverage:.1%}"
        late = len(group.stale) + len(group.missing)
        if late > limits.max_stale_share * group.asked:
            yield (
                f"{group.view}: {len(group.stale)} stale and {len(group.missing)} missing of "
                f"{group.asked} symbols, more than {limits.max_stale_share:.1%}"
            )
    max_age = limits.max_age or TV_TECHNICALS_1D.quality.max_age
    if load is None:
        yield "nothing was ever materialized: run `tvfeast materialize`"
    elif load.age > max_age:
        yield f"the online store is as of {load.age} ago, more than {max_age}"
    if limits.max_held_back is not None and len(held_back) > limits.max_held_back:
        yield f"{len(held_back)} symbols are held back for a split that is to be recorded"
