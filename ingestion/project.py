"""A project: where things are, and what is declared.

Jobs take a project: its settings (:class:`~ingestion.base.settings.Settings`) and its catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from ingestion.base.settings import Settings

if TYPE_CHECKING:
    from ingestion.formulas import BarFormula


class Project(Settings):
    """The settings, and what the project's Feast repository declares."""

    @cached_property
    def formulas(self) -> Mapping[str, BarFormula]:
        """All formulas by name: the shipped ones, and those of ``feature_repo/formulas/``."""
        from ingestion.formulas import SHIPPED, load_formulas

        return {**SHIPPED, **load_formulas(self.feast_repository / "formulas")}
