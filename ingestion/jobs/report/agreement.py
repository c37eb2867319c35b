"""Served against recomputed values of the same bars, by column and date.

The figures of ``tvfeast parity`` are over all that it compares; this says how they move. A pair is
a snapshot that was taken after its bar had closed, and the recomputed row of that bar. Columns that
follow the clock are left out: ``tvfeast parity`` recomputes them at the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import from_numpy, to_numpy
from ingestion.base.errors import CorruptPart
from ingestion.base.reading import reading_again
from ingestion.catalog import Column, Dtype, FeatureGroup, FromBars
from ingestion.jobs.report.stored_rows import VALUE_DATES, Floats, matrix
from ingestion.lakehouse import Lakehouse, list_dates, parts_of, read_current
from ingestion.markets.hours import hours_of
from ingestion.project import Project
from ingestion.quality.parity import PARITY_FILE
from ingestion.report.contents import Axis, Cell, Kind, Mark, Note, Plot, Row, Section, Table
from ingestion.report.formats import count, counted, day, figure, instant, share
from ingestion.runs.receipt_file import ended_before, newest_receipt

_TOLERANCE = 0.01
_BACK = timedelta(days=5)
"""How long before a snapshot the close of its bar may be."""
_STEPS = (1e-9, 0.01, 0.05, 0.2)
_PALETTE = ("q4", "q3", "q2", "q1", "q0")
_NAMES = ("none", "up to 1 %", "up to 5 %", "up to 20 %", "more")


@dataclass
class _Pairs:
    """By date, the differences of one pair of groups."""

    columns: tuple[Column, ...]
    dates: list[date] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)
    beyond: list[Floats] = field(default_factory=list)
    """By date, each column's share beyond the tolerance; NaN without a pair of values."""


def agreement_section(project: Project, at: datetime) -> Section:
    """Return how far served values are from those that the bars give."""
    body: list[Table | Plot | Note] = []
    pairs = 0
    beyond: dict[str, float] = {}
    for served, recomputed in _twins(project):
        found = _compare(project, served, recomputed, at)
        if not found.dates:
            continue
        pairs += sum(found.bars)
        body.append(_plot(served, recomputed, found))
        last = found.beyond[-1]
        for number, column in enumerate(found.columns):
            if np.isfinite(last[number]) and last[number] > 0:
                beyond[f"{served.name}:{column.name}"] = float(last[number])
    told = newest_receipt(project.lakehouse, PARITY_FILE, _told)
    if told is not None:
        body += told
    else:
        body.append(Note("`tvfeast parity` was not run yet; it says why values differ."))
    if not pairs:
        lead = "There is no snapshot of a closed bar with a recomputed row to compare it with yet."
    elif beyond:
        worst = max(beyond, key=lambda name: beyond[name])
        lead = (
            f"On the newest date, {counted(len(beyond), 'column')} differ from what the bars give "
            f"by more than {share(_TOLERANCE)} of their scale, most of all {worst} "
            f"({share(beyond[worst])} of its values)."
        )
    else:
        lead = (
            f"All served values of the newest date are what the bars give; {pairs:,} bars compared."
        )
    return Section("parity", "Parity with TradingView", lead, body, "tvfeast parity")


def _twins(project: Project) -> Iterator[tuple[FeatureGroup, FeatureGroup]]:
    scanned = {group.name: group for group in project.catalog.scanned}
    for group in project.catalog.computed:
        if isinstance(group.source, FromBars) and group.source.twin in scanned:
            yield scanned[group.source.twin], group


def _compare(
    project: Project, served: FeatureGroup, recomputed: FeatureGroup, at: datetime
) -> _Pairs:
    names = {column.name for column in recomputed.features if column.dtype is Dtype.DOUBLE}
    columns = tuple(
        column
        for column in served.features
        if column.name in names and not project.formulas[column.name].follows_clock
    )
    found = _Pairs(columns)
    lakehouse = project.lakehouse
    wanted = ["symbol", "timestamp", "bar_timestamp", *(column.name for column in columns)]
    days = [each for each in list_dates(lakehouse, served) if each <= at.date()][-VALUE_DATES:]
    own = [each for each in list_dates(lakehouse, recomputed) if each <= at.date()]
    read: dict[date, pa.Table] = {}
    largest: dict[str, Floats] = {}
    compared: dict[str, int] = {}
    for each in days:
        near = [other for other in own if each - _BACK <= other <= each]
        if not near:
            continue
        try:
            read = {
                other: read.get(other) or _read(lakehouse, recomputed, other, wanted)
                for other in near
            }
            snapshots = _read(lakehouse, served, each, wanted)
        except CorruptPart:  # which the first screen names
            continue
        _add(found, each, snapshots, read, largest, compared)
    return found


def _read(lakehouse: Lakehouse, group: FeatureGroup, each: date, wanted: list[str]) -> pa.Table:
    return reading_again(lambda: read_current(parts_of(lakehouse, group, each), group, wanted))


def _add(
    found: _Pairs,
    each: date,
    snapshots: pa.Table,
    recomputed: dict[date, pa.Table],
    largest: dict[str, Floats],
    compared: dict[str, int],
) -> None:
    """Compare the first final snapshot of each bar, of one date of snapshots."""
    rows = pa.concat_tables(recomputed.values())
    place = {
        key: number
        for number, key in enumerate(zip(rows["symbol"].to_pylist(), _opens(rows, -1), strict=True))
    }
    closes = to_numpy(rows["timestamp"])
    keys = zip(
        snapshots["symbol"].to_pylist(),
        _opens(snapshots, -2),
        snapshots["timestamp"].to_pylist(),
        strict=True,
    )
    ours, matched, symbols = [], [], []
    for number, (symbol, opened, known_at) in enumerate(keys):
        row = place.get((symbol, opened))
        if row is None or known_at < closes[row] + hours_of(symbol).finality_delay:
            continue
        if compared.get(symbol, -1) >= opened:
            continue
        compared[symbol] = opened
        ours.append(number)
        matched.append(row)
        symbols.append(symbol)
    if not ours:
        return
    a, b = matrix(snapshots, found.columns)[ours], matrix(rows, found.columns)[matched]
    scale = np.empty_like(b)
    for number, symbol in enumerate(symbols):
        before = largest.get(symbol, np.zeros(len(found.columns)))
        largest[symbol] = scale[number] = np.fmax(before, np.abs(b[number]))
    for number, column in enumerate(found.columns):
        if column.low is not None and column.high is not None:
            scale[:, number] = column.high - column.low
    both = np.isfinite(a) & np.isfinite(b)
    beyond = both & (np.abs(a - b) > _TOLERANCE * scale)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = beyond.sum(axis=0) / both.sum(axis=0)
    found.dates.append(each)
    found.bars.append(len(ours))
    found.beyond.append(shares)


def _opens(rows: pa.Table, missing: int) -> list[int]:
    """Return the opens of bars, Unix s; a number that is none where it is not known."""
    none = from_numpy(np.array([1_000_000 * missing]))[0]
    micros = pc.fill_null(rows["bar_timestamp"].cast(pa.int64()), none)
    return cast(list[int], (to_numpy(micros) // 1_000_000).tolist())


def _plot(served: FeatureGroup, recomputed: FeatureGroup, found: _Pairs) -> Plot:
    cells = [
        (each, column.name, float(shares[number]), bars)
        for each, shares, bars in zip(found.dates, found.beyond, found.bars, strict=True)
        for number, column in enumerate(found.columns)
        if np.isfinite(shares[number])
    ]
    return Plot(
        key=f"agreement-{served.name}",
        title=f"{served.name} against {recomputed.name}: values that differ, by column and date",
        kind=Kind.MATRIX,
        x=Axis("snapshot", "UTC date"),
        y=Axis("column", "feature"),
        columns={
            "x": [each for each, _, _, _ in cells],
            "y": [name for _, name, _, _ in cells],
            "value": [value for _, _, value, _ in cells],
            "note": [f"{share(value)} of {bars:,} bars differ" for _, _, value, bars in cells],
        },
        colour=Axis("values beyond 1 % of the scale", "% of compared bars"),
        steps=_STEPS,
        palette=_PALETTE,
        names=_NAMES,
    )


def _told(receipt: dict[str, Any]) -> list[Table | Plot | Note] | None:
    if ended_before(receipt, "columns"):
        return None
    return [_table(receipt), *told_votes(receipt)]


def _table(receipt: dict[str, Any]) -> Table:
    rows: list[Row] = [
        [
            Cell(str(each["feature"]), is_code=True),
            count(each["n"]),
            figure(each["median_error"]),
            figure(each["max_error"]),
            share(each["sign_agreement"]),
            figure(each["rank_correlation"]),
            Cell(count(each["beyond"]), Mark.CARE if each["beyond"] else Mark.NONE),
            ", ".join(f"{cause} {number:,}" for cause, number in (each.get("causes") or {}).items())
            or "–",
        ]
        for each in receipt["columns"]
    ]
    head = ("column", "bars", "median error", "largest error", "same sign", "rank correlation",
            "beyond", "causes")  # fmt: skip
    note = (
        f"{receipt['compared']:,} bars of snapshots from {receipt['first']} to {receipt['last']}, "
        f"made at {instant(datetime.fromisoformat(receipt['started']))}; errors are in the "
        "column’s unit."
    )
    caption = "The last comparison"
    return Table(caption, head, rows, frozenset(range(1, 7)), "tvfeast parity", note)


def told_votes(receipt: dict[str, Any]) -> Iterator[Table | Plot | Note]:
    """Yield which votes follow another rule since when, as a comparison has found."""
    broken = receipt.get("broken") or []
    if not broken:
        yield Note("No vote of a rating follows another rule than the one declared.", Mark.GOOD)
        return
    rows: list[Row] = [
        [
            ", ".join(each["votes"]),
            Cell(str(each["feature"]), is_code=True),
            str(each["market"]),
            day(date.fromisoformat(each["since"])),
            share(each["share_before"]),
            share(each["share_after"]),
            f"{each['explained']:,} of {each['differing']:,}",
        ]
        for each in broken
    ]
    head = ("vote", "rating", "market", "since", "differs before", "differs since", "explains")
    yield Table("Votes that follow another rule since a date", head, rows, frozenset({4, 5, 6}))
    points = [
        (
            each["day"],
            f"{', '.join(one['votes'])} ({one['market']})",
            each["differing"] / each["cast"],
        )
        for one in broken[:8]
        for each in one["days"]
        if each["cast"]
    ]
    names = list(dict.fromkeys(name for _, name, _ in points))
    if points:
        yield Plot(
            key="votes",
            title="How often a vote is served otherwise, by date",
            kind=Kind.LINES,
            x=Axis("snapshot", "UTC date"),
            y=Axis("served otherwise", "% of the bars on which it was cast"),
            columns={
                "date": [each for each, _, _ in points],
                "series": [name for _, name, _ in points],
                "value": [100 * value for _, _, value in points],
            },
            palette=[f"s{number % 8}" for number in range(len(names))],
            names=names,
        )
