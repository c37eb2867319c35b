"""A symbol's rows in quarantine: what is kept of the files changes nothing."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from ingestion.catalog import FeatureGroup
from ingestion.lakehouse import Lakehouse, RunFile, lakehouse_lock, open_lakehouse, run_files
from ingestion.quality.gate import write_quarantine
from ingestion.runs.quarantine import DATASET, FILE, QUARANTINE_FILE, quarantined_rows
from tests.declared import LOCAL_1D, TV_TECHNICALS_1D
from tests.fuzzing import fuzz
from tests.lakehouse.in_a_bucket import placed
from tests.lakehouse.technicals import technicals

SYMBOLS = ("A:A", "B:B", "C:C")


def plainly(lakehouse: Lakehouse, dataset: str, symbol: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (file.run_id, row)
        for file in run_files(lakehouse, QUARANTINE_FILE)
        for row in file.read_table().to_pylist()
        if (row[DATASET], row["symbol"]) == (dataset, symbol)
    ]


def keep_out(lakehouse: Lakehouse, run_id: str, group: FeatureGroup, *symbols: str) -> None:
    write_quarantine(lakehouse, group, technicals(symbols), run_id)


def change(lakehouse: Lakehouse, root: Path, what: str, chance: random.Random) -> None:
    cache, copied = root / "_caches" / FILE, root / "copy.zip"
    run_id = f"run-{chance.randrange(4)}"
    if what == "keep out":
        group = chance.choice([TV_TECHNICALS_1D, LOCAL_1D])
        keep_out(lakehouse, run_id, group, *chance.sample(SYMBOLS, 2))
    elif what == "retire":
        shutil.rmtree(root / "_runs" / run_id, ignore_errors=True)
    elif what == "delete the cache":
        cache.unlink(missing_ok=True)
    elif what == "damage the cache" and cache.exists():
        content = bytearray(cache.read_bytes())
        content[chance.randrange(len(content))] ^= 1
        cache.write_bytes(content)
    elif what == "copy the cache" and cache.exists():
        copied.write_bytes(cache.read_bytes())
    elif what == "put the copy back" and copied.exists():
        cache.write_bytes(copied.read_bytes())


CHANGES = (
    *("keep out", "keep out", "retire", "delete the cache", "damage the cache"),
    *("copy the cache", "put the copy back"),
)


@fuzz(cases=10, changes=st.lists(st.sampled_from(CHANGES), max_size=8), seed=st.integers(0, 99))
def test_a_symbols_rows_are_those_of_all_files(
    tmp_path_factory: pytest.TempPathFactory, changes: list[str], seed: int
):
    root = placed(tmp_path_factory.mktemp("kept-out"))
    lakehouse, chance = open_lakehouse(root), random.Random(seed)
    keep_out(lakehouse, "run-0", TV_TECHNICALS_1D, "A:A", "B:B")
    for what in changes:
        change(lakehouse, root, what, chance)
        for group in (TV_TECHNICALS_1D, LOCAL_1D):
            for symbol in SYMBOLS[:2]:
                found = list(quarantined_rows(lakehouse, group.name, symbol))
                assert found == plainly(lakehouse, group.name, symbol)


def test_a_file_without_the_symbol_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lakehouse = open_lakehouse(placed(tmp_path))
    for number in range(3):
        keep_out(lakehouse, f"run-{number}", TV_TECHNICALS_1D, SYMBOLS[number])
    read, opened = RunFile.read_table, []

    def noted(file: RunFile, columns: list[str] | None = None) -> Any:
        opened.append(file.run_id)
        return read(file, columns)

    monkeypatch.setattr(RunFile, "read_table", noted)
    assert len(list(quarantined_rows(lakehouse, TV_TECHNICALS_1D.name, "B:B"))) == 1
    assert sorted(opened) == ["run-0", "run-1", "run-1", "run-2"]
    opened.clear()
    assert len(list(quarantined_rows(lakehouse, TV_TECHNICALS_1D.name, "B:B"))) == 1
    assert opened == ["run-1"]


def test_a_file_of_a_run_that_writes_is_read_each_time(tmp_path: Path):
    lakehouse = open_lakehouse(placed(tmp_path))
    with lakehouse_lock(lakehouse, "run-0"):
        keep_out(lakehouse, "run-0", TV_TECHNICALS_1D, "A:A")
        assert len(list(quarantined_rows(lakehouse, TV_TECHNICALS_1D.name, "A:A"))) == 1
        assert not (placed(tmp_path) / "_caches" / FILE).exists()
