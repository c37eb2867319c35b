"""The parts of a date become one.

A folder with the merged part alone is made beside the lakehouse's own, and the two change places at
one stroke (:mod:`ingestion.base.folders`). Whoever lists the partition finds the old parts or the
merged one. Its number is new, so whoever listed the old ones and opens them after finds them gone.
The old folder stays below ``_tmp`` until the next run sweeps it, for readers that are in the midst
of listing it. There is nothing to mend after a kill: the folders have changed places, or not.

Feast's offline writes do not know the lakehouse's lock. So the folder is held from a last look at
it until it has changed places, and they wait: for what they added before that look the date is left
as it is, and what they add after goes to the merged part's folder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.base.columns import record
from ingestion.base.errors import CorruptPart
from ingestion.base.folders import exchange, held
from ingestion.catalog import Dataset
from ingestion.lakehouse.inspect import inspect_part, version_keys
from ingestion.lakehouse.ledger import Entry, Ledger, announce, confirm, content_hash
from ingestion.lakehouse.origins import Provenance, merged_metadata
from ingestion.lakehouse.parts import Part, part_name, part_number, partition_folder, read_file
from ingestion.lakehouse.schema import arrow_schema
from ingestion.lakehouse.staging import make_folder, sync


@dataclass(frozen=True)
class Merged:
    """A part that took the place of others."""

    part: Path
    replaced: tuple[str, ...]
    """Paths below the lakehouse's root."""
    rows: int


def merge_parts(root: Path, dataset: Dataset, day: date, ledger: Ledger, run_id: str) -> Merged:
    """Put one part in the place of all parts of a date; the caller holds the lakehouse lock.

    Every row stays, restated ones too, and keeps the run that it came from. Rows are sorted by the
    dataset's key, then by their creation; equal ones stay in the order of their parts.

    Parameters
    ----------
    day
        The UTC date; it has at least two parts.

    Raises
    ------
    CorruptPart
        If a part does not hold what it must, or the folder holds or gets anything else: nothing has
        changed then. What is damaged is never merged, for its recorded hash would be lost.
    InputError
        If the file system cannot exchange folders.
    """
    folder = partition_folder(root, dataset, day)
    parts = _all_parts(folder, day)
    names = tuple(part.path.relative_to(root).as_posix() for part in parts)
    tables, provenances = _sound(root, dataset, parts, ledger)
    tables, lacks = _with_all_columns(dataset, tables)
    rows, of_row = _in_order(dataset, tables, provenances)
    origins = [
        replace(
            origin,
            sha256=origin.sha256 or content_hash(part.path),
            lacks=(*origin.lacks, *lacked),
        )
        for part, provenance, lacked in zip(parts, provenances, lacks, strict=True)
        for origin in provenance.origins
    ]
    metadata = merged_metadata(run_id, origins, of_row) | record(rows.schema)
    staged = root / "_tmp" / f"{run_id}-merged" / dataset.name / folder.name
    make_folder(staged, root)
    made = staged / part_name(parts[-1].number + 1)
    pq.write_table(rows.replace_schema_metadata(metadata), made, compression="zstd")
    if not read_file(made).equals(rows):
        raise CorruptPart(f"{made} does not read as it was written: check the disk")
    sync(made)
    sync(staged)
    target = folder / made.name
    entry = Entry(
        run_id, target.relative_to(root).as_posix(), content_hash(made), rows.num_rows, names
    )
    with held(folder):
        if _all_parts(folder, day) != parts:
            raise CorruptPart(f"{folder} was changed while its parts were merged: compact again")
        announce(root, entry)
        exchange(staged, folder)
    sync(folder)
    sync(folder.parent)
    sync(staged.parent)
    confirm(root, entry)
    return Merged(target, names, rows.num_rows)


def _all_parts(folder: Path, day: date) -> list[Part]:
    """Return what a date's folder holds, in the order of the numbers; it must be parts alone."""
    parts = []
    for path in sorted(folder.iterdir()):
        number = part_number(path)
        if number is None:
            raise CorruptPart(f"{path} is no part: move it out of the lakehouse")
        parts.append(Part(day, number, path))
    return sorted(parts)


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
