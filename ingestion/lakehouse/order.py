"""Do rows lie in the order of their key: a look along them instead of a sort."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc


def ascends(rows: pa.Table, names: Sequence[str]) -> bool:
    """Return whether each key is above the key before it: the rows are sorted and unique by it.

    Parameters
    ----------
    names
        The key's columns, the first of them counting most. A null is above nothing.
    """
    return rows.num_rows < 2 or _all(_rises(rows, names))


def _rises(rows: pa.Table, names: Sequence[str]) -> pa.Array:
    """Return for each row but the first whether it is above the one before; null for a null."""
    name, *others = names
    column = rows[name].combine_chunks()
    before, after = column[:-1], column[1:]
    rises = pc.less(before, after)
    if not others or _all(rises):
        return rises
    return pc.or_(rises, pc.and_(pc.equal(before, after), _rises(rows, others)))


def _all(values: pa.Array) -> bool:
    return pc.all(values, skip_nulls=False).as_py() is True
