"""Rows that do not fit in memory come back by number, in the order in which they came."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
    numbers = np.arange(300)
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, allowed[1]))
    try:
        with Spill(tmp_path / "piles") as piles:
            for _ in range(2):
                piles.scatter(pa.table({"value": numbers}), numbers)
                piles._flush()
            found = [rows["value"].to_pylist() for _, rows in piles.drain()]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
    assert found == [[number, number] for number in range(300)]


COLUMNS = {
    "numbers": pa.array([1.5, float("nan"), -0.0, 2.5]),
    "places": pa.array([3, 1, 2, 0], pa.int32()),
    "bytes": pa.array([0, 1, 255, 7], pa.uint8()),
    "instants": pa.array([0, 1, -1, 5], pa.timestamp("us", "UTC")),
    "nulls": pa.array([1.0, None, None, 2.0]),
    "truths": pa.array([True, False, True, True]),
    "names": pa.array(["A", "", "é", "BB"]),
}


@pytest.mark.parametrize("names", [["numbers", "places", "bytes", "instants"], [*COLUMNS]])
@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_columns_of_every_type_come_back_with_their_bits(
    names: list[str], memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "BYTES_IN_MEMORY", memory)
    rows = pa.table({name: COLUMNS[name] for name in names})
    with Spill(tmp_path / "piles") as piles:
        for first, end in ((0, 3), (1, 4), (2, 2)):  # not from the first row on, too
            piles.append(7, rows.slice(first, end - first))
        piles.append(7, pa.concat_tables([rows.slice(0, 1), rows.slice(2, 2)]))  # in chunks
        ((number, found),) = piles.drain()
    expected = pa.concat_tables([rows.slice(0, 3), rows.slice(1, 3), rows.slice(0, 1), rows[2:]])
    assert number == 7
    assert found.schema == rows.schema
    for name in names:
        mine, theirs = (table[name].combine_chunks() for table in (found, expected))
        if pa.types.is_floating(mine.type):
            mine, theirs = (pc.fill_null(each, -7.0).view(pa.int64()) for each in (mine, theirs))
        assert mine.equals(theirs)


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_rows_with_and_without_nulls_may_be_in_one_pile(
    memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "BYTES_IN_MEMORY", memory)
    schema = pa.schema({"byte": pa.uint8(), "number": pa.float64()})
    cells = [(1, 0.5), (2, 1.5), (3, None), (4, 2.5)]
    whole = pa.table([[*column] for column in zip(*cells, strict=True)], schema=schema)
    with Spill(tmp_path / "piles") as piles:
        for start in range(4):
            piles.append(0, whole.slice(start, 1))
        ((_, found),) = piles.drain()
    assert found == whole


def test_a_row_may_have_more_columns_than_the_system_writes_at_once(tmp_path: Path) -> None:
    rows = pa.table({f"c{at}": [float(at), -0.0] for at in range(2_500)})
    with Spill(tmp_path / "piles") as piles:
        for _ in range(2):
            piles.append(1, rows)
            piles._flush()
        ((_, found),) = piles.drain()
    assert found == pa.concat_tables([rows, rows])


@given(BATCHES, st.integers(1, 40))
def test_the_system_may_write_and_read_a_part_at_a_time(
    batches: list[list[int]], most: int
) -> None:
    def part_of(transfer: Callable[[int, list[memoryview], int], int]) -> Callable[..., int]:
        def of_part(descriptor: int, arrays: list[memoryview], start: int) -> int:
            first = next(each for each in arrays if memoryview(each).nbytes)
            return transfer(descriptor, [memoryview(first).cast("B")[:most]], start)

        return of_part

    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(spill, "BYTES_IN_MEMORY", 0)
        for name in ("pwritev", "preadv"):
            patch.setattr(os, name, part_of(getattr(os, name)))
        with Spill(Path(folder) / "spilled") as piles:
            for batch in batches:
                rows = pa.table({"value": pa.array(batch, pa.int64())})
                piles.append(7, rows.append_column("half", pa.array(batch, pa.int32())))
            found = [each for _, pile in piles.drain() for each in pile.to_pylist()]
    assert found == [{"value": each, "half": each} for each in chain(*batches)]


def test_a_file_that_lost_its_end_is_no_shorter_pile(tmp_path: Path) -> None:
    with Spill(tmp_path / "piles") as piles:
        piles.append(1, pa.table({"value": [1, 2, 3]}))
        piles._flush()
        os.truncate(tmp_path / "piles" / "1", 20)
        with pytest.raises(EOFError, match="shorter than what was written"):
            piles.take(1)


def test_a_pile_is_taken_once_and_may_grow_again(tmp_path: Path) -> None:
    rows = pa.table({"value": [1]})
    with Spill(tmp_path / "piles") as piles:
        piles.append(3, rows)
        assert [table.to_pylist() for table in piles.take(3)] == [[{"value": 1}]]
        assert piles.take(3) == []
        piles.append(3, rows)
        assert piles.numbers == [3]


def test_a_pile_may_have_no_rows(tmp_path: Path) -> None:
    rows = pa.table({"value": pa.array([1, 2], pa.int64())})
    with Spill(tmp_path / "piles") as piles:
        piles.append(1, rows.slice(0, 0))
        piles.append(2, rows)
        piles._flush()
        found = {number: rows["value"].to_pylist() for number, rows in piles.drain()}
    assert found == {1: [], 2: [1, 2]}
