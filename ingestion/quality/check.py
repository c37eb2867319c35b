"""Whether rows may be published, by Great Expectations and the catalog.

In go rows of one feature group and what they are compared with. Out come the rows in two halves,
and what was broken: a row's fault quarantines the row, a batch's fault quarantines all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar

import numpy as np
import pyarrow as pa

from ingestion.base.wording import counted
from ingestion.catalog import FeatureGroup
from ingestion.lakehouse import arrow_schema
from ingestion.quality.engine import Broken, Engine
from ingestion.quality.figures import (
    Figure,
    Skipped,
    against_history,
    age,
    newest,
    quarantined_share,
    too_few,
)
from ingestion.quality.history import History
from ingestion.quality.rules import (
    Level,
    Mask,
    Parted,
    all_quarantined,
    may_be_broken,
    null_shares,
    part,
    row_rules,
)

NAMED = 20
"""How many symbols of a broken check the summary names."""


@dataclass(frozen=True)
class CheckContext:
    """What rows are judged against, besides the catalog."""

    history: History | None = None
    """None where there is nothing to compare with; those checks are skipped."""
    at: datetime | None = None
    """The instant by which the rows' age is judged; None where it does not matter."""
    fewest: int = 1
    """Least number of rows that must remain."""
    most: int | None = None
    """Number of symbols asked; none may have two rows."""
    waived: Set[str] = frozenset()
    """Checks of the batch that may be broken, by name."""


@dataclass(frozen=True)
class Failure:
    """A check that was broken."""

    check: str
    level: Level
    rows: int
    """Rows that broke it; 0 where it is not about rows."""
    detail: str
    symbols: tuple[str, ...] = ()
    """The first :data:`NAMED` of them."""
    waived: bool = False

    def __str__(self) -> str:
        return f"{self.check}: {self.detail}"


@dataclass(frozen=True)
class CheckReport:
    """What became of a batch: ``accepted`` and ``quarantined`` are all its rows, none in both."""

    SHOWN: ClassVar = ("verdict",)

    group: str
    newest: datetime | None
    """Newest event time; None without rows."""
    accepted: pa.Table
    """What may be published; no rows if the batch was refused."""
    quarantined: pa.Table
    """With a last column of the checks that each row broke."""
    checks: int
    """Checks that were judged."""
    failures: tuple[Failure, ...]
    skipped: tuple[Skipped, ...]
    figures: tuple[Figure, ...] = field(default=())

    @property
    def refused(self) -> bool:
        """Whether nothing may be published."""
        return bool(self.reasons)

    @property
    def reasons(self) -> tuple[Failure, ...]:
        """What the batch was refused for."""
        return tuple(
            each for each in self.failures if each.level is Level.BATCH and not each.waived
        )

    @property
    def verdict(self) -> str:
        """Whether something is published, for the receipt."""
        return "refuse" if self.refused else "publish"

    def __str__(self) -> str:
        state = "refused" if self.refused else f"{counted(self.accepted.num_rows, 'row')} accepted"
        more = f", {self.quarantined.num_rows:,} quarantined" if self.quarantined.num_rows else ""
        return f"{self.group}: {state}{more} by {counted(self.checks, 'check')}"


def check_rows(
    group: FeatureGroup,
    rows: pa.Table,
    context: CheckContext | None = None,
    engine: Engine | None = None,
) -> CheckReport:
    """Judge the rows of one batch.

    1. Columns and types; if they are others, nothing else can be judged.
    2. Row by row: nulls, bounds, values, sums, order, uniqueness. And the share of nulls of all
       rows. Great Expectations judges where a rule may be broken.
    3. Of the rows that are left, the batch's figures: how many, how old, how different from before.

    Parameters
    ----------
    rows
        At most one row per symbol where figures are to mean anything; in any order.
    engine
        Judges the batch in any case; without one, a batch that breaks nothing does not wait for the
        import of Great Expectations.
    """
    context = context or CheckContext()
    if faults := list(_schema_faults(group, rows)):
        return _malformed(group, rows, faults)
    rules, shares, skipped = row_rules(group), null_shares(group), []
    if rows.num_rows < group.quality.judged_from:
        skipped = [too_few(each.check, rows.num_rows, "rows", group) for each in shares]
        shares = ()
    if engine is None and any(may_be_broken(each, rows) for each in (*rules, *shares)):
        engine = Engine()
    broken = engine.judge(group.name, rows, rules, shares) if engine else []
    parted = part(
        rows, {each.check: _mask(each, rows) for each in broken if each.level is Level.ROW}
    )
    judged = list(_figures(group, parted.accepted, parted.quarantined.num_rows, context))
    figures = [each for each in judged if isinstance(each, Figure)]
    report = CheckReport(
        group=group.name,
        newest=newest(rows) if rows.num_rows else None,
        accepted=parted.accepted,
        quarantined=parted.quarantined,
        checks=len(rules) + len(shares) + len(figures),
        failures=(
            *(_failure(each, rows, context.waived) for each in broken),
            *(
                Failure(each.check, Level.BATCH, 0, str(each), waived=each.check in context.waived)
                for each in figures
                if not each.is_inside
            ),
        ),
        skipped=(*skipped, *(each for each in judged if isinstance(each, Skipped))),
        figures=tuple(figures),
    )
    return _refused(report) if report.refused else report


def _figures(
    group: FeatureGroup, accepted: pa.Table, quarantined: int, context: CheckContext
) -> Iterable[Figure | Skipped]:
    yield Figure("rows", accepted.num_rows, context.fewest, context.most)
    yield quarantined_share(group, accepted.num_rows + quarantined, quarantined)
    if context.at is not None:
        yield age(group, accepted, context.at)
    yield from against_history(group, accepted, context.history)


def _schema_faults(group: FeatureGroup, rows: pa.Table) -> Iterator[Failure]:
    wanted = arrow_schema(group)
    if rows.schema.names != wanted.names:
        found = ", ".join(rows.schema.names)
        yield Failure("columns", Level.BATCH, 0, f"found {found}")
        return
    for own, given in zip(wanted, rows.schema, strict=True):
        if not given.equals(own):
            yield Failure(f"{own.name} type", Level.BATCH, 0, f"found {given}, not {own}")


def _malformed(group: FeatureGroup, rows: pa.Table, faults: list[Failure]) -> CheckReport:
    quarantined = all_quarantined(part(rows, {}), [each.check for each in faults])
    empty = rows.slice(0, 0)
    return CheckReport(
        group.name, None, empty, quarantined, len(group.columns) + 1, tuple(faults), skipped=()
    )


def _refused(report: CheckReport) -> CheckReport:
    parted = Parted(report.accepted, report.quarantined)
    checks = [each.check for each in report.reasons]
    return replace(
        report,
        accepted=report.accepted.slice(0, 0),
        quarantined=all_quarantined(parted, checks),
    )


def _mask(broken: Broken, rows: pa.Table) -> Mask:
    mask = np.zeros(rows.num_rows, dtype=bool)
    mask[broken.positions] = True
    return mask


def _failure(broken: Broken, rows: pa.Table, waived: Set[str]) -> Failure:
    named = pa.array(broken.positions[:NAMED])
    return Failure(
        check=broken.check,
        level=broken.level,
        rows=len(broken.positions),
        detail=broken.detail,
        symbols=tuple(map(str, rows["symbol"].take(named).to_pylist())) if len(named) else (),
        waived=broken.level is Level.BATCH and broken.check in waived,
    )
