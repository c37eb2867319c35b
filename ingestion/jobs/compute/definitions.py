"""Whether the formulas compute what the stored rows were computed with.

Every finished run of ``local-features``, and a ``backfill`` from its start, has in its receipt the
mark of each formula (:func:`~ingestion.formulas.mark.definition_marks`). The newest finished run
over all bars says it of all rows; later ones, of a span or unfinished, of the rows that they wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from ingestion.base.errors import GateRefused
from ingestion.catalog import OHLCV_1D, FeatureGroup
from ingestion.formulas import BarFormula, definition_marks
from ingestion.lakehouse import Lakehouse, list_parts
from ingestion.project import Project
from ingestion.runs.receipt_file import is_done, receipts_told
from ingestion.runs.run import Outcome, Run

LOCAL_FEATURES_FILE, BACKFILL_FILE = "local_features.json", "backfill.json"
_MEMBER = "definitions"


@dataclass(frozen=True)
class ChangedFormula:
    """A formula that computes something else than stored rows contain."""

    name: str
    groups: tuple[str, ...]
    before: str
    """Its mark when rows were computed by it."""
    now: str
    run_id: str
    """The newest run that wrote rows by the former definition."""
    finished: str
    """When that was, ISO 8601."""
    span: tuple[date, date] | None
    """The dates of the stored bars."""

    def __str__(self) -> str:
        span = "--from {} --to {}".format(*self.span) if self.span else "--from DATE --to DATE"
        return (
            f"the formula {self.name} of {' and '.join(self.groups)} computes something else than "
            f"at {self.finished} (run {self.run_id}), by which there are stored rows: "
            f"{difference(self.before, self.now)}. Compute them again: `tvfeast backfill {span}`; "
            "or restore the formula, and give the new one another name"
        )


@dataclass(frozen=True)
class _Told:
    run_id: str
    finished: str
    marks: Mapping[str, str]
    of_all: bool
    """Whether all stored rows were then as these formulas compute them."""


def computed_formulas(project: Project) -> list[BarFormula]:
    """Return the formulas of all groups that are computed from bars, each once.

    Their order, that of the groups, is also that of what is kept for the next bars.
    """
    names = (name for group in project.catalog.computed for name in _names(group))
    return [project.formulas[name] for name in dict.fromkeys(names)]


def changed_formulas(project: Project) -> list[ChangedFormula]:
    """Return the formulas that compute something else than stored rows contain.

    Of rows that version 0.1.0 wrote nobody knows it: they count as computed by the definitions that
    the first run of this version finds.

    Raises
    ------
    InputError
        If a formula raises an exception.
    """
    return _changed(project, _told(project.lakehouse), definition_marks(computed_formulas(project)))


def mark_definitions(project: Project, run: Run, *, refuse: bool = False) -> frozenset[str]:
    """Put the marks of all formulas into a run's receipt; return the names of the changed ones.

    Parameters
    ----------
    refuse
        Whether a changed formula ends the run, before it has marked anything.

    Raises
    ------
    GateRefused
        As asked.
    """
    marks, told = definition_marks(computed_formulas(project)), _told(project.lakehouse)
    changed = _changed(project, told, marks)
    if changed and refuse:
        raise GateRefused("; ".join(map(str, changed)))
    former = next((each.marks for each in told if each.of_all), {})
    # The rows of a column that is retired today count again if it comes back.
    run.tell(**{_MEMBER: {**former, **marks}})
    if not marks.items() <= former.items():
        run.write()  # a kill must not hide by which definitions rows were computed
    return frozenset(each.name for each in changed)


def definition_in(receipt: Mapping[str, Any], name: str) -> str | None:
    """Return the mark that a formula had in a run; None if the receipt does not say.

    Examples
    --------
    >>> definition_in({"definitions": {"RSI": "look_back=14; values=5a"}}, "RSI")
    'look_back=14; values=5a'
    """
    mark = (receipt.get(_MEMBER) or {}).get(name)
    return None if mark is None else str(mark)


def difference(before: str, now: str) -> str:
    """Return in what two marks differ, for people.

    Examples
    --------
    >>> difference("look_back=14; values=5a", "look_back=20; values=6b")
    'look_back=14 became look_back=20, and the values differ'
    >>> difference("look_back=14; low=0; values=5a", "look_back=14; values=5a")
    'low=0 is gone'
    """
    old, new = (dict(part.split("=", 1) for part in mark.split("; ")) for mark in (before, now))
    told = []
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) == new.get(name):
            continue
        if name == "values":
            told.append("the values differ")
        elif name not in new:
            told.append(f"{name}={old[name]} is gone")
        elif name not in old:
            told.append(f"{name}={new[name]} is new")
        else:
            told.append(f"{name}={old[name]} became {name}={new[name]}")
    return ", and ".join(told)


def _changed(
    project: Project, told: Sequence[_Told], marks: Mapping[str, str]
) -> list[ChangedFormula]:
    found: dict[str, _Told] = {}
    for each in told:
        for name, mark in marks.items():
            if each.marks.get(name, mark) != mark:
                found.setdefault(name, each)
    if not found:
        return []
    bars = list_parts(project.lakehouse, OHLCV_1D)
    return [
        ChangedFormula(
            name,
            tuple(group.name for group in project.catalog.computed if name in _names(group)),
            each.marks[name],
            marks[name],
            each.run_id,
            each.finished,
            (bars[0].date, bars[-1].date) if bars else None,
        )
        for name, each in found.items()
    ]


def _names(group: FeatureGroup) -> list[str]:
    return [column.name for column in group.features if not column.retired]


def _told(lakehouse: Lakehouse) -> list[_Told]:
    """Return what the newest finished run over all bars says, and runs since; the newest first."""
    found: list[_Told] = []
    over_all = partial(_read, reads_all=True)
    for each in receipts_told(lakehouse, LOCAL_FEATURES_FILE, over_all, lambda _: None):
        found.append(each)
        if each.of_all:
            break
    since = found[-1].run_id if found and found[-1].of_all else ""
    of_span = partial(_read, reads_all=False)
    found += receipts_told(lakehouse, BACKFILL_FILE, of_span, lambda _: None, after=since)
    return sorted(found, key=lambda each: each.run_id, reverse=True)


def _read(receipt: dict[str, Any], *, reads_all: bool) -> _Told | None:
    of_all = reads_all and is_done(receipt)
    marks = receipt.get(_MEMBER)
    if not of_all and (marks is None or not (receipt["parts"] or _is_killed(receipt))):
        return None
    return _Told(receipt["run_id"], receipt["finished"], dict(marks or {}), of_all)


def _is_killed(receipt: dict[str, Any]) -> bool:
    return Outcome(receipt["outcome"]) is Outcome.RUNNING
