"""A project: where things are, and what is declared.

Jobs take a project: its settings (:class:`~ingestion.base.settings.Settings`), its catalog and its
formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion.base.errors import CatalogError
from ingestion.base.settings import Settings
from ingestion.catalog import Catalog

if TYPE_CHECKING:
    from ingestion.formulas import BarFormula
    from ingestion.lakehouse import Lakehouse


@dataclass(frozen=True)
class Project(Settings):
    """The settings, and what the project's Feast repository declares."""

    declarations: Path | None = None
    """The repository whose declarations count; the project's own if None."""

    run_id: str | None = None
    """The run in parts that a job is a step of; each job is a run of its own if None."""

    is_last_step: bool = False
    """Whether the run ends with that step."""

    @cached_property
    def lakehouse(self) -> Lakehouse:
        """The lakehouse, wherever it is."""
        from ingestion.lakehouse import open_lakehouse  # this imports Arrow

        return open_lakehouse(self.lakehouse_at)

    @cached_property
    def catalog(self) -> Catalog:
        """The groups, services and datasets; loaded when they are first needed.

        Raises
        ------
        InputError
            If a declaration cannot be used, or does not fit what the lakehouse has stored.
        """
        catalog = Catalog.load(self._repository, lambda: self.formulas)
        from ingestion.lakehouse.evolution import check_stored  # this imports Arrow

        found = [each for one in catalog.datasets for each in check_stored(self.lakehouse, one)]
        if found:
            raise CatalogError("; ".join(found))
        return catalog

    @cached_property
    def formulas(self) -> Mapping[str, BarFormula]:
        """All formulas by name: the shipped ones, and those of ``feature_repo/formulas/``.

        Raises
        ------
        InputError
            If a file of formulas cannot be used.
        """
        # NumPy is imported where there is something to compute, and not before.
        from ingestion.formulas import SHIPPED, load_formulas

        return {**SHIPPED, **load_formulas(self._repository / "formulas")}

    @property
    def _repository(self) -> Path:
        return self.declarations or self.feast_repository
