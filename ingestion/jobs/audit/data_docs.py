"""The latest checks as the HTML site of Great Expectations."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ingestion.base import clock
from ingestion.jobs.audit.validate import check_newest, newest_of_groups
from ingestion.project import Project
from ingestion.quality.check import CheckReport
from ingestion.quality.engine import Engine

FOLDER = "docs_gx"
"""Below ``data/`` of the project; replaced by each run."""


@dataclass(frozen=True)
class DataDocsResult:
    """The site and what is on it."""

    index: Path
    reports: tuple[CheckReport, ...]


def data_docs(project: Project) -> DataDocsResult:
    """Check each group's newest rows, as the gate does, and show every expectation.

    The lakehouse is only read; nothing is fetched.

    Raises
    ------
    InputError
        If the lakehouse has no features yet.
    CorruptPart
        If a part cannot be read.
    """
    at, site = clock.now(), project.folder / "data" / FOLDER
    newest = newest_of_groups(project, at)
    engine = Engine(site)
    reports = tuple(
        check_newest(project, group, each.rows, engine)
        for group, each in newest.items()
        if each.rows.num_rows
    )
    shutil.rmtree(site, ignore_errors=True)
    return DataDocsResult(engine.build_site(), reports)
