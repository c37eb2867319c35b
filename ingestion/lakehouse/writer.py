"""The one primitive that adds a file to the lakehouse.

A part is written below ``_tmp/<run_id>/`` on the same file system, synced, announced in the run's
ledger, and linked into its partition under the next free number. ``link`` is atomic and cannot
overwrite, so a reader sees a whole part or none, at whatever instant the run dies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.base.arrow import from_numpy, to_numpy
from ingestion.base.columns import record
from ingestion.base.instants import MICROSECONDS, to_micros, utc_date
from ingestion.base.parts import content_hash, part_name, part_number, part_numbers
from ingestion.catalog import Dataset
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.evolution import remember_columns
from ingestion.lakehouse.inspect import date_faults, value_faults
from ingestion.lakehouse.ledger import Entry, announce, announce_file, confirm
from ingestion.lakehouse.origins import run_metadata
from ingestion.lakehouse.parts import Part, partition_folder
from ingestion.lakehouse.run_files import RunFile, run_file
from ingestion.lakehouse.schema import arrow_schema, ascends

_CREATED = "created_timestamp"
_FEW = 50
"""Rows that do not become smaller by compression, which would take half of their writing."""


def append_part(lakehouse: Lakehouse, dataset: Dataset, rows: pa.Table, run_id: str) -> Part:
    """Add one part to the partition of the rows' UTC event date.

    The caller has the lakehouse lock.

    Parameters
    ----------
    lakehouse
        The lakehouse's root.
    dataset
        The dataset that the rows belong to.
    rows
        In the dataset's schema, in any order; at least one row, all of one UTC event date, unique
        on the dataset's key, no null where the catalog forbids it, no NaN, no infinity.
    run_id
        Goes into the file's metadata, beside the record of its columns.

    Returns
    -------
    Part
        Sorted by the dataset's key.

    Raises
    ------
    ValueError
        If the rows break the contract: a fault of the calling code, so nothing is written.
    InputError
        If the dataset's columns do not fit its stored parts.
    """
    (part,) = append_parts(lakehouse, dataset, [rows], run_id)
    return part


def append_parts(
    lakehouse: Lakehouse, dataset: Dataset, several: Sequence[pa.Table], run_id: str
) -> list[Part]:
    """Add a part for each of several tables, as :func:`append_part` does for one.

    The disk is waited for once for all of them: many small parts take far less time so. A run that
    dies may leave any of them, each whole.
    """
    schema = arrow_schema(dataset)
    days = _checked_dates(dataset, several, schema)
    tables = [_in_order(dataset, rows) for rows in several]
    metadata = run_metadata(run_id) | record(schema)
    remember_columns(lakehouse, dataset)
    with lakehouse.staging(run_id) as staging:
        staged = [staging / f"{number}.parquet" for number in range(len(tables))]
        for rows, path in zip(tables, staged, strict=True):
            write_parquet(rows.replace_schema_metadata(metadata), path)
        entries = []
        taken: dict[date, int] = {}
        for path, rows, day in zip(staged, tables, days, strict=True):
            folder = partition_folder(dataset, day)
            numbers = part_numbers(lakehouse.names(folder)) if day not in taken else [taken[day]]
            taken[day] = 1 + max(numbers, default=-1)
            key = f"{folder}/{part_name(taken[day])}"
            entries.append(Entry(run_id, key, content_hash(path), rows.num_rows))
        entries = create_parts(lakehouse, entries, staged)
        confirm(lakehouse, *entries)
    return [
        Part(day, part_number(entry.part.rpartition("/")[2]) or 0, entry.part, lakehouse)
        for day, entry in zip(days, entries, strict=True)
    ]


def write_parquet(rows: pa.Table, path: Path) -> None:
    """Write a part's file.

    Measured values hardly repeat, and nor do the symbols of a date that has one row for each: a
    dictionary of them costs half of the writing, and bytes.
    """
    repeating = [
        field.name
        for field in rows.schema
        if not pa.types.is_floating(field.type)
        and not (pa.types.is_string(field.type) and ascends(rows, [field.name]))
    ]
    compression = "zstd" if rows.num_rows > _FEW else "none"
    pq.write_table(rows, path, compression=compression, use_dictionary=repeating)


def append_rows(
    lakehouse: Lakehouse, dataset: Dataset, rows: Iterable[Mapping[str, Any]], run_id: str
) -> list[Part]:
    """Append rows of any dates, a part for each UTC date of their events, as :func:`append_parts`.

    Parameters
    ----------
    rows
        By column, in any order; few enough for memory.
    """
    days: dict[date, list[Mapping[str, Any]]] = {}
    for row in rows:
        days.setdefault(row[dataset.event].astimezone(UTC).date(), []).append(row)
    schema = arrow_schema(dataset)
    tables = [pa.Table.from_pylist(days[day], schema=schema) for day in sorted(days)]
    return append_parts(lakehouse, dataset, tables, run_id) if tables else []


def created_after(now: datetime, newest: datetime | None) -> datetime:
    """Return when a row is created: now, or just after the newest that it may replace.

    Versions of a row must differ in that, on a clock that stands or was set back, too.
    """
    return max(now, newest + timedelta(microseconds=1)) if newest else now


def created_at(rows: pa.Table, instant: datetime) -> pa.Table:
    """Return rows as created at an instant: that at which they are about to be appended.

    A run takes its time. Rows that are stamped at its start would count, as recorded, from before
    anybody could see them.
    """
    column = rows.column_names.index(_CREATED)
    field = rows.schema.field(column)
    stamps = from_numpy(np.full(rows.num_rows, to_micros(instant))).view(field.type)
    return rows.set_column(column, field, stamps)


def write_run_file(lakehouse: Lakehouse, run_id: str, name: str, content: bytes | Path) -> RunFile:
    """Write a file of a run's own folder, ``_runs/<run_id>/<name>``, durably and at one stroke.

    The run's ledger records its hash. It may be written again.

    Parameters
    ----------
    content
        What is in it, or a file in one of the lakehouse's scratch folders that has it, and moves.
    """
    file = run_file(lakehouse, run_id, name)
    if isinstance(content, Path):
        sha256 = content_hash(content)
    else:
        sha256 = hashlib.sha256(content).hexdigest()
    entry = Entry(run_id, file.key, sha256, 0)
    announce_file(lakehouse, entry)
    lakehouse.put(file.key, content)
    confirm(lakehouse, entry)
    return file


def create_parts(
    lakehouse: Lakehouse, entries: Sequence[Entry], staged: Sequence[Path]
) -> list[Entry]:
    """Put staged parts in their places; each is announced before anybody can see it.

    Returns
    -------
    list of Entry
        Where they are: under the next number that is free, if somebody took the announced one.
    """
    placed = list(entries)
    announce(lakehouse, *placed)
    waiting = [*range(len(placed))]
    while taken := lakehouse.create({placed[at].part: staged[at] for at in waiting}):
        waiting = [at for at in waiting if placed[at].part in taken]
        for at in waiting:
            folder, _, name = placed[at].part.rpartition("/")
            number = part_number(name) or 0
            placed[at] = replace(placed[at], part=f"{folder}/{part_name(number + 1)}")
        announce(lakehouse, *(placed[at] for at in waiting))
    return placed


def _checked_dates(dataset: Dataset, several: Sequence[pa.Table], schema: pa.Schema) -> list[date]:
    for rows in several:
        if not rows.schema.equals(schema):
            raise ValueError(f"rows are not in the schema of {dataset.name}: {rows.schema}")
    firsts = [to_numpy(rows[dataset.event][:1].drop_null()) for rows in several]
    days = [utc_date(int(each[0]) // MICROSECONDS) if len(each) else date.min for each in firsts]
    # The values all at once: a look at a column costs more a call than a row.
    faults = chain(
        *(date_faults(dataset, rows, day) for rows, day in zip(several, days, strict=True)),
        value_faults(dataset, pa.concat_tables(several)),
    )
    if (fault := next(faults, None)) is not None:
        raise ValueError(f"{dataset.name} {fault}")
    return days


def _in_order(dataset: Dataset, rows: pa.Table) -> pa.Table:
    """Sort rows by the dataset's key, unless they are; none of it may be null."""
    if ascends(rows, dataset.key):
        return rows
    rows = rows.sort_by([(name, "ascending") for name in dataset.key])
    if not ascends(rows, dataset.key):
        raise ValueError(f"{dataset.name}: ({', '.join(dataset.key)}) is not unique")
    return rows
