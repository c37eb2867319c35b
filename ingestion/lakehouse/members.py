"""What was recorded of who is in a universe."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import empty_table, from_numpy, text
from ingestion.base.reading import reading_again
from ingestion.catalog import UNIVERSE_MEMBERS
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.parts import list_parts, read_part
from ingestion.lakehouse.schema import arrow_schema

IMPORTED = "import"
"""Source of the rows of a file; every other source is an answer that listed all members."""


def read_members(
    lakehouse: Lakehouse,
    universe: str,
    known_at: datetime | None = None,
    since: date = date.min,
) -> pa.Table:
    """Read the rows of a universe: of those that were corrected, the last version.

    Parameters
    ----------
    known_at
        Rows that were created later are left out; none if None.
    since
        Rows that were known on an earlier date are left out.

    Returns
    -------
    pa.Table
        The columns of ``universe_members``, sorted by (``symbol``, ``valid_from``); also the rows
        that say that a symbol never was a member, whose ``valid_until`` is their ``valid_from``.
    """

    def read() -> pa.Table:
        empty = empty_table(arrow_schema(UNIVERSE_MEMBERS))
        tables = (
            read_part(part, UNIVERSE_MEMBERS)
            for part in list_parts(lakehouse, UNIVERSE_MEMBERS, since)
        )
        return pa.concat_tables(
            [empty, *(rows.filter(pc.equal(rows["universe"], text(universe))) for rows in tables)]
        )

    rows = reading_again(read)
    if known_at is not None:
        rows = rows.filter(pc.less_equal(rows["created_timestamp"], pa.scalar(known_at)))
    names = ["symbol", "valid_from", "source", "created_timestamp"]
    rows = rows.sort_by([(name, "ascending") for name in names])
    return rows.filter(_is_last_version(rows)) if rows.num_rows > 1 else rows


def recorded_universes(lakehouse: Lakehouse, since: date = date.min) -> list[str]:
    """Return the names of the universes of which anything was recorded, from a date on."""

    def read() -> set[str]:
        return {
            name
            for part in list_parts(lakehouse, UNIVERSE_MEMBERS, since)
            for name in pc.unique(
                read_part(part, UNIVERSE_MEMBERS, ["universe"])["universe"]
            ).to_pylist()
        }

    return sorted(reading_again(read))


def _is_last_version(rows: pa.Table) -> pa.Array:
    differs = from_numpy(np.zeros(rows.num_rows - 1, dtype=bool))
    for name in ("symbol", "valid_from", "source"):
        column = rows[name].combine_chunks()
        differs = pc.or_(differs, pc.not_equal(column[1:], column[:-1]))
    return pa.concat_arrays([differs, from_numpy(np.array([True]))])
