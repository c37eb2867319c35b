"""Why a symbol is ranked otherwise today than at a decision: what became of its rows since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

from ingestion.base.errors import InputError
from ingestion.base.plain import plain
from ingestion.base.reading import reading_again
from ingestion.base.wording import some_of
from ingestion.catalog import FeatureGroup
from ingestion.jobs.compute.definitions import definition_in, difference
from ingestion.jobs.serve.ranked_features import SCORE
from ingestion.jobs.serve.ranking import REASONS, Ranking
from ingestion.lakehouse import list_parts, receipts_of_run
from ingestion.lakehouse.history import StoredRow, versions_by_symbol
from ingestion.project import Project
from ingestion.quality.rules import FAILED
from ingestion.runs.quarantine import quarantined_rows
from ingestion.runs.receipt_file import NOT_SAID, read_receipt

_BAR = "bar_timestamp"
_CREATED = "created_timestamp"


class Kind(StrEnum):
    """What may have become of a symbol since a decision."""

    RESTATED = "restated"
    """Its row was written again with other values."""
    LATE = "late"
    """Its row was written after the decision."""
    QUARANTINED = "quarantined"
    """Its row had been kept back, and came after the decision."""
    DEFINITION = "changed definition"
    """Its row was computed again by another formula, or a feature is declared otherwise."""
    MEMBERSHIP = "membership"
    """It is known otherwise today whether it was in the universe."""
    NOT_SERVED = "not served yet"
    """The lakehouse had the row, and the online store did not."""
    LEFT_OUT = "left out"
    """Nothing of its rows differs, but whether it is ranked."""
    OTHERS = "others moved"
    """Its values are as they were."""
    UNEXPLAINED = "not explained"
    """Its values differ, and no row of the lakehouse says why."""


@dataclass(frozen=True)
class Reason:
    """One reason."""

    kind: Kind
    told: str
    """What was written, and when."""
    run_id: str | None = None
    """By whom, as far as the lakehouse says; of a row in quarantine, who kept it back."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.told}" if self.told else str(self.kind)


@dataclass(frozen=True)
class Seen:
    """What a view has of a symbol."""

    rank: int | None = None
    left_out: str | None = None
    """Why it is not ranked; None too of a symbol that was not asked about."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """By the feature's label, as JSON has it; nothing without a row."""
    is_asked: bool = False
    is_unserved: bool = False
    """Whether the lakehouse had a row to rank, and a selection that was kept did not rank it."""


@dataclass(frozen=True)
class Difference:
    """A symbol in both views."""

    symbol: str
    then: Seen
    known: Seen
    """What the lakehouse had at the decision: ``then``, unless the selection was kept."""
    now: Seen

    @property
    def labels(self) -> list[str]:
        """Features whose values differ between the decision's lakehouse and today's."""
        return _differing(self.known, self.now)

    @property
    def unserved(self) -> list[str]:
        """Features that were selected by with other values than the lakehouse had."""
        return _differing(self.then, self.known) if self.then.values else []


@dataclass(frozen=True)
class Reasons:
    """Finds them.

    Parameters
    ----------
    would
        The ranking of what was known at the decision.
    known_at
        What was created later was not known then.
    redefined
        Labels of features that are declared otherwise than when the selection was kept.
    """

    project: Project
    would: Ranking
    known_at: datetime
    universe: str | None
    redefined: frozenset[str]
    _told: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    """By run, what its receipts say."""

    def of(self, differences: Sequence[Difference]) -> list[tuple[Reason, ...]]:
        """Return the reasons for each difference, one at least."""
        by_label = self.would.wanted.by_label
        concerned: dict[str, set[str]] = {}
        for each in differences:
            for label in (name for name in each.labels if name in by_label):
                concerned.setdefault(by_label[label].view, set()).add(each.symbol)
            if each.then.left_out != each.now.left_out:
                concerned.setdefault(self.would.group.name, set()).add(each.symbol)
        versions = {
            name: reading_again(partial(self._versions, self.project.catalog.group(name), symbols))
            for name, symbols in concerned.items()
        }
        return [tuple(self._reasons(each, versions)) for each in differences]

    def _versions(self, group: FeatureGroup, symbols: set[str]) -> dict[str, list[StoredRow]]:
        """Return the rows that may have counted at the decision."""
        at = self.would.at
        parts = list_parts(self.project.lakehouse, group, (at - group.ttl).date(), at.date())
        found = versions_by_symbol(group, parts, sorted(symbols))
        return {
            symbol: [row for row in rows if at - group.ttl <= row.values[group.event] <= at]
            for symbol, rows in found.items()
        }

    def _reasons(
        self, each: Difference, versions: Mapping[str, Mapping[str, list[StoredRow]]]
    ) -> Iterator[Reason]:
        found: list[Reason] = []
        if self.universe is not None and each.then.is_asked != each.now.is_asked:
            was, is_now = (
                "a member" if seen.is_asked else "no member" for seen in (each.then, each.now)
            )
            told = f"{was} of {self.universe} as known then, {is_now} as known now"
            found.append(Reason(Kind.MEMBERSHIP, told))
        if unserved := [name for name in each.unserved if name not in self.redefined]:
            told = f"the lakehouse had another value of {some_of(unserved)}"
            found.append(Reason(Kind.NOT_SERVED, told))
        elif each.then.is_unserved and not self.redefined:
            found.append(
                Reason(Kind.NOT_SERVED, "the lakehouse had its row, and it was not ranked")
            )
        by_label = self.would.wanted.by_label
        of_group: dict[str, list[str]] = {}
        # What is ranked by comes first.
        labels = sorted(each.labels, key=lambda name: name != self.would.by)
        for label in (name for name in labels if name in by_label):
            of_group.setdefault(by_label[label].view, []).append(by_label[label].feature)
        if each.then.left_out != each.now.left_out:
            of_group.setdefault(self.would.group.name, []).append(_BAR)
        for name, columns in of_group.items():
            group = self.project.catalog.group(name)
            found += self._of_rows(group, each.symbol, columns, versions[name][each.symbol])
        # A TTL moves symbols whose values are the same.
        is_ranked_otherwise = (each.then.rank is None) != (each.now.rank is None)
        changed = self.redefined if is_ranked_otherwise else self.redefined & set(each.labels)
        if changed and Kind.DEFINITION not in {why.kind for why in found}:
            told = f"declared otherwise since: {some_of(sorted(changed))}"
            found.append(Reason(Kind.DEFINITION, told))
        yield from dict.fromkeys(found)
        if not found:
            yield self._without_rows(each)

    def _without_rows(self, each: Difference) -> Reason:
        if each.labels == [SCORE] and self.would.model is not None:
            return Reason(Kind.DEFINITION, "the model gives another score for the same values")
        if each.labels:
            told = f"another value of {some_of(each.labels)}, and no new row"
            return Reason(Kind.UNEXPLAINED, told)
        then, now = each.then.left_out, each.now.left_out
        if then == now:
            return Reason(Kind.OTHERS, "")
        views = (("then", then), ("now", now))
        return Reason(
            Kind.LEFT_OUT, ", ".join(f"{when}: {REASONS[why]}" for when, why in views if why)
        )

    def _of_rows(
        self, group: FeatureGroup, symbol: str, columns: Sequence[str], rows: list[StoredRow]
    ) -> Iterator[Reason]:
        """Yield what was written since the decision to give other values of some columns."""
        if not rows:
            return
        newest = rows[-1].values[group.event]
        of_event = [row for row in rows if row.values[group.event] == newest]
        before = [row for row in of_event if row.values[_CREATED] <= self.known_at]
        since = [row for row in of_event if row.values[_CREATED] > self.known_at]
        if not before:
            first = since.pop(0)
            yield self._late(group, symbol, first)
            last = first
        else:
            last = before[-1]
        for row in since:
            changed = [
                name for name in columns if plain(row.values[name]) != plain(last.values[name])
            ]
            if changed:
                yield from self._restated(group, last, row, changed)
            last = row

    def _late(self, group: FeatureGroup, symbol: str, row: StoredRow) -> Reason:
        event, came = row.values[group.event], _minute(row.values[_CREATED])
        for run_id, kept in quarantined_rows(self.project.lakehouse, group.name, symbol):
            if kept[group.event] == event:
                rules = ", ".join(kept[FAILED])
                told = f"the row of {_minute(event)} broke {rules}, and came {came}"
                return Reason(Kind.QUARANTINED, told, run_id)
        told = f"the row of {_minute(event)} was written {came}"
        return Reason(Kind.LATE, told, row.origin.run_id if row.origin else None)

    def _restated(
        self, group: FeatureGroup, before: StoredRow, row: StoredRow, changed: Sequence[str]
    ) -> Iterator[Reason]:
        receipts = self._receipts(row)
        computed = group.source.of_closed_bars
        marks = {
            name: told
            for name in changed
            if computed and (told := _other_mark(self._receipts(before), receipts, name))
        }
        written_as = row.origin.part if row.origin else row.part
        is_defined = any(
            (each.get("reasons") or {}).get(written_as) == "definition" for each in receipts
        )
        came, run_id = _minute(row.values[_CREATED]), row.origin.run_id if row.origin else None
        if marks or is_defined:
            told = some_of([f"{name}: {how}" for name, how in marks.items()])
            told = f"{told or some_of(changed)}, computed again {came}"
            yield Reason(Kind.DEFINITION, told, run_id)
        if not is_defined:
            values = some_of(
                [
                    f"{name} {_value(before.values[name])} → {_value(row.values[name])}"
                    for name in changed
                ]
            )
            yield Reason(Kind.RESTATED, f"{values}, {came}", run_id)

    def _receipts(self, row: StoredRow) -> Sequence[Mapping[str, Any]]:
        return self._of_run(row.origin.run_id) if row.origin else ()

    def _of_run(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        if run_id in self._told:
            return self._told[run_id]
        found = self._told[run_id] = []
        for file in receipts_of_run(self.project.lakehouse, run_id):
            with suppress(InputError, *NOT_SAID):  # `verify` names a damaged receipt
                found.append(read_receipt(file))
        return found


def _other_mark(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], name: str
) -> str | None:
    """Return how the formula of one run differs from that of another; None if it does not."""
    marks = []
    for receipts in (before, after):
        told = [mark for each in receipts if (mark := definition_in(each, name)) is not None]
        marks.append(told[0] if told else None)
    then, now = marks
    return None if then is None or now is None or then == now else difference(then, now)


def _differing(one: Seen, other: Seen) -> list[str]:
    labels = dict.fromkeys([*one.values, *other.values])
    return [name for name in labels if one.values.get(name) != other.values.get(name)]


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(plain(value))


def _minute(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M}"
