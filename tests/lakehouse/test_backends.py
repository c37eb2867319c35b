"""A job's way through the lakehouse, on the local disk and on a place that has no folders."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ingestion.base.errors import CorruptPart, InputError, LakehouseLocked
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import (
    Lakehouse,
    LocalDisk,
    append_part,
    check_stored,
    files_of_run,
    foreign_files,
    lakehouse_lock,
    list_parts,
    newest_known,
    read_current,
    read_part,
    replaced_parts,
    run_ids,
    write_run_file,
)
from ingestion.lakehouse.compact import merge_parts
from ingestion.lakehouse.inspect import inspect_part
from ingestion.lakehouse.ledger import Ledger, read_ledger
from ingestion.lakehouse.object_store import ObjectStore
from ingestion.lakehouse.run_files import remove_runs
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.in_memory import InMemory
from tests.lakehouse.technicals import EVENING, technicals

DAY = EVENING.date()
FOLDER = f"{GROUP.storage}/date={DAY}"
HOUR = timedelta(hours=1)


@pytest.fixture(params=["local disk", "in memory", "object store"])
def lakehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lakehouse]:
    if request.param == "local disk":
        yield LocalDisk(tmp_path / "lakehouse")
    elif request.param == "object store":
        yield ObjectStore(request.getfixturevalue("bucket"))
    else:
        there = InMemory()
        yield there
        there.unstage()
        shutil.rmtree(there.scratch_folder(""))


@pytest.fixture
def written(lakehouse: Lakehouse) -> Lakehouse:
    """Three runs' parts of one evening; the last one restates A:A."""
    for number, symbols in enumerate((["A:A", "B:B"], ["C:C"], ["A:A"])):
        with lakehouse_lock(lakehouse, f"run-{number}"):
            rows = technicals(
                symbols, EVENING, EVENING + number * HOUR, RSI=[number] * len(symbols)
            )
            append_part(lakehouse, GROUP, rows, f"run-{number}")
            write_run_file(lakehouse, f"run-{number}", "receipt.json", b"{}")
    return lakehouse


def now(lakehouse: Lakehouse) -> list[tuple[str, float]]:
    rows = read_current(list_parts(lakehouse, GROUP), GROUP, ["symbol", "timestamp", "RSI"])
    return list(zip(rows["symbol"].to_pylist(), rows["RSI"].to_pylist(), strict=True))


def test_what_is_appended_is_listed_read_and_in_the_ledger(written: Lakehouse):
    parts = list_parts(written, GROUP)
    assert [part.key for part in parts] == [f"{FOLDER}/part-{n}.parquet" for n in range(3)]
    assert list_parts(written, GROUP, DAY + timedelta(days=1)) == []
    assert str(parts[0]) == f"{written}/{FOLDER}/part-0.parquet"
    assert read_part(parts[0], GROUP, ["symbol"])["symbol"].to_pylist() == ["A:A", "B:B"]
    assert now(written) == [("A:A", 2.0), ("B:B", 0.0), ("C:C", 1.0)]
    assert newest_known(written, GROUP, EVENING + 9 * HOUR, {"A:A"})["A:A"].created == (
        EVENING + 2 * HOUR
    )
    for number, part in enumerate(parts):
        (entry,) = read_ledger(written, f"run-{number}")
        assert (entry.part, entry.sha256, entry.confirmed) == (part.key, part.sha256(), True)
        assert part.size() > 0
        assert inspect_part(written, GROUP, part, Ledger.read(written)).faults == ()
    assert check_stored(written, GROUP) == []
    assert list(foreign_files(written, [GROUP, OHLCV_1D], run_ids(written))) == []


def test_a_run_has_its_files(written: Lakehouse):
    assert run_ids(written) == ["run-2", "run-1", "run-0"]
    ledger, receipt = files_of_run(written, "run-1")
    assert (ledger.name, receipt.name, receipt.read()) == ("files.jsonl", "receipt.json", b"{}")
    write_run_file(written, "run-1", "receipt.json", b'{"again": true}')
    assert receipt.read() == b'{"again": true}'
    assert files_of_run(written, "run-9") == []
    remove_runs(written, ["run-0", "run-2"])
    assert (run_ids(written), written.staged()) == (["run-1"], [])


def test_merged_parts_are_one_with_all_versions_of_all_rows(written: Lakehouse):
    before = now(written)
    with lakehouse_lock(written, "run-3"):
        merged = merge_parts(written, GROUP, DAY, Ledger.read(written), "run-3")
    (part,) = list_parts(written, GROUP)
    assert (part.key, part.number, merged.part, merged.rows) == (part.key, 3, part.key, 4)
    assert merged.replaced == tuple(f"{FOLDER}/part-{n}.parquet" for n in range(3))
    assert written.names(FOLDER) == ["part-3.parquet"]
    assert now(written) == before
    ledger = Ledger.read(written)
    assert inspect_part(written, GROUP, part, ledger).faults == ()
    assert ledger.replaced({part.key}) == {*merged.replaced}
    assert written.staged() == []


def test_readers_leave_out_what_a_merge_that_was_killed_has_not_removed(
    written: Lakehouse, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        """The run is gone, and nothing of it runs on."""

    def kill(*_: object) -> None:
        raise Killed

    before = now(written)
    with monkeypatch.context() as patch:
        patch.setattr(type(written), "remove", kill)
        with pytest.raises(Killed), written.lock("run-3"):
            merge_parts(written, GROUP, DAY, Ledger.read(written), "run-3")
    assert [part.number for part in list_parts(written, GROUP)] == [3]
    assert [part.number for part in replaced_parts(written, GROUP)] == [0, 1, 2]
    assert now(written) == before
    with lakehouse_lock(written, "run-4"):
        assert replaced_parts(written, GROUP) == []
        assert written.staged() == []
    assert now(written) == before


def test_a_number_that_somebody_takes_meanwhile_is_not_used_twice(
    written: Lakehouse, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ingestion.lakehouse.writer.part_numbers", lambda names: [])
    rows = technicals(["D:D"], EVENING)
    assert append_part(written, GROUP, rows, "run-3").key == f"{FOLDER}/part-3.parquet"
    assert now(written)[-1][0] == "D:D"
    assert [entry.confirmed for entry in read_ledger(written, "run-3")] == [False] * 3 + [True]


def test_a_second_writer_is_refused_and_a_look_is_not(lakehouse: Lakehouse):
    with lakehouse_lock(lakehouse, "one"):
        assert lakehouse.is_writing("one")
        assert (lakehouse.holder() or "").startswith("run one")
        assert not lakehouse.is_writing("two")
        with pytest.raises(LakehouseLocked, match="one"), lakehouse_lock(lakehouse, "two"):
            pass
    assert not lakehouse.is_writing("one")
    assert lakehouse.holder() is None


def test_what_is_gone_damaged_or_foreign_is_told_apart(written: Lakehouse):
    first, second, _ = list_parts(written, GROUP)
    written.put(first.key, b"PAR1")
    with pytest.raises(CorruptPart, match=f"{first} cannot be read"):
        read_part(first, GROUP)
    written.remove(FOLDER, ["part-1.parquet"])
    assert not second.exists()
    with pytest.raises(FileNotFoundError):
        read_part(second, GROUP)
    written.put("notes/mine.txt", b"x")
    written.put(f"{FOLDER}/_SUCCESS", b"")
    assert list(foreign_files(written, [GROUP], run_ids(written))) == [
        f"{FOLDER}/_SUCCESS",
        "notes",
    ]
    assert written.key_of(str(first)) == written.key_of(first.key) == first.key
    for no_key in (str(written), ".", "./", "/", "/elsewhere/part-0.parquet"):
        assert written.key_of(no_key) is None, no_key
    assert written.key_of(f"./{first.key}") == first.key
    assert written.exists(f"{FOLDER}/")


def test_a_column_that_would_break_stored_parts_is_refused(written: Lakehouse):
    from dataclasses import replace

    fewer = replace(GROUP, features=GROUP.features[1:])
    (why,) = check_stored(written, fewer)
    assert f"{GROUP.features[0].name} is stored, and not declared" in why
    rows = technicals(["E:E"], EVENING).drop_columns([GROUP.features[0].name])
    with pytest.raises(InputError, match="Nothing was written"):
        append_part(written, fewer, rows, "run-5")
