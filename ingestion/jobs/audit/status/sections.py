"""Looks at the lakehouse that ``status`` shows and judges beside its own.

A look is a function of the settings and the instant. To add one, put it into
:data:`~ingestion.jobs.audit.status.looks.LOOKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from ingestion.project import Project


@dataclass(frozen=True)
class Section:
    """What one look has found."""

    name: str
    """Which one it is."""
    document: object = None
    """What it has found, for ``--json``: a dataclass, or values of the types of JSON."""
    lines: tuple[str, ...] = field(default=(), repr=False)
    """The same for people."""
    problems: tuple[str, ...] = field(default=(), repr=False)
    """What ``status`` exits with 3 for, each with what to do."""
    warnings: tuple[str, ...] = field(default=(), repr=False)
    """What is to be known in time; the exit code stays as it is."""


Look = Callable[[Project, datetime], Section]
