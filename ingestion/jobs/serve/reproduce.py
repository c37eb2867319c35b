"""Make a data set again, from what it says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from ingestion.base.errors import InputError
from ingestion.base.instants import from_micros
from ingestion.base.wording import counted, some_of
from ingestion.datasets.set_file import read_provenance
from ingestion.jobs.looking import one_look
from ingestion.jobs.serve.causes_of_cells import Cell, cause_of
from ingestion.jobs.serve.panel import PanelRequest, write_panel
from ingestion.jobs.serve.prove import changed_definitions, differs, labels_again
from ingestion.jobs.serve.set_contents import SetContents, asked
from ingestion.jobs.serve.training_set import TrainingSetRequest, training_set
from ingestion.project import Project

_NAMED = 5
"""How many cells are named."""


@dataclass(frozen=True)
class Reproduction:
    """A data set and the one that was made again."""

    SHOWN: ClassVar = ("passed",)

    file: Path
    out: Path
    rows: int
    rows_again: int
    fingerprint: Mapping[str, str]
    fingerprint_again: Mapping[str, str]
    cells: Mapping[str, int]
    """By column, how many cells differ."""
    reasons: tuple[str, ...]
    """Why, of some of them."""

    @property
    def passed(self) -> bool:
        """Whether each row is there again, in its order and equal in each bit."""
        return self.fingerprint == self.fingerprint_again


@one_look
def reproduce(project: Project, place: Path, out: Path | None = None) -> Reproduction:
    """Make a data set again as of its own instant, and compare.

    Parameters
    ----------
    out
        Where to write it; beside the file with ``.again`` in its name if None.

    Raises
    ------
    InputError
        If the file cannot be read or does not say where its rows come from, no feature of it is
        declared any more, or it cannot be made, and why.
    """
    of_set = SetContents(project, place)
    target = out or place.with_name(f"{place.stem}.again{place.suffix}")
    if target.resolve() == place.resolve():
        raise InputError(f"--out {target} is the set itself; name another")
    if not of_set.named:
        raise InputError(f"no feature of {place} is declared any more: {some_of(of_set.gone)}")
    again = _panel(of_set, target) if of_set.is_panel else _training_set(of_set, target)
    first, second = of_set.told["fingerprint"], again["fingerprint"]
    cells: Counter[str] = Counter()
    reasons: list[str] = []
    if first != second:
        cells, reasons = _differences(of_set, SetContents(project, target))
    return Reproduction(
        place, target, of_set.told["rows"], again["rows"], first, second, dict(cells), (*reasons,)
    )


def _names(of_set: SetContents) -> list[str]:
    return [f"{group.name}:{name}" for _, group, name in of_set.named]


def _panel(of_set: SetContents, out: Path) -> dict[str, Any]:
    told = of_set.told
    request = PanelRequest(
        schedule=of_set.schedule,
        out=out,
        features=_names(of_set),
        universe=told["universe"],
        symbols=told["symbols"],
        known_at=of_set.known_at,
        as_recorded=told["as_recorded"],
    )
    write_panel(of_set.project, request)
    return read_provenance(out)


def _training_set(of_set: SetContents, out: Path) -> dict[str, Any]:
    """Join again: to labels made again from the bars, or to those of the set itself."""
    told = of_set.told
    made = told["labels"] if "target" in told["labels"] else None
    if made is None:
        [labels] = list(of_set.batches(of_set.labels)) or [None]
        if labels is None:
            raise InputError(f"{of_set.place} has no rows")
    else:
        labels = labels_again(of_set)
    request = TrainingSetRequest(
        labels=labels,
        out=out,
        features=_names(of_set),
        ages=told["ages"],
        as_recorded=told["as_recorded"],
        made=made,
        universe=told["universe"],
        known_at=of_set.known_at,
    )
    training_set(of_set.project, request)
    return read_provenance(out)


def _differences(one: SetContents, other: SetContents) -> tuple[Counter[str], list[str]]:
    """Compare cell by cell, where the questions are the same, and say why some differ."""
    reasons = []
    if one.gone:
        reasons.append(f"not declared any more: {some_of(one.gone, _NAMED)}")
    if changed := changed_definitions(one):
        reasons.append(f"declared otherwise since: {some_of(changed, _NAMED)}")
    if one.told["rows"] != other.told["rows"]:
        reasons.append(
            f"{counted(one.told['rows'], 'row')} then, {other.told['rows']:,} now: members, bars "
            "or dates of the lakehouse are missing, or its sessions have changed"
        )
        return Counter(), reasons
    columns = {column: (group, name) for column, group, name in one.named}
    cells: Counter[str] = Counter()
    for first, second in zip(one.batches(), other.batches(), strict=True):
        for column in (name for name in one.columns if name in second.column_names):
            found = np.flatnonzero(differs(first, second, column)).tolist()
            cells[column] += len(found)
            for row in found[:2] if len(reasons) < _NAMED else []:
                reasons.append(_reason(one, first, second, column, row, columns.get(column)))
    return +cells, reasons


def _reason(
    of_set: SetContents, first: pa.Table, second: pa.Table, column: str, row: int, feature: Any
) -> str:
    questions = asked(first.slice(row, 1))
    cell = Cell(
        first["symbol"][row].as_py(),
        from_micros(int(questions.instants[0])),
        column,
        first[column][row].as_py(),
        second[column][row].as_py(),
    )
    if feature is None:
        return f"{cell}a label or key that was made otherwise"
    group, name = feature
    recorded = of_set.told["as_recorded"]
    lakehouse = of_set.project.lakehouse
    cause = cause_of(lakehouse, group, name, cell, of_set.known_at, as_recorded=recorded)
    return f"{cell}{cause}"
