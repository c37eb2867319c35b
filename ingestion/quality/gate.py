"""The gate at the lakehouse's door: what is quarantined here never becomes a row of a part.

Two ways in. :func:`check_at_door` judges the batch of a day whole, by Great Expectations.
:func:`screen` judges rows of history by the same row rules, fast enough for millions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.bars.holes import OpenHoles
from ingestion.base import clock
from ingestion.base.arrow import from_numpy
from ingestion.base.errors import GateRefused
from ingestion.base.wording import some_of
from ingestion.catalog import FeatureGroup
from ingestion.lakehouse import Lakehouse, RunFile, run_file, write_run_file
from ingestion.markets.feeds import Feeds
from ingestion.project import Project
from ingestion.quality.check import CheckContext, CheckReport, check_rows
from ingestion.quality.history import read_history
from ingestion.quality.rules import Parted, part, violations
from ingestion.quality.waivers import read_waivers
from ingestion.runs.quarantine import DATASET, QUARANTINE_FILE
from ingestion.runs.run import Run


def check_at_door(
    project: Project,
    group: FeatureGroup,
    rows: pa.Table,
    run_id: str,
    *,
    beside: pa.Table | None = None,
    fewest: int = 1,
    most: int | None = None,
    holes: OpenHoles | None = None,
    feeds: Feeds | None = None,
) -> CheckReport:
    """Judge a batch before it is published; what may not be is written to the run's quarantine.

    The caller has locked the lakehouse, publishes ``accepted``, and ends a job that was refused by
    :func:`refuse_unless_accepted`.

    Parameters
    ----------
    rows
        At least one, at most one row per symbol.
    beside
        Stored rows that stay beside them: they are judged together, as they will be served.
    fewest, most
        How many rows must remain, by the symbols asked.
    holes
        Sessions that are missing: values over them are null.
    feeds
        How late the rows' feeds are; as it is stored if not given.

    Returns
    -------
    CheckReport
        Of all rows; accepted and quarantined are of those to publish alone.

    Raises
    ------
    CorruptPart
        If a part of the trailing days cannot be read.
    """
    # A waiver that is expired or malformed waives nothing; the promotion gate says so.
    waivers = read_waivers(project.feast_repository, project.catalog.groups, clock.now())
    if beside is not None and not beside.num_rows:
        beside = None
    batch = rows if beside is None else pa.concat_tables([rows, beside])
    context = CheckContext(
        history=read_history(project.lakehouse, group, batch, holes, feeds, project.formulas),
        fewest=fewest,
        most=most,
        waived=waivers.of_group(group.name),
    )
    report = check_rows(group, batch, context)
    if beside is not None:
        own = {name: _of(getattr(report, name), rows) for name in ("accepted", "quarantined")}
        report = replace(report, **own)
    write_quarantine(project.lakehouse, group, report.quarantined, run_id)
    return report


def _of(judged: pa.Table, rows: pa.Table) -> pa.Table:
    """Return those of the judged rows whose keys are among some rows'."""
    symbols, stamps = (rows[name].to_pylist() for name in ("symbol", "timestamp"))
    keys = set(zip(symbols, stamps, strict=True))
    theirs = zip(judged["symbol"].to_pylist(), judged["timestamp"].to_pylist(), strict=True)
    return judged.filter(from_numpy(np.array([key in keys for key in theirs], dtype=bool)))


def refuse_unless_accepted(report: CheckReport, run: Run) -> None:
    """Stop a job whose batch was refused.

    Raises
    ------
    GateRefused
        If it was.
    """
    if report.refused:
        raise GateRefused(
            f"{report.group}: {some_of(report.reasons)}: {run.published_so_far()}; "
            f"{run.receipt} says why, and {QUARANTINE_FILE} beside it has the rows"
        )


def screen(group: FeatureGroup, rows: pa.Table) -> Parted:
    """Part rows by the group's row rules alone.

    Parameters
    ----------
    rows
        In the group's schema, in any order; unique on the key within what is given.
    """
    return part(rows, violations(group, rows))


def write_quarantine(
    lakehouse: Lakehouse, group: FeatureGroup, quarantined: pa.Table, run_id: str
) -> RunFile | None:
    """Add rows to the run's quarantine file; returns it, or None if there is nothing to add.

    The jobs of a flow share a run and thus the file: the groups' rows are below each other, with
    nulls in the columns that only the other has.
    """
    if not quarantined.num_rows:
        return None
    named = quarantined.add_column(
        0, DATASET, pa.array([group.name] * quarantined.num_rows, pa.string())
    )
    file = run_file(lakehouse, run_id, QUARANTINE_FILE)
    if file.exists():
        named = pa.concat_tables([file.read_table(), named], promote_options="default")
    sink = pa.BufferOutputStream()
    pq.write_table(named, sink, compression="zstd")
    return write_run_file(lakehouse, run_id, QUARANTINE_FILE, sink.getvalue().to_pybytes())
