"""Rows that do not fit in memory come back by number, in the order in which they came."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.base import spill
from ingestion.base.spill import Spill

BATCHES = st.lists(st.lists(st.integers(0, 300), max_size=30), max_size=8)


@pytest.mark.parametrize("memory", [0, 400, 1 << 20])
@given(batches=BATCHES)
def test_each_pile_has_its_rows_in_their_order(
    memory: int, batches: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("spill") / "piles"
    everything = list(enumerate(chain.from_iterable(batches)))
    expected = {
        number: [value for value, of in everything if of == number]
        for number in sorted({number for _, number in everything})
    }
    values = iter(value for value, _ in everything)
    with pytest.MonkeyPatch.context() as patch, Spill(folder) as piles:
        patch.setattr(spill, "BYTES_IN_MEMORY", memory)
        for batch in batches:
            rows = pa.table({"value": pa.array([next(values) for _ in batch], pa.int64())})
            piles.scatter(rows, np.array(batch, dtype=np.int64))
        assert piles.numbers == list(expected)
        found = {number: rows["value"].to_pylist() for number, rows in piles.drain()}
    assert found == expected
    assert list(found) == list(expected)
    assert not folder.exists()


def test_more_piles_than_open_files_are_allowed(tmp_path: Path) -> None:
    numbers = np.arange(5_000)
    with Spill(tmp_path / "piles") as piles:
        for _ in range(2):
            piles.scatter(pa.table({"value": numbers}), numbers)
            piles._flush()
        assert [rows["value"].to_pylist() for _, rows in piles.drain()] == [
            [number, number] for number in range(5_000)
        ]


def test_a_pile_is_taken_once_and_may_grow_again(tmp_path: Path) -> None:
    rows = pa.table({"value": [1]})
    with Spill(tmp_path / "piles") as piles:
        piles.append(3, rows)
        assert [table.to_pylist() for table in piles.take(3)] == [[{"value": 1}]]
        assert piles.take(3) == []
        piles.append(3, rows)
        assert piles.numbers == [3]
