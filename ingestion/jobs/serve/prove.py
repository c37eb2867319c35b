"""Prove that a data set has nothing but what was knowable at each decision."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import from_numpy
from ingestion.base.columns import INSTANT
from ingestion.base.errors import TvfeastError
from ingestion.base.instants import from_micros, to_micros
from ingestion.base.wording import counted, some_of
from ingestion.catalog import CrossSection, FromBars
from ingestion.datasets import Choice, Questions, Universe, labels_of
from ingestion.datasets.fingerprint import Fingerprints
from ingestion.datasets.panel import answers
from ingestion.datasets.set_file import json_beside
from ingestion.jobs.looking import one_look
from ingestion.jobs.serve.causes_of_cells import Cell, cause_of
from ingestion.jobs.serve.near_decisions import Places, asked, instants
from ingestion.jobs.serve.set_again import changed_definitions, differs, labels_again
from ingestion.jobs.serve.set_contents import SetContents
from ingestion.jobs.serve.show_universe import membership_of
from ingestion.lakehouse import newest_part
from ingestion.project import Project

_NAMED = 5
"""How many cells or rows of a kind are named."""
_MOST_SYMBOLS = 20
"""Of how many symbols' bars the lookahead of formulas is proved."""


class Finding(StrEnum):
    """What a check has found."""

    SOUND = "sound"
    FAULT = "fault"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Check:
    """One check of a data set."""

    name: str
    finding: Finding
    told: str
    """What was compared, or what is wrong, or why it was not checked."""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proof:
    """All checks of a data set."""

    SHOWN: ClassVar = ("passed",)

    file: Path
    rows: int
    checks: tuple[Check, ...]
    created_later: dict[str, int] = field(default_factory=dict)
    """By group, rows whose values were written after their decision, as the set says."""

    @property
    def passed(self) -> bool:
        """Whether no check has found a fault."""
        return all(each.finding is not Finding.FAULT for each in self.checks)


@one_look
def prove(project: Project, place: Path) -> Proof:
    """Check a data set, with the lakehouse as far as it is at hand.

    Raises
    ------
    InputError
        If the file cannot be read, or does not say where its rows come from.
    CorruptPart
        If a part of the lakehouse cannot be read.
    """
    of_set = SetContents(project, place)
    told = of_set.told
    checks = [*_of_file(of_set)]
    missing = [
        each.group.name
        for each in of_set.features
        if newest_part(project.lakehouse, each.group) is None
    ]
    if missing or not of_set.features:
        why = f"{project.lakehouse} has no {some_of(missing, _NAMED) or 'group of it'}"
        checks.append(Check("cells", Finding.NOT_CHECKED, f"{why}: only the file was looked at"))
    else:
        checks += [*_columns(of_set), _cells(of_set), *_members(of_set), *_targets(of_set)]
        checks += _definitions(of_set)
    return Proof(place, told["rows"], tuple(checks), told["created_later"])


def _found(name: str, faults: int, sound: str, fault: str, examples: list[str]) -> Check:
    if not faults:
        return Check(name, Finding.SOUND, sound)
    return Check(name, Finding.FAULT, fault, tuple(examples[:_NAMED]))


def _of_file(of_set: SetContents) -> Iterator[Check]:
    """Yield what the file alone can show."""
    found, rows, early, examples = Fingerprints(), 0, 0, []
    has_labels = of_set.has_instants("label_start_timestamp")
    spans = (of_set.told.get("labels") or {}).get("spans") or {}
    own_ends = [(target, end) for target, (_, end) in spans.items() if of_set.has_instants(end)]
    for batch in of_set.batches():
        found.add(batch)
        rows += batch.num_rows
        if has_labels:
            starts, decided = batch["label_start_timestamp"].cast(INSTANT), instants(batch)
            bad = pc.fill_null(pc.less(starts, decided), True)
            if of_set.has_instants("label_end_timestamp"):
                ends = batch["label_end_timestamp"].cast(INSTANT)
                bad = pc.or_(bad, pc.fill_null(pc.less_equal(ends, decided), True))
            for target, end in own_ends:  # a missing label has no end
                ended = pc.greater(batch[end].cast(INSTANT), decided)
                bad = pc.or_(
                    bad, pc.not_equal(pc.fill_null(ended, False), pc.is_valid(batch[target]))
                )
            wrong = batch.filter(bad)
            early += wrong.num_rows
            for row in wrong.slice(0, _NAMED).to_pylist():
                examples.append(
                    f"{row['symbol']}: decided {row['event_timestamp']}, label from "
                    f"{row['label_start_timestamp']} to {row.get('label_end_timestamp')}"
                )
    said = of_set.told["fingerprint"]
    same = found.result()._asdict() == said and rows == of_set.told["rows"]
    yield _found(
        "fingerprint",
        not same,
        f"{rows:,} rows are as they were written",
        "the set is not as it was written: a cell, a row or their order was changed",
        [],
    )
    beside = json_beside(of_set.place)
    try:
        is_same = json.loads(beside.read_text()) == of_set.told
        yield _found(
            "provenance",
            not is_same,
            f"{beside.name} says the same as the file",
            f"{beside.name} says something else than the set's metadata",
            [],
        )
    except (OSError, ValueError):
        told = f"{beside.name} is not there or cannot be read; the set's metadata counts"
        yield Check("provenance", Finding.NOT_CHECKED, told)
    if has_labels:
        yield _found(
            "labels",
            early,
            "all labels begin at or after their decision and end after it",
            f"{early:,} of {rows:,} labels begin before their decision, or end by then: they are "
            "not shifted",
            examples,
        )
    elif not of_set.is_panel:
        told = "no column label_start_timestamp of instants says when a label begins"
        yield Check("labels", Finding.NOT_CHECKED, told)


def _columns(of_set: SetContents) -> Iterator[Check]:
    """Name the columns of which the set does not say where they come from."""
    made = of_set.told.get("labels") or {}
    if not of_set.is_panel and "target" not in made:
        return  # a file of labels may have any
    labels = [] if of_set.is_panel else labels_of(made["target"])
    spans = (name for pair in (made.get("spans") or {}).values() for name in pair)
    known = {"symbol", "event_timestamp", "label_start_timestamp", "label_end_timestamp"}
    known |= {*spans, *(each.column for each in labels)}
    strange = [name for name in of_set.labels if name not in known]
    if strange:
        told = (
            f"no feature and no label of the set, so nobody knows where from: {', '.join(strange)}"
        )
        yield Check("columns", Finding.FAULT, told)


def _cells(of_set: SetContents) -> Check:
    """Ask each question of the set again, and compare every cell."""
    project, recorded = of_set.project, bool(of_set.told["as_recorded"])
    columns = {column: (group, name) for column, group, name in of_set.named}
    wanted = ["symbol", "event_timestamp", *columns]
    faults: Counter[str] = Counter()
    examples: list[str] = []
    cells = 0
    for batch in of_set.questions(wanted):
        slices = [asked(batch)]
        [right] = answers(
            project.lakehouse,
            of_set.features,
            slices,
            known_at=of_set.known_at,
            as_recorded=recorded,
        )
        for column, (group, name) in columns.items():
            cells += batch.num_rows
            for row in np.flatnonzero(differs(batch, right, column)).tolist():
                faults[column] += 1
                if faults[column] <= 2 and len(examples) < _NAMED:
                    cell = Cell(
                        batch["symbol"][row].as_py(),
                        from_micros(int(slices[0].instants[row])),
                        column,
                        batch[column][row].as_py(),
                        right[column][row].as_py(),
                    )
                    cause = cause_of(
                        project.lakehouse, group, name, cell, of_set.known_at, as_recorded=recorded
                    )
                    examples.append(str(Cell(**{**vars(cell), "cause": cause})))
    if of_set.gone:
        examples.append(f"not declared any more, not checked: {some_of(of_set.gone, _NAMED)}")
    return _found(
        "cells",
        faults.total(),
        f"{cells:,} cells are the ones that were knowable",
        f"{faults.total():,} of {cells:,} cells were not knowable ({', '.join(faults)})",
        examples,
    )


def _members(of_set: SetContents) -> Iterator[Check]:
    """Check that the rows are of those who could be chosen, as it was known then."""
    told = of_set.told
    universe = told["universe"] or (told.get("labels") or {}).get("universe")
    if universe is None:
        yield Check(
            "members",
            Finding.NOT_CHECKED,
            "the set names no universe: whoever was delisted before its symbols were chosen is "
            "missing",
        )
        if of_set.is_panel and told["symbols"] is not None:
            yield _all_asked(of_set, sorted({*told["symbols"]}), Universe.fixed(told["symbols"]))
        return
    try:
        membership = membership_of(
            of_set.project,
            universe,
            as_recorded=bool(told["as_recorded"]),
            known_at=of_set.known_at,
        )
    except TvfeastError as error:
        yield Check("members", Finding.NOT_CHECKED, str(error))
        return
    outside, rows, examples = 0, 0, []
    for batch in of_set.batches(["symbol", "event_timestamp"]):
        questions = asked(batch)
        inside = membership.was_active(questions.names, questions.codes, questions.instants)
        if of_set.is_panel:
            inside &= membership.is_known(questions.instants)
        wrong = np.flatnonzero(~inside)
        outside += len(wrong)
        rows += batch.num_rows
        examples += [
            f"{batch['symbol'][row].as_py()} at {from_micros(int(questions.instants[row]))}"
            for row in wrong[:_NAMED].tolist()
        ]
    yield _found(
        "members",
        outside,
        f"{rows:,} rows are of members of {universe} at their decision",
        f"{outside:,} of {rows:,} rows are of symbols that were no members of {universe} at their "
        "decision, as it was known then",
        examples,
    )
    if of_set.is_panel:
        yield _all_asked(of_set, sorted(membership.names.to_pylist()), membership)


def _all_asked(of_set: SetContents, symbols: list[str], choice: Choice) -> Check:
    """Check that each decision has one row of each member, also of who was delisted since."""
    names = pa.array(symbols, pa.string())
    questions = Questions(names, of_set.schedule, choice, to_micros(of_set.known_at))
    own, wanted, rows, members = Fingerprints(), Fingerprints(), 0, 0
    for batch in of_set.batches(["symbol", "event_timestamp"]):
        own.add(pa.table(asked(batch).keys()))
        rows += batch.num_rows
    for each in questions.slices():
        wanted.add(pa.table(each.keys()))
        members += len(each.codes)
    return _found(
        "all members",
        own.result().rows != wanted.result().rows,
        "each member at each decision has its row",
        f"{counted(rows, 'row')}, and {counted(members, 'member')} at all decisions together; a "
        "member has no row, or a row is there twice or of no decision",
        [],
    )


def _targets(of_set: SetContents) -> Iterator[Check]:
    """Label the decisions again, and compare."""
    made = of_set.told.get("labels") or {}
    if of_set.is_panel:
        return
    if "target" not in made:
        yield Check(
            "targets",
            Finding.NOT_CHECKED,
            "the labels are of a file: how they were made is unknown",
        )
        return
    right = labels_again(of_set)
    if of_set.told["rows"] != right.num_rows:
        told = f"{of_set.told['rows']:,} rows, and the bars give {right.num_rows:,} labels"
        yield Check("targets", Finding.FAULT, told)
        return
    targets = [each.column for each in labels_of(made["target"])]
    places, seen = Places(right), np.zeros(right.num_rows, dtype=bool)
    wrong, examples = 0, list[str]()
    for own in of_set.batches(right.column_names):
        at = places.of(own)
        is_new = (at >= 0) & ~seen[at]
        seen[at[at >= 0]] = True
        again = right.take(from_numpy(np.maximum(at, 0)))
        faulty = ~is_new
        for name in right.column_names:
            faulty |= differs(own, again, name)
        wrong += int(faulty.sum())
        for row in np.flatnonzero(faulty)[: _NAMED - len(examples)].tolist():
            examples += _label_examples(own, again if is_new[row] else None, row, targets)
    lacking = np.flatnonzero(~seen)
    for row in lacking[: _NAMED - len(examples)].tolist():
        who = f"{right['symbol'][row].as_py()} at {right['event_timestamp'][row].as_py()}"
        examples.append(f"the bars give a label of {who}, and the set has none")
    wrong = max(wrong, len(lacking))
    yield _found(
        "targets",
        wrong,
        f"{right.num_rows:,} labels are those that the bars give",
        f"{wrong:,} of {right.num_rows:,} labels are not those that the bars give",
        examples,
    )


def _label_examples(
    own: pa.Table, again: pa.Table | None, row: int, targets: list[str]
) -> Iterator[str]:
    """Yield how a row's labels differ from those of the bars, which may give it none."""
    who = f"{own['symbol'][row].as_py()} at {own['event_timestamp'][row].as_py()}"
    if again is None:
        yield f"the bars give no label of {who}, or the set has it twice"
        return
    for target in targets:
        found, given = (table[target][row].as_py() for table in (own, again))
        if found != given or len(targets) == 1:
            yield f"{target} of {who} is {found!r}, and the bars give {given!r}"


def _definitions(of_set: SetContents) -> Iterator[Check]:
    """Compare the features' definitions, and prove that no formula looks ahead."""
    project = of_set.project
    changed = changed_definitions(of_set)
    told = f"changed since the set was made: {some_of(changed, _NAMED)}"
    same = Check("definitions", Finding.SOUND, "all features are declared as they were then")
    yield Check("definitions", Finding.NOT_CHECKED, told) if changed else same
    yield from _cross_sections(of_set)
    formulas = project.formulas
    used = [
        formulas[name]
        for _, group, name in of_set.named
        if isinstance(group.source, FromBars) and name in formulas
    ]
    if not used:
        return
    from ingestion.jobs.compute.lookahead import verify_lakehouse

    try:
        report = verify_lakehouse(project, _MOST_SYMBOLS, used)
    except TvfeastError as error:
        yield Check("lookahead", Finding.NOT_CHECKED, str(error))
        return
    leaks = [str(each) for each in report.leaks]
    yield _found(
        "lookahead",
        len(leaks),
        f"{counted(len(used), 'formula')} of closed bars: no later bar moves a value",
        f"{counted(len(leaks), 'formula looks', 'formulas look')} past the bar",
        leaks,
    )


def _cross_sections(of_set: SetContents) -> Iterator[Check]:
    """Prove that nothing of later days is in the cross-sections."""
    groups = {
        group.name: group for _, group, _ in of_set.named if isinstance(group.source, CrossSection)
    }
    if not groups:
        return
    from ingestion.jobs.compute.cross_section_proof import NOTHING, with_cross_section

    report = NOTHING
    for group in groups.values():
        report = with_cross_section(report, of_set.project, group)
    yield _found(
        "later days",
        len(report.leaks),
        f"{', '.join(groups)} on {counted(report.days, 'day')}: equal with all later days away",
        f"{counted(len(report.leaks), 'column has', 'columns have')} something of later days",
        [str(each) for each in report.leaks],
    )
