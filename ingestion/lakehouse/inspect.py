"""Whether a part is as its dataset says, checked on the file; and files that are not ours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import PurePath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import from_numpy, to_numpy
from ingestion.base.columns import damage
from ingestion.base.errors import CorruptPart
from ingestion.base.instants import DAY, MICROSECONDS, day_of_date
from ingestion.base.parts import part_number
from ingestion.base.wording import counted
from ingestion.catalog import Dataset, Dtype, FeatureGroup
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.ledger import Ledger, read_ledger
from ingestion.lakehouse.origins import Origin, Provenance, is_of_a_run, read_provenance
from ingestion.lakehouse.parts import Part, partition_date, read_file, read_metadata
from ingestion.lakehouse.run_files import RUNS
from ingestion.lakehouse.schema import arrow_schema, ascends, last_of_repeated, misfits

_CREATED = "created_timestamp"


@dataclass(frozen=True)
class Inspection:
    """What is in a part, and what is wrong with it."""

    faults: tuple[str, ...]
    recorded: bool
    """Whether the hash of its content was recorded when it was written."""
    rows: pa.Table | None = None
    """In the types that the catalog declares, and without the columns that are newer than the part.

    None if they cannot be read, or do not fit the dataset.
    """
    provenance: Provenance | None = None
    """None if the file does not say."""


def inspect_part(lakehouse: Lakehouse, dataset: Dataset, part: Part, ledger: Ledger) -> Inspection:
    """Check a part by itself.

    Parameters
    ----------
    ledger
        Read after the part was listed, so that it has the part's line.

    Raises
    ------
    FileNotFoundError
        If the part is gone since it was listed.
    """
    name = part.key
    entries = ledger.of(name)
    try:
        rows = read_file(part)
        sha256 = part.sha256()
    except CorruptPart as error:
        return Inspection((f"cannot be read: {_line(error.__cause__)}",), bool(entries))
    faults = []
    provenance = None
    try:
        provenance = read_provenance(rows.schema.metadata, name, rows.num_rows)
    except ValueError as error:
        faults.append(str(error))
    written = next((entry for entry in entries if entry.sha256 == sha256), None)
    if entries and written is None:
        faults.append(f"its content is not what run {entries[-1].run_id} wrote: the hash differs")
    if not entries and provenance is not None and provenance.run_id in ledger:
        faults.append(f"run {provenance.run_id} did not write it here")
    if written is not None and written.rows != rows.num_rows:
        faults.append(f"has {counted(rows.num_rows, 'row')}, its run recorded {written.rows}")
    faults += _origin_faults(provenance, ledger)
    if (fault := _schema_fault(dataset, rows.schema)) is not None:
        return Inspection((*faults, fault), bool(entries), provenance=provenance)
    try:
        declared = arrow_schema(dataset)
        rows = rows.cast(pa.schema([declared.field(name) for name in rows.column_names]))
    except pa.ArrowInvalid as error:  # an integer that no double equals
        faults.append(f"has a value that the declared type cannot contain: {_line(error)}")
        return Inspection(tuple(faults), bool(entries), provenance=provenance)
    faults += value_faults(dataset, rows)
    faults += date_faults(dataset, rows, part.date)
    faults += _seconds_faults(dataset, rows)
    faults += _order_faults(dataset, rows, provenance)
    return Inspection(tuple(faults), bool(entries), rows, provenance)


def recorded_origins(part: Part) -> tuple[Origin, ...]:
    """Return the parts whose rows a part has, each with its hash, if its file is the recorded one.

    Raises
    ------
    ValueError
        If the file is not what its run recorded, or does not say where its rows come from.
    CorruptPart
        If it cannot be read.
    InputError
        If the run's ledger cannot be read.
    FileNotFoundError
        If the part is gone since it was listed.
    """
    metadata = read_metadata(part)
    schema = metadata.schema.to_arrow_schema()
    provenance = read_provenance(schema.metadata, part.key, metadata.num_rows)
    sha256, run_id = part.sha256(), provenance.run_id
    if (part.key, sha256) not in {
        (each.part, each.sha256) for each in read_ledger(part.lakehouse, run_id)
    }:
        raise ValueError(f"is not what run {run_id} wrote")
    return tuple(replace(each, sha256=each.sha256 or sha256) for each in provenance.origins)


def version_keys(dataset: Dataset) -> tuple[str, ...]:
    """Return what identifies a version of a row: its key, and its creation where that is known.

    A merged part is sorted by it.
    """
    has_versions = any(column.name == _CREATED for column in dataset.columns)
    return (*dataset.key, _CREATED) if has_versions else dataset.key


def _schema_fault(dataset: Dataset, stored: pa.Schema) -> str | None:
    if (fault := damage(stored)) is not None:
        return fault
    complaints = misfits(dataset, stored, ordered=is_of_a_run(stored.metadata))
    return f"is not in the schema of {dataset.name}: {complaints[0]}" if complaints else None


def _origin_faults(provenance: Provenance | None, ledger: Ledger) -> Iterator[str]:
    if provenance is None:
        return
    for origin in provenance.origins:
        for entry in ledger.of(origin.part):
            if entry.sha256 == origin.sha256 and entry.rows != origin.rows:
                yield (
                    f"has {counted(origin.rows, 'row')} of {origin.part}, run "
                    f"{entry.run_id} recorded "
                    f"{entry.rows}"
                )


def value_faults(dataset: Dataset, rows: pa.Table) -> Iterator[str]:
    """Yield how rows, of one part or of several, break what the catalog says of values."""
    there = set(rows.column_names)
    for column in dataset.columns:
        if column.name not in there:
            continue
        values = rows[column.name]
        if not (column.nullable or column.retired) and values.null_count:
            yield f"has {values.null_count} nulls in {column.name}"
        # A finite sum has finite summands only, and takes a third of the time.
        if column.dtype is Dtype.DOUBLE and not math.isfinite(pc.sum(values).as_py() or 0.0):
            infinite = pc.sum(pc.invert(pc.is_finite(values))).as_py()
            if infinite:
                yield f"has {infinite} NaN or infinite values in {column.name}"


def date_faults(dataset: Dataset, rows: pa.Table, day: date) -> Iterator[str]:
    """Yield what is wrong with the dates of a part's rows."""
    if not rows.num_rows:
        yield "has no rows"
    events = to_numpy(rows[dataset.event].drop_null())
    begins = day_of_date(day) * DAY * MICROSECONDS
    others = int(((events < begins) | (events >= begins + DAY * MICROSECONDS)).sum())
    if others:
        yield f"has {counted(others, 'row')} whose {dataset.event} is not of {day}"


def _seconds_faults(dataset: Dataset, rows: pa.Table) -> Iterator[str]:
    if isinstance(dataset, FeatureGroup):
        known = rows.select(["timestamp", dataset.event]).drop_null()
        seconds, micros = to_numpy(known["timestamp"]), to_numpy(known[dataset.event])
        if not np.array_equal(seconds * MICROSECONDS, micros):
            yield f"timestamp and {dataset.event} disagree"


def _order_faults(dataset: Dataset, rows: pa.Table, provenance: Provenance | None) -> Iterator[str]:
    merged = provenance is not None and len(provenance.origins) > 1
    names = version_keys(dataset) if merged else dataset.key
    if not ascends(rows, names):  # equal keys do not either, and are in order
        order = to_numpy(pc.sort_indices(rows, [(name, "ascending") for name in names]))
        if not np.array_equal(order, np.arange(rows.num_rows)):
            yield f"is not sorted by {', '.join(names)}"
    keys = dataset.key
    if provenance is not None:
        # A run never writes a row twice; two runs may restate each other's.
        of_row = from_numpy(provenance.of_row.astype(np.int64))
        rows, keys = rows.append_column("origin", of_row), (*keys, "origin")
    if twice := last_of_repeated(rows.select(keys), keys).num_rows:
        yield f"has {twice} keys ({', '.join(dataset.key)}) more than once from one run"


def _line(error: object) -> str:
    return " ".join(str(error).split())


def foreign_files(
    lakehouse: Lakehouse, datasets: Iterable[Dataset], runs: Iterable[str]
) -> Iterator[str]:
    """Yield what is no part and no run's; of a folder, the folder alone. As paths below the root.

    Names that begin with ``_`` at the root are the lakehouse's own.
    """
    storages = {dataset.storage for dataset in datasets}
    above = {parent.as_posix() for storage in storages for parent in PurePath(storage).parents}

    def search(folder: str) -> Iterator[str]:
        for name in sorted(lakehouse.names(folder)):
            key = f"{folder}/{name}" if folder else name
            if not folder and name.startswith("_"):
                continue
            if key in above | storages and _is_folder(lakehouse, key):
                yield from search(key)
            elif (
                folder not in storages
                or partition_date(name) is None
                or not _is_folder(lakehouse, key)
            ):
                yield key
            else:
                inner = sorted(lakehouse.names(key))
                yield from (f"{key}/{each}" for each in inner if part_number(each) is None)

    yield from search("")
    for run_id in runs:
        folder = f"{RUNS}/{run_id}"
        if not _is_folder(lakehouse, folder):
            yield folder


def _is_folder(lakehouse: Lakehouse, key: str) -> bool:
    try:
        lakehouse.names(key)
    except NotADirectoryError:
        return False
    except OSError:
        pass  # nobody may look
    return True
