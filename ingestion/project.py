"""A project: where things are, and what is declared.

Jobs take a project: its settings (:class:`~ingestion.base.settings.Settings`) and its catalog.
"""

from __future__ import annotations

from ingestion.base.settings import Settings


class Project(Settings):
    """The settings, and what the project's Feast repository declares."""
