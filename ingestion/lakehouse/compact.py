"""The parts of a date become one.

The merged part says in its Parquet metadata, and the ledger before that, which parts it replaces.
It is put into the folder under a new number, and then the replaced ones are removed one by one.
Readers of this project leave out what a part beside it replaces (:mod:`ingestion.base.parts`), so
they see each row once at every instant; other readers see rows twice until all are removed.

The staging folder of the run that merges is there until the last replaced part is removed. The next
run that locks the lakehouse looks at what killed runs have left there, and removes the rest.

A part that somebody adds meanwhile without the lakehouse's lock, as Feast's offline writes do, is
not among those that are replaced, and stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.base.arrow import empty_table, to_numpy
from ingestion.base.columns import record
from ingestion.base.errors import CorruptPart, InputError
from ingestion.base.parts import content_hash, part_name, part_numbers, with_replaced
from ingestion.catalog import Dataset
from ingestion.lakehouse.backend import Folder, Lakehouse
from ingestion.lakehouse.ended_runs import keep_ended
from ingestion.lakehouse.inspect import inspect_part, version_keys
from ingestion.lakehouse.lease import Step
from ingestion.lakehouse.ledger import Entry, Ledger, close, confirm, read_ledger
from ingestion.lakehouse.origins import Provenance, merged_metadata
from ingestion.lakehouse.parts import Part, list_parts, partition_folder
from ingestion.lakehouse.schema import arrow_schema
from ingestion.lakehouse.writer import create_parts, write_parquet


@dataclass(frozen=True)
class Merged:
    """A part that replaces others."""

    part: str
    """Where it is below the lakehouse's root, as those that it replaces."""
    replaced: tuple[str, ...]
    rows: int


def merge_parts(
    lakehouse: Lakehouse, dataset: Dataset, day: date, ledger: Ledger, run_id: str
) -> Merged:
    """Put one part in the place of all parts of a date; the caller has locked the lakehouse.

    Every row stays, restated ones too, and keeps the run that it came from. Rows are sorted by the
    dataset's key, then by their creation; equal ones stay in the order of their parts.

    Parameters
    ----------
    day
        The UTC date; it has at least two parts.

    Raises
    ------
    CorruptPart
        If a part does not contain what it must: nothing has changed then. What is damaged is never
        merged, because its recorded hash would be lost.
    """
    folder = partition_folder(dataset, day)
    _remove_replaced(lakehouse, lakehouse.folder(folder))
    parts = [part for part in list_parts(lakehouse, dataset, day) if part.date == day]
    tables, provenances = _sound(lakehouse, dataset, parts, ledger)
    tables, lacks = _with_all_columns(dataset, tables)
    rows, of_row = _in_order(dataset, tables, provenances)
    replaced = {part_name(part.number): part.sha256() for part in parts}
    origins = [
        replace(
            origin,
            sha256=origin.sha256 or replaced[part_name(part.number)],
            lacks=(*origin.lacks, *lacked),
        )
        for part, provenance, lacked in zip(parts, provenances, lacks, strict=True)
        for origin in provenance.origins
    ]
    metadata = merged_metadata(run_id, origins, of_row) | record(rows.schema)
    made = lakehouse.stage(run_id) / f"{dataset.name}-{day}.parquet"
    merged = with_replaced(rows.replace_schema_metadata(metadata), replaced)
    write_parquet(merged, made)
    if not pq.ParquetFile(made).read().equals(rows):
        raise CorruptPart(f"{made} does not read as it was written: check the disk")
    names = tuple(part.key for part in parts)
    key = f"{folder}/{part_name(max(part_numbers(lakehouse.names(folder))) + 1)}"
    entry = Entry(run_id, key, content_hash(made), rows.num_rows, names)
    (entry,) = create_parts(lakehouse, [entry], [made])
    _remove_replaced(lakehouse, lakehouse.folder(folder))
    confirm(lakehouse, entry)
    lakehouse.unstage(run_id)
    return Merged(entry.part, names, rows.num_rows)


def finish_merges(lakehouse: Lakehouse, dataset: Dataset) -> None:
    """Remove all parts of a dataset that another one replaces; while the lakehouse is locked."""
    for folder in lakehouse.folders(dataset.storage):
        _remove_replaced(lakehouse, folder)


def _remove_replaced(lakehouse: Lakehouse, folder: Folder) -> None:
    if folder.replaced:
        lakehouse.remove(folder.key, folder.replaced)


@contextmanager
def lakehouse_lock(lakehouse: Lakehouse, run_id: str, step: Step | None = None) -> Iterator[None]:
    """Lock the lakehouse for one run, or one step of it; makes the root where it is missing.

    Whoever gets the lock first finishes and removes what killed runs have left.

    Raises
    ------
    LakehouseLocked
        If another run has it; at once, except for the moment that a look may take.
    """
    with lakehouse.lock(run_id, step):
        _sweep_staging(lakehouse)
        keep_ended(lakehouse, run_id)
        yield


def _sweep_staging(lakehouse: Lakehouse) -> None:
    """Finish the merges that killed runs have begun, and remove what they left in ``_tmp``.

    Only while the lakehouse is locked.
    """
    for run_id in lakehouse.overtaken():
        close(lakehouse, run_id)
    for run_id in lakehouse.staged():
        with suppress(InputError):  # `verify` reports a ledger that cannot be read
            for entry in read_ledger(lakehouse, run_id):
                if entry.replaces and lakehouse.exists(entry.part):
                    _remove_replaced(lakehouse, lakehouse.folder(entry.part.rpartition("/")[0]))
    lakehouse.unstage()


def _sound(
    lakehouse: Lakehouse, dataset: Dataset, parts: list[Part], ledger: Ledger
) -> tuple[list[pa.Table], list[Provenance]]:
    tables, provenances = [], []
    for part in parts:
        found = inspect_part(lakehouse, dataset, part, ledger)
        if found.faults or found.rows is None or found.provenance is None:
            raise CorruptPart(f"{part} {'; '.join(found.faults)}: see `tvfeast verify`")
        tables.append(found.rows)
        provenances.append(found.provenance)
    return tables, provenances


def _with_all_columns(
    dataset: Dataset, tables: list[pa.Table]
) -> tuple[list[pa.Table], list[list[str]]]:
    """Give each part the columns that any of them has, in the catalog's order.

    Returns
    -------
    list of pa.Table
        With nulls in the columns that a part lacks.
    list of list of str
        Those columns.
    """
    union = {name for table in tables for name in table.column_names}
    schema = pa.schema([field for field in arrow_schema(dataset) if field.name in union])
    lacks = [[name for name in schema.names if name not in table.column_names] for table in tables]
    empty = empty_table(schema)
    full = [pa.concat_tables([empty, table], promote_options="default") for table in tables]
    return full, lacks


def _in_order(
    dataset: Dataset, tables: list[pa.Table], provenances: list[Provenance]
) -> tuple[pa.Table, np.ndarray]:
    """Return all rows in their new order, and each one's position among all origins."""
    of_row, before = [], 0
    for provenance in provenances:
        of_row.append(provenance.of_row + np.uint32(before))
        before += len(provenance.origins)
    rows = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    keys = [(name, "ascending") for name in version_keys(dataset)]
    order = pc.sort_indices(rows, keys)  # stable
    return rows.take(order).combine_chunks(), np.concatenate(of_row)[to_numpy(order)]
