"""All versions of a symbol's rows on a date, and where each of them comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import strings, to_objects, to_rows
from ingestion.catalog import Dataset
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.inspect import version_keys
from ingestion.lakehouse.origins import Origin, Provenance, read_provenance
from ingestion.lakehouse.parts import Part, read_part, read_schema

_CREATED = "created_timestamp"


@dataclass(frozen=True)
class StoredRow:
    """One version of a row."""

    values: dict[str, Any]
    part: str
    """The file that contains it, below the lakehouse's root."""
    origin: Origin | None
    """The part in which its run wrote it; None if the file does not say."""
    lacks: frozenset[str] = frozenset()
    """Columns that were declared after it was written; null among the values."""


def lacking(dataset: Dataset, parts: list[Part]) -> dict[tuple[str, int, datetime], frozenset[str]]:
    """Return the rows that are older than some of the dataset's columns, with those columns.

    Parameters
    ----------
    parts
        Of a dataset with the key ``symbol`` and ``timestamp``.

    Returns
    -------
    dict
        By ``symbol``, ``timestamp`` and ``created_timestamp``.
    """
    declared = {column.name for column in dataset.columns}
    found = {}
    for part in parts:
        schema = read_schema(part)
        newer = frozenset(declared - {*schema.names})
        rows = read_part(part, dataset, ["symbol", "timestamp", _CREATED])
        provenance = _provenance(part, schema, rows)
        if provenance is None:
            lacks = [newer] * rows.num_rows
        else:
            of_origin = [newer | {*origin.lacks} for origin in provenance.origins]
            lacks = [of_origin[number] for number in provenance.of_row] if any(of_origin) else []
        keys = zip(*map(to_objects, rows.columns), strict=True)
        found.update({key: names for key, names in zip(keys, lacks, strict=False) if names})
    return found


def versions_of(
    lakehouse: Lakehouse,
    dataset: Dataset,
    parts: list[Part],
    symbol: str,
    columns: Collection[str] | None = None,
) -> list[StoredRow]:
    """Return a symbol's rows of one date, all versions, by event and then by creation.

    Parameters
    ----------
    parts
        Of one partition date: a row is restated within its own.
    columns
        What is read of the rows, beside their symbols and times; all if not given.

    Raises
    ------
    CorruptPart
        If a part cannot be read.
    FileNotFoundError
        If a part is gone since it was listed.
    """
    return versions_by_symbol(dataset, parts, [symbol], columns)[symbol]


def versions_by_symbol(
    dataset: Dataset,
    parts: list[Part],
    symbols: Iterable[str],
    columns: Collection[str] | None = None,
) -> dict[str, list[StoredRow]]:
    """Return the rows of some symbols, as :func:`versions_of` does of one; of any dates."""
    found: dict[str, list[StoredRow]] = {symbol: [] for symbol in symbols}
    wanted = strings(list(found))
    created = version_keys(dataset)[-1]
    names = None
    if columns is not None:
        names = list(dict.fromkeys(["symbol", dataset.event, created, *columns]))
    for part in parts:
        # Most parts on the way to a rare symbol do not have it.
        own = read_part(part, dataset, ["symbol"])["symbol"]
        places = pc.indices_nonzero(pc.is_in(own, value_set=wanted))
        if not len(places):
            continue
        rows, schema = read_part(part, dataset, names), read_schema(part)
        provenance = _provenance(part, schema, rows)
        newer = {*rows.column_names} - {*schema.names}
        for row, values in zip(places.to_pylist(), to_rows(rows.take(places)), strict=True):
            origin = provenance.origins[int(provenance.of_row[row])] if provenance else None
            lacks = frozenset(newer | {*(origin.lacks if origin else ())})
            found[values["symbol"]].append(StoredRow(values, part.key, origin, lacks))
    for rows_of in found.values():
        rows_of.sort(key=lambda each: (each.values[dataset.event], each.values[created]))
    return found


def _provenance(part: Part, schema: pa.Schema, rows: pa.Table) -> Provenance | None:
    try:
        return read_provenance(schema.metadata, part.key, rows.num_rows)
    except ValueError:
        return None
