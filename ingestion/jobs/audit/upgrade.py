"""What a lakehouse of an earlier version needs, and whether that version could still use it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ingestion.base.columns import damage, recorded
from ingestion.base.errors import CorruptPart, FeastRepositoryError
from ingestion.base.store_files import read_configuration
from ingestion.base.wording import counted
from ingestion.catalog import Dataset
from ingestion.jobs.compute.definitions import changed_formulas
from ingestion.jobs.serve.feast_repository import open_repository
from ingestion.lakehouse import Lakehouse
from ingestion.lakehouse.origins import is_of_a_run
from ingestion.lakehouse.parts import list_parts, read_schema, replaced_parts
from ingestion.lakehouse.schema import arrow_schema, misfits
from ingestion.project import Project

_FORMER_PATHS = "feature_repo.stores."
_COLUMNS_THEN = {
    "tv_technicals_1d": 20,
    "local_1d": 22,
    "ohlcv_1d": 11,
    "symbols": 12,
    "splits": 6,
    "held_bars": 12,
    "absences": 3,
    "feeds": 3,
    "missed_bars": 5,
    "accepted_holes": 6,
}
"""How many columns each dataset had in version 0.1.0; columns are only ever added to them."""


@dataclass
class DatasetState:
    """The stored parts of a dataset, beside the columns that the catalog declares."""

    dataset: str
    parts: int = 0
    without_record: int = 0
    """Parts that version 0.1.0 or Feast wrote: their own schema is their record."""
    lacking: Counter[str] = field(default_factory=Counter)
    """Declared columns, and how many parts are older than them: those read as null there."""
    misfits: list[str] = field(default_factory=list)
    """Why parts cannot be read as the catalog declares them."""
    damaged: list[str] = field(default_factory=list)
    """Parts that cannot be read at all."""
    beyond: int = 0
    """Parts with columns that version 0.1.0 does not know."""


@dataclass
class UpgradeReport:
    """What a lakehouse needs."""

    datasets: list[DatasetState]
    needs: list[str]
    """What to do, in order; empty if nothing."""
    notes: list[str]
    """What is different from before, and needs nothing."""
    can_go_back: bool
    """Whether version 0.1.0 can read, extend and verify the lakehouse as it is."""

    @property
    def is_ready(self) -> bool:
        """Whether nothing is needed."""
        return not self.needs


def check_upgrade(project: Project) -> UpgradeReport:
    """Look at every part's footer, the registry and the settings; changes nothing.

    Raises
    ------
    FeastRepositoryError
        If ``feature_store.yaml`` is missing or cannot be read.
    """
    lakehouse = project.lakehouse
    states = [_state_of(lakehouse, dataset) for dataset in project.catalog.datasets]
    needs = [f"{state.dataset}: {each}" for state in states for each in state.misfits]
    damaged = sum(len(state.damaged) for state in states)
    if damaged:
        needs.append(
            f"{counted(damaged, 'part')} cannot be read: `tvfeast verify` names them; put "
            "them back from a "
            "backup"
        )
    needs += map(str, changed_formulas(project))
    if (registry := _registry_fault(project)) is not None:
        needs.append(registry)
    beyond = [state for state in states if state.beyond]
    return UpgradeReport(
        datasets=[state for state in states if state.parts],
        needs=needs,
        notes=[*_notes(project, states), _going_back(beyond)],
        can_go_back=not beyond,
    )


def _state_of(lakehouse: Lakehouse, dataset: Dataset) -> DatasetState:
    state, declared = DatasetState(dataset.name), arrow_schema(dataset).names
    for part in list_parts(lakehouse, dataset):
        state.parts += 1
        try:
            schema = read_schema(part)
            fault = damage(schema)
        except (CorruptPart, FileNotFoundError):
            fault = "cannot be read"
        if fault is not None:
            state.damaged.append(part.key)
            continue
        state.without_record += recorded(schema) is None
        state.beyond += len(schema) > _COLUMNS_THEN.get(dataset.name, 0)
        state.lacking.update(set(declared) - {*schema.names})
        found = misfits(dataset, schema, ordered=is_of_a_run(schema.metadata))
        state.misfits += [each for each in found if each not in state.misfits]
    return state


def _registry_fault(project: Project) -> str | None:
    try:
        open_repository(project)
    except FeastRepositoryError as error:
        return str(error)
    return None


def _notes(project: Project, states: list[DatasetState]) -> list[str]:
    notes = []
    former = sorted(_former_paths(read_configuration(project)))
    if former:
        notes.append(
            f"feature_store.yaml names {', '.join(former)}: these class paths work for one more "
            "version; the new ones begin with ingestion.plugins"
        )
    without = sum(state.without_record for state in states)
    if without:
        notes.append(
            f"{counted(without, 'part has', 'parts have')} no record of their columns, "
            "because version 0.1.0 or Feast "
            "wrote them: they are read as they are, and stay"
        )
    for state in states:
        if state.lacking:
            columns = ", ".join(f"{name} ({count:,})" for name, count in state.lacking.items())
            notes.append(
                f"{state.dataset}: parts that are older than a column read as null there: {columns}"
            )
    left = [
        part.key
        for dataset in project.catalog.datasets
        for part in replaced_parts(project.lakehouse, dataset)
    ]
    if left:
        notes.append(
            f"{counted(len(left), 'part is', 'parts are')} replaced by merged ones and "
            "still there: the next command "
            "that writes removes them; until then version 0.1.0 would count their rows twice"
        )
    return notes


def _former_paths(settings: object) -> set[str]:
    if isinstance(settings, dict):
        return {path for value in settings.values() for path in _former_paths(value)}
    is_former = isinstance(settings, str) and settings.startswith(_FORMER_PATHS)
    return {str(settings)} if is_former else set()


def _going_back(beyond: list[DatasetState]) -> str:
    if not beyond:
        return (
            "version 0.1.0 can use this lakehouse as it is, after `feast apply` with its own "
            "feature_repo: it reads, extends, merges and verifies parts of this version"
        )
    names = ", ".join(f"{state.dataset} ({counted(state.beyond, 'part')})" for state in beyond)
    return (
        f"version 0.1.0 does not know all columns of {names}: it reads the columns that it knows, "
        "but its `verify` and `compact` refuse these parts"
    )
