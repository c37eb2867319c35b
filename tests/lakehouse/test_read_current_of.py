"""Some symbols' current rows are those among all current rows, and no other part is read."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion.base.columns import read_columns
from ingestion.lakehouse import (
    LocalDisk,
    append_part,
    list_parts,
    read_current,
    read_current_of,
)
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.technicals import EVENING, technicals

SYMBOLS = st.sets(st.sampled_from([f"X:{letter}" for letter in "ABCDEF"]), min_size=1)


@given(parts=st.lists(SYMBOLS, max_size=4), wanted=SYMBOLS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_they_are_those_among_all_rows(
    parts: list[set[str]], wanted: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("lakehouse")
    for n, symbols in enumerate(parts):
        rows = technicals(sorted(symbols), EVENING + timedelta(seconds=n))
        append_part(LocalDisk(root), GROUP, rows, f"run-{n}")
    everything = list_parts(LocalDisk(root), GROUP)
    rows = read_current(everything, GROUP)
    found = read_current_of(everything, GROUP, sorted(wanted))
    assert found.to_pylist() == [row for row in rows.to_pylist() if row["symbol"] in wanted]


def test_a_part_of_other_symbols_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, symbols in enumerate((["A:A", "A:C"], ["A:D", "A:F"], ["A:G"])):
        append_part(
            LocalDisk(tmp_path), GROUP, technicals(symbols, EVENING + timedelta(seconds=n)), "run"
        )
    parts, read = list_parts(LocalDisk(tmp_path), GROUP), []

    def noting(file: object, path: str, *arguments: object, **named: object) -> object:
        read.append(path)
        return read_columns(file, path, *arguments, **named)

    monkeypatch.setattr("ingestion.lakehouse.parts.read_columns", noting)
    rows = read_current_of(parts, GROUP, ["A:B", "A:E"])
    assert rows.num_rows == 0
    assert read == [str(part) for part in parts[:2]]
    assert pc.any(pc.equal(read_current_of(parts, GROUP, ["A:G"])["symbol"], "A:G")).as_py()
    assert read[2:] == [str(parts[2])]
