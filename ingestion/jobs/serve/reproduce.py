"""Make a data set again, from what it says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import from_numpy, has_value
from ingestion.base.errors import InputError
from ingestion.base.instants import from_micros
from ingestion.base.wording import counted, some_of
from ingestion.datasets.choice import active_rows
from ingestion.datasets.panel import Counts, Features, answers, schema_of
from ingestion.datasets.questions import SLICE
from ingestion.datasets.set_file import SetFile, read_provenance
from ingestion.jobs.looking import one_look
from ingestion.jobs.serve.ages import NEVER, ages_at
from ingestion.jobs.serve.causes_of_cells import Cell, cause_of
from ingestion.jobs.serve.near_decisions import NUMBER, asked, in_order, near
from ingestion.jobs.serve.panel import PanelRequest, write_panel
from ingestion.jobs.serve.provenance import origin
from ingestion.jobs.serve.set_again import changed_definitions, differs, labels_again
from ingestion.jobs.serve.set_contents import SetContents
from ingestion.jobs.serve.show_universe import membership_of
from ingestion.jobs.serve.training_set import RECEIPT_FILE
from ingestion.project import Project
from ingestion.runs.run import Run

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
    told, project = of_set.told, of_set.project
    is_made = "target" in told["labels"]
    again = labels_again(of_set) if is_made else None
    schema, lengths = None, []

    def labels() -> Iterator[pa.Table]:
        whole = of_set.batches(of_set.labels) if again is None else _pieces(again)
        return _of_members(of_set, whole)

    for each in labels():
        schema = each.schema
        lengths.append(each.num_rows)
    if schema is None:
        raise InputError(f"no row of {of_set.place} comes again")
    counts = Counts()
    request = {"set": str(of_set.place), "out": str(out), "known_at": of_set.known_at}
    with Run.open(project, "training-set", request, file=RECEIPT_FILE, writes=False) as run:
        joined = in_order(_joined(of_set, labels(), counts), lengths)
        ages = [pa.field(_age(each), pa.int64()) for each in of_set.features if told["ages"]]
        fields = {field.name: field for field in [*schema_of(of_set.features), *ages, *schema]}
        whole = pa.schema([fields[name] for name in of_set.columns if name in fields])
        with SetFile(out, whole, run.id) as file:
            for own, found in zip(labels(), joined, strict=True):
                columns = dict(zip(own.column_names, own.columns, strict=True))
                columns |= dict(zip(found.column_names, found.columns, strict=True))
                file.write(pa.table([columns[name] for name in whole.names], schema=whole))
            file.record(
                kind="training set",
                **origin(project, run.id, of_set.features),
                service=None,
                labels=told["labels"],
                universe=told["universe"],
                ages=told["ages"],
                known_at=of_set.known_at,
                as_recorded=told["as_recorded"],
                parts=told["parts"],
                rows=sum(lengths),
                matched=counts.matched,
                created_later=counts.created_later,
            )
        run.tell(rows=sum(lengths), fingerprint=file.provenance["fingerprint"])
    return file.provenance


def _age(features: Features) -> str:
    return f"{features.group.name}__age_s"


def _pieces(rows: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, rows.num_rows, SLICE):
        yield rows.slice(start, SLICE)


def _of_members(of_set: SetContents, labels: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Leave out labels of a file whose symbols were no members."""
    universe = of_set.told["universe"]
    if universe is None:
        yield from (rows for rows in labels if rows.num_rows)
        return
    recorded = bool(of_set.told["as_recorded"])
    membership = membership_of(
        of_set.project, universe, as_recorded=recorded, known_at=of_set.known_at
    )
    for rows in labels:
        times = asked(rows).instants
        kept = rows.filter(from_numpy(active_rows(membership, rows["symbol"], times)))
        if kept.num_rows:
            yield kept


def _joined(of_set: SetContents, labels: Iterable[pa.Table], counts: Counts) -> Iterator[pa.Table]:
    """Yield the features of labels, and how old they were, with the numbers of the rows."""
    told, lakehouse = of_set.told, of_set.project.lakehouse
    recorded, known_at = bool(told["as_recorded"]), of_set.known_at
    keys = (rows.select(["symbol", "event_timestamp"]) for rows in labels)
    for rows in near(keys):
        questions = asked(rows)
        [found] = answers(
            lakehouse,
            of_set.features,
            [questions],
            known_at=known_at,
            as_recorded=recorded,
            counts=counts,
        )
        found = found.drop_columns(["symbol", "event_timestamp"])
        counts.matched += int(pc.sum(has_value(found)).as_py() or 0)
        for each in of_set.features if told["ages"] else ():
            ages = ages_at(
                lakehouse,
                each.group,
                rows["symbol"].to_pylist(),
                questions.instants,
                as_recorded=recorded,
                known_at=known_at,
            )
            found = found.append_column(_age(each), pa.array(ages, mask=ages == NEVER))
        yield found.append_column(NUMBER, rows[NUMBER])


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
