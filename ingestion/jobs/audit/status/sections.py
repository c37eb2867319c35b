"""Looks at the lakehouse that ``status`` shows and judges beside its own.

A look is a function of the settings and the instant. To add one, put it into
:data:`~ingestion.jobs.audit.status.looks.LOOKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ingestion.project import Project


@dataclass(frozen=True)
class Section:
    """What one look has found."""

    name: str
    """The member of ``sections`` in the JSON object."""
    document: object = None
    """What that member says: a dataclass, or whatever JSON can hold."""
    lines: tuple[str, ...] = ()
    """The same for people."""
    problems: tuple[str, ...] = ()
    """What ``status`` exits with 3 for, each with what to do."""
    warnings: tuple[str, ...] = ()
    """What is to be known in time; the exit code stays as it is."""


Look = Callable[[Project, datetime], Section]
