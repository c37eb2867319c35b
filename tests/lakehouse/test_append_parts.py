"""Several parts at once: each whole, announced before it is seen, and none if one is bad."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.base import disk
from ingestion.base.parts import content_hash
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import (
    LocalDisk,
    append_parts,
    arrow_schema,
    list_parts,
    local_disk,
    read_file,
    writer,
)
from ingestion.lakehouse.ledger import read_ledger

FIRST = date(2021, 3, 1)
MIDNIGHT = 1_614_556_800


def bars(day: int, *symbols: str) -> pa.Table:
    """One bar per symbol, of the day-th day from FIRST."""
    event = MIDNIGHT + day * 86_400
    rows = [
        {
            **dict.fromkeys(("open", "high", "low", "close", "volume", "split_ratio"), 1.0),
            "timestamp": event,
            "symbol": symbol,
            "event_timestamp": event * 1_000_000,
            "created_timestamp": event * 1_000_000,
            "source": "test",
        }
        for symbol in symbols
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema(OHLCV_1D))


def test_each_table_becomes_a_part_that_the_ledger_confirms(tmp_path: Path) -> None:
    paths = append_parts(
        LocalDisk(tmp_path), OHLCV_1D, [bars(n, "B", "A") for n in range(20)], "run"
    )
    parts = list_parts(LocalDisk(tmp_path), OHLCV_1D)
    assert parts == paths
    assert [part.date for part in parts] == [FIRST + timedelta(days=n) for n in range(20)]
    assert {tuple(read_file(path)["symbol"].to_pylist()) for path in paths} == {("A", "B")}
    recorded = read_ledger(LocalDisk(tmp_path), "run")
    assert [entry.part for entry in recorded] == [path.key for path in paths]
    assert all(entry.confirmed and entry.rows == 2 for entry in recorded)
    assert [entry.sha256 for entry in recorded] == [content_hash(path.path) for path in paths]
    assert not list(tmp_path.glob("_tmp/*"))


def test_parts_of_one_date_are_numbered_on(tmp_path: Path) -> None:
    append_parts(LocalDisk(tmp_path), OHLCV_1D, [bars(0, "A")], "one")
    paths = append_parts(
        LocalDisk(tmp_path), OHLCV_1D, [bars(0, "B"), bars(1, "B"), bars(0, "C")], "two"
    )
    assert [path.path.name for path in paths] == [
        "part-1.parquet",
        "part-0.parquet",
        "part-2.parquet",
    ]
    assert [read_file(path)["symbol"].to_pylist() for path in paths] == [["B"], ["B"], ["C"]]


def test_none_is_written_if_one_is_bad(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not unique"):
        append_parts(LocalDisk(tmp_path), OHLCV_1D, [bars(0, "A"), bars(1, "A", "A")], "run")
    assert list_parts(LocalDisk(tmp_path), OHLCV_1D) == []
    assert read_ledger(LocalDisk(tmp_path), "run") == []


@pytest.mark.parametrize("dies_at", range(4))
def test_a_run_that_dies_between_them_leaves_whole_parts_with_a_recorded_hash(
    dies_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The run is gone, and nothing of it runs on."""

    link, left = Path.hardlink_to, iter(range(4))

    def dying(self: Path, target: Path) -> None:
        if next(left) == dies_at:
            raise Killed
        link(self, target)

    monkeypatch.setattr(Path, "hardlink_to", dying)
    with pytest.raises(Killed):
        append_parts(LocalDisk(tmp_path), OHLCV_1D, [bars(n, "A") for n in range(4)], "run")
    parts = list_parts(LocalDisk(tmp_path), OHLCV_1D)
    assert [part.date for part in parts] == [FIRST + timedelta(days=n) for n in range(dies_at)]
    recorded = {tmp_path / entry.part: entry for entry in read_ledger(LocalDisk(tmp_path), "run")}
    assert len(recorded) == 4
    for part in parts:
        assert recorded[part.path].sha256 == content_hash(part.path)


def test_all_of_them_are_announced_and_synced_before_they_appear_and_their_folders_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def noting(function: Callable[..., None], name: Callable[..., str]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            function(*arguments)
            told.append(name(*arguments))

        return call

    below = noting(disk.sync, lambda path: path.relative_to(tmp_path).as_posix())
    monkeypatch.setattr(disk, "sync", below)
    monkeypatch.setattr(local_disk, "sync", below)
    monkeypatch.setattr(writer, "announce", noting(writer.announce, lambda *_: "announced"))
    monkeypatch.setattr(Path, "hardlink_to", noting(Path.hardlink_to, lambda *_: "there"))
    append_parts(LocalDisk(tmp_path), OHLCV_1D, [bars(n, "A") for n in range(3)], "run")
    there = told.index("there")
    assert {"announced", *(f"_tmp/run/{n}.parquet" for n in range(3))} <= set(told[:there])
    assert {f"{OHLCV_1D.storage}/date=2021-03-0{n}" for n in (1, 2, 3)} <= set(told[there:])


def test_what_does_not_repeat_is_written_without_a_dictionary(tmp_path: Path) -> None:
    later = bars(0, "A", "B").set_column(
        bars(0).schema.get_field_index("timestamp"), "timestamp", pa.array([1, 1])
    )
    several = [bars(0, "B", "A"), pa.concat_tables([bars(0, "B", "A"), later])]
    encoded = []
    for part in append_parts(LocalDisk(tmp_path), OHLCV_1D, several, "run"):
        group = pq.read_metadata(part.path).row_group(0)
        chunks = [group.column(number) for number in range(group.num_columns)]
        encoded.append({chunk.path_in_schema for chunk in chunks if chunk.has_dictionary_page})
    once, twice = encoded
    assert "source" in once & twice
    assert "symbol" in twice - once
    assert not (once | twice) & {"open", "high", "low", "close", "volume", "split_ratio"}
