"""Which rows have to be written does not depend on which columns are looked at first."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ingestion.jobs.compute.changes import changes_of
from ingestion.lakehouse import append_part, list_parts, open_lakehouse
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.in_a_bucket import placed
from tests.lakehouse.technicals import EVENING, technicals

SYMBOLS = ("X:A", "X:B", "X:C")
COLUMNS = ("RSI", "ADX", "AO", "MACD.macd")
CELLS = st.tuples(st.integers(0, 11), st.sampled_from(COLUMNS), st.sampled_from([None, 7.5, 0.25]))


@settings(max_examples=30, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    before=st.lists(CELLS, max_size=3),
    now=st.lists(CELLS, max_size=6),
    likely=st.lists(st.sampled_from(COLUMNS), min_size=1, unique=True),
    days=st.integers(1, 4),
)
def test_rows_are_the_same_whichever_columns_are_read_first(
    before: list[tuple[int, str, float | None]],
    now: list[tuple[int, str, float | None]],
    likely: list[str],
    days: int,
):
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr("os.fsync", lambda _: None)
        disk = open_lakehouse(placed(Path(folder)))
        evenings = [EVENING + timedelta(days=day) for day in range(4)]
        rows = [technicals([*SYMBOLS], evening) for evening in evenings]
        whole = changed(pa.concat_tables(rows), before)
        for day in range(days):
            append_part(disk, GROUP, whole.slice(3 * day, 3), f"run-{day}")
        new, stored = changed(whole, now), list_parts(disk, GROUP)
        found = changes_of(GROUP, new, stored, likely=likely)
        wanted = changes_of(GROUP, new, stored)
        assert (found.rows, found.defined, found.newest) == (
            wanted.rows,
            wanted.defined,
            wanted.newest,
        )
        beside = zip(new.to_pylist(), whole.to_pylist(), strict=True)
        expected = [
            row for place, (row, old) in enumerate(beside) if place >= 3 * days or row != old
        ]
        assert found.rows.to_pylist() == expected


def changed(rows: pa.Table, cells: list[tuple[int, str, float | None]]) -> pa.Table:
    """Return rows with other values in some cells."""
    values = rows.to_pylist()
    for place, name, value in cells:
        values[place][name] = value
    return pa.Table.from_pylist(values, schema=rows.schema)
