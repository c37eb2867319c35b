from __future__ import annotations

import hashlib
import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from ingestion.lakehouse import LocalDisk, append_part, write_run_file
from ingestion.lakehouse.ledger import (
    Entry,
    Ledger,
    announce,
    confirm,
    read_ledger,
    read_run_ledger,
)
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.technicals import EVENING, technicals

PART = "features/tv_technicals_1d/date=2026-01-16/part-0.parquet"


def entry(run_id: str, part: str = PART, *replaces: str) -> Entry:
    return Entry(run_id, part, "ab" * 32, 3, replaces)


def test_a_part_is_recorded_with_the_hash_of_its_content(tmp_path: Path):
    part = append_part(LocalDisk(tmp_path), GROUP, technicals(["A:A", "B:B"]), "run-7")
    (recorded,) = read_ledger(LocalDisk(tmp_path), "run-7")
    assert recorded.part == PART
    assert recorded.sha256 == hashlib.sha256(part.path.read_bytes()).hexdigest()
    assert recorded.rows == 2
    assert recorded.confirmed


def test_a_part_is_announced_before_it_can_be_seen(tmp_path: Path, monkeypatch):
    def link(target: Path, staged: Path) -> None:
        (announced,) = read_ledger(LocalDisk(tmp_path), "run")
        assert tmp_path / announced.part == target
        assert announced.sha256 == hashlib.sha256(staged.read_bytes()).hexdigest()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "hardlink_to", link)
    with pytest.raises(KeyboardInterrupt):
        append_part(LocalDisk(tmp_path), GROUP, technicals(["A:A"]), "run")
    (announced,) = read_ledger(LocalDisk(tmp_path), "run")
    assert not announced.confirmed


def test_a_number_that_was_taken_at_the_last_moment_is_not_confirmed(tmp_path: Path, monkeypatch):
    append_part(LocalDisk(tmp_path), GROUP, technicals(["A:A"]), "run-1")
    monkeypatch.setattr("ingestion.lakehouse.writer.part_numbers", lambda folder: [])
    append_part(LocalDisk(tmp_path), GROUP, technicals(["B:B"]), "run-2")
    first, second = read_ledger(LocalDisk(tmp_path), "run-2")
    assert (first.part, first.confirmed) == (PART, False)
    assert (second.part, second.confirmed) == (PART.replace("part-0", "part-1"), True)


def test_the_parts_of_a_run_come_in_the_order_in_which_it_wrote_them(tmp_path: Path):
    for days in (2, 0, 1):
        append_part(
            LocalDisk(tmp_path), GROUP, technicals(["A:A"], EVENING + timedelta(days)), "run"
        )
    dates = [each.part.split("/")[-2] for each in read_ledger(LocalDisk(tmp_path), "run")]
    assert dates == ["date=2026-01-18", "date=2026-01-16", "date=2026-01-17"]


def test_a_torn_last_line_is_no_line_and_takes_no_other_along(tmp_path: Path):
    announce(LocalDisk(tmp_path), entry("run"))
    path = tmp_path / "_runs" / "run" / "files.jsonl"
    whole = path.read_bytes()
    for end in range(len(whole) - 2):
        path.write_bytes(whole[:end])
        assert read_ledger(LocalDisk(tmp_path), "run") == []
        announce(LocalDisk(tmp_path), entry("run"))
        assert read_ledger(LocalDisk(tmp_path), "run") == [entry("run")]


@pytest.mark.parametrize(
    "line", ["[]", "7", '{"confirmed": "none"}', '{"part": "x"}', '{"confirmed": []}', "\ufffd"]
)
def test_a_line_that_says_nothing_is_left_out(tmp_path: Path, line: str):
    announce(LocalDisk(tmp_path), entry("run"))
    with (tmp_path / "_runs" / "run" / "files.jsonl").open("a") as file:
        file.write(f"{line}\n")
    assert read_ledger(LocalDisk(tmp_path), "run") == [entry("run")]


def test_a_run_without_a_ledger_wrote_nothing_that_is_known(tmp_path: Path):
    assert read_ledger(LocalDisk(tmp_path), "run") == []
    assert list(Ledger.read(LocalDisk(tmp_path))) == []


def test_a_merged_part_takes_the_place_of_others_once_it_is_there(tmp_path: Path):
    merged = entry("late", "p/part-2.parquet", "p/part-0.parquet", "p/part-1.parquet")
    again = entry("later", "p/part-3.parquet", "p/part-2.parquet")
    for each in (merged, again):
        announce(LocalDisk(tmp_path), each)
    assert Ledger.read(LocalDisk(tmp_path)).replaced(set()) == set()
    assert Ledger.read(LocalDisk(tmp_path)).replaced({merged.part}) == set(merged.replaces)
    everything = {*merged.replaces, merged.part}
    assert Ledger.read(LocalDisk(tmp_path)).replaced({again.part}) == everything
    confirm(LocalDisk(tmp_path), again)
    assert Ledger.read(LocalDisk(tmp_path)).replaced(set()) == everything


def test_a_merged_part_is_no_news_if_all_that_it_was_merged_from_is_known(tmp_path: Path):
    merged = entry("late", "p/part-2.parquet", "p/part-0.parquet", "p/part-1.parquet")
    again = entry("later", "p/part-4.parquet", "p/part-2.parquet", "p/part-3.parquet")
    ledger = Ledger([merged, again])
    parts = [f"p/part-{number}.parquet" for number in range(5)]
    assert ledger.is_among(parts[4], {parts[4]})
    assert ledger.is_among(parts[4], {parts[0], parts[1], parts[3]})
    assert ledger.is_among(parts[4], {parts[2], parts[3]})
    assert not ledger.is_among(parts[4], {parts[0], parts[3]})
    assert not ledger.is_among(parts[0], {parts[1]})


def files(root: Path) -> list[tuple[str, bool]]:
    """What a run recorded of its receipt: content, and whether it was seen."""
    of = {hashlib.sha256(content).hexdigest(): content.decode() for content in (b"1", b"2", b"3")}
    (entries,) = read_run_ledger(LocalDisk(root), "run").files.values()
    return [(of[entry.sha256], entry.confirmed) for entry in entries]


def test_a_receipt_is_recorded_with_the_hash_of_what_was_written_last(tmp_path: Path):
    for content in (b"1", b"2"):
        write_run_file(LocalDisk(tmp_path), "run", "receipt.json", content)
    assert files(tmp_path) == [("2", True)]
    assert list(read_run_ledger(LocalDisk(tmp_path), "run").files) == ["_runs/run/receipt.json"]
    assert read_ledger(LocalDisk(tmp_path), "run") == []


def test_a_receipt_is_announced_before_it_changes(tmp_path: Path, monkeypatch):
    write_run_file(LocalDisk(tmp_path), "run", "receipt.json", b"1")

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    replace = Path.replace
    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_run_file(LocalDisk(tmp_path), "run", "receipt.json", b"2")
    assert files(tmp_path) == [("1", True), ("2", False)]
    monkeypatch.setattr(Path, "replace", replace)
    write_run_file(LocalDisk(tmp_path), "run", "receipt.json", b"3")
    assert files(tmp_path) == [("3", True)]


def test_a_line_that_records_no_file_of_its_run_is_left_out(tmp_path: Path):
    write_run_file(LocalDisk(tmp_path), "run", "receipt.json", b"1")
    with (tmp_path / "_runs" / "run" / "files.jsonl").open("a") as file:
        for name in ('"_runs/other/receipt.json"', "[]", "7", "null"):
            file.write(f'{{"file": {name}, "sha256": "ab"}}\n')
        file.write('{"confirmed": []}\n{"file": "_runs/run/receipt.json"}\n')
    assert files(tmp_path) == [("1", True)]


def test_ledgers_and_receipts_are_the_users_own(tmp_path: Path):
    announce(LocalDisk(tmp_path), entry("run"))
    write_run_file(LocalDisk(tmp_path), "run", "receipt.json", json.dumps({}).encode())
    for path in (tmp_path / "_runs" / "run").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
