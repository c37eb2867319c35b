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

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.base.columns import record
from ingestion.base.errors import CorruptPart, InputError
from ingestion.base.parts import (
    content_hash,
    names_in,
    part_name,
    part_numbers,
    replaced_in,
    with_replaced,
)
from ingestion.catalog import Dataset
from ingestion.lakehouse.inspect import inspect_part, version_keys
from ingestion.lakehouse.ledger import (
    Entry,
    Ledger,
    announce,
    confirm,
    read_ledger,
)
from ingestion.lakehouse.local_disk import (
    clear_staging,
    make_folder,
    remove,
    remove_staging,
    runs_in_staging,
    staging_folder,
    sync,
)
from ingestion.lakehouse.origins import Provenance, merged_metadata
from ingestion.lakehouse.parts import (
    Part,
    list_parts,
    partition_folder,
    read_file,
    replaced_parts,
)
from ingestion.lakehouse.schema import arrow_schema
from ingestion.lakehouse.writer import link_part


@dataclass(frozen=True)
class Merged:
    """A part that replaces others."""

    part: str
    """Where it is below the lakehouse's root, as those that it replaces."""
    replaced: tuple[str, ...]
    rows: int


def merge_parts(root: Path, dataset: Dataset, day: date, ledger: Ledger, run_id: str) -> Merged:
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
    folder = partition_folder(root, dataset, day)
    remove_replaced(folder)
    parts = [part for part in list_parts(root, dataset, day) if part.date == day]
    tables, provenances = _sound(root, dataset, parts, ledger)
    tables, lacks = _with_all_columns(dataset, tables)
    rows, of_row = _in_order(dataset, tables, provenances)
    replaced = {part.path.name: content_hash(part.path) for part in parts}
    origins = [
        replace(
            origin,
            sha256=origin.sha256 or replaced[part.path.name],
            lacks=(*origin.lacks, *lacked),
        )
        for part, provenance, lacked in zip(parts, provenances, lacks, strict=True)
        for origin in provenance.origins
    ]
    metadata = merged_metadata(run_id, origins, of_row) | record(rows.schema)
    staging = staging_folder(root, run_id)
    make_folder(staging, root)
    made = staging / f"{dataset.name}-{day}.parquet"
    merged = with_replaced(rows.replace_schema_metadata(metadata), replaced)
    pq.write_table(merged, made, compression="zstd")
    if not read_file(made).equals(rows):
        raise CorruptPart(f"{made} does not read as it was written: check the disk")
    sync(made)
    names = tuple(part.key for part in parts)
    place = folder / part_name(max(part_numbers(folder)) + 1)
    entry = Entry(
        run_id, place.relative_to(root).as_posix(), content_hash(made), rows.num_rows, names
    )
    announce(root, entry)
    entry = link_part(root, made, entry)
    sync(folder)  # the merged part is on the disk before the first of the others goes
    remove_replaced(folder)
    confirm(root, entry)
    remove_staging(root, run_id)
    return Merged(entry.part, names, rows.num_rows)


def finish_merges(root: Path, dataset: Dataset) -> None:
    """Remove all parts of a dataset that another one replaces; while the lakehouse is locked."""
    for folder in {part.path.parent for part in replaced_parts(root, dataset)}:
        remove_replaced(folder)


def remove_replaced(folder: Path) -> None:
    """Remove the parts of a date that another part of it replaces, if there are any."""
    if replaced := replaced_in(str(folder), names_in(folder)):
        remove(folder, replaced)


def sweep_staging(root: Path) -> None:
    """Finish the merges that killed runs have begun, and remove what they left in ``_tmp``.

    Only while the lakehouse is locked.
    """
    for run_id in runs_in_staging(root):
        with suppress(InputError):  # `verify` reports a ledger that cannot be read
            for entry in read_ledger(root, run_id):
                if entry.replaces and (root / entry.part).exists():
                    remove_replaced((root / entry.part).parent)
    clear_staging(root)


def _sound(
    root: Path, dataset: Dataset, parts: list[Part], ledger: Ledger
) -> tuple[list[pa.Table], list[Provenance]]:
    tables, provenances = [], []
    for part in parts:
        found = inspect_part(root, dataset, part, ledger)
        if found.faults or found.rows is None or found.provenance is None:
            raise CorruptPart(f"{part.path} {'; '.join(found.faults)}: see `tvfeast verify`")
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
    empty = schema.empty_table()
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
    return rows.take(order).combine_chunks(), np.concatenate(of_row)[order.to_numpy()]
