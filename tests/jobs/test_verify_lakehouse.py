from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.catalog import Dataset
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.lakehouse import (
    Lakehouse,
    append_part,
    by_date,
    list_parts,
    open_lakehouse,
    write_run_file,
)
from ingestion.lakehouse.compact import merge_parts
from ingestion.lakehouse.ledger import Entry, Ledger, announce
from ingestion.project import Project
from ingestion.runs import missing_files as losses
from tests.declared import LOCAL_1D
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.in_a_bucket import placed
from tests.lakehouse.technicals import EVENING, technicals

FRIDAY = f"{GROUP.storage}/date=2026-01-16"
FIRST = f"{FRIDAY}/part-0.parquet"
LAST = f"{FRIDAY}/part-1.parquet"
NAMES = ["A:A", "B:B", "C:C"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two parts of Friday, one of Saturday."""
    root = placed(tmp_path / "lakehouse")
    append_part(open_lakehouse(root), GROUP, technicals(NAMES), "run-1")
    later = technicals(NAMES, EVENING, EVENING + timedelta(hours=1))
    append_part(open_lakehouse(root), GROUP, later, "run-2")
    append_part(
        open_lakehouse(root), GROUP, technicals(NAMES, EVENING + timedelta(days=1)), "run-3"
    )
    return root


def faults(root: Path) -> dict[str, str]:
    """The reasons by file."""
    report = check_lakehouse(Project(root, root, "https://scanner.invalid"))
    reasons: dict[str, str] = {}
    for fault in report.faults:
        reasons[fault.file] = "; ".join(filter(None, (reasons.get(fault.file), fault.reason)))
    return reasons


def test_a_sound_lakehouse_holds(root: Path):
    report = check_lakehouse(Project(root, root, "https://scanner.invalid"))
    assert report.faults == []
    assert (report.parts, report.rows, report.not_recorded, report.unpublished) == (3, 9, 0, 0)


def test_a_lakehouse_that_is_not_there_holds(tmp_path: Path):
    assert faults(tmp_path / "none") == {}


def test_parts_from_before_the_ledgers_are_counted_and_hold(root: Path):
    shutil.rmtree(root / "_runs")
    report = check_lakehouse(Project(root, root, "https://scanner.invalid"))
    assert report.faults == []
    assert report.not_recorded == 3


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"<html>" + content,
        lambda content: b"PAR1",
    ],
    ids=["empty", "truncated by a byte", "half", "something in front", "magic alone"],
)
@pytest.mark.parametrize("recorded", [True, False])
def test_a_part_that_cannot_be_read_is_named(root: Path, change, recorded: bool):
    if not recorded:
        shutil.rmtree(root / "_runs")
    damage(root / FIRST, change)
    found = faults(root)
    assert list(found) == [FIRST]
    assert "cannot be read" in found[FIRST]


def test_any_changed_byte_is_found(root: Path):
    content = (root / FIRST).read_bytes()
    for at in range(0, len(content), 97):
        (root / FIRST).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert FIRST in faults(root), at


def write(root: Path, rows: pa.Table, path: str = LAST, **metadata: str) -> None:
    """Write a part by hand, as if its run had recorded none."""
    shutil.rmtree(root / "_runs", ignore_errors=True)
    told = {"tvfeast.run_id": "hand", "tvfeast.schema_version": "1", **metadata}
    (root / path).parent.mkdir(exist_ok=True, parents=True)
    pq.write_table(rows.replace_schema_metadata(told), root / path)


def column(rows: pa.Table, name: str, values: list) -> pa.Table:
    field = rows.schema.field(name)
    return rows.set_column(rows.column_names.index(name), name, pa.array(values, field.type))


SOUND = technicals(NAMES, EVENING, EVENING + timedelta(hours=1))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (column(SOUND, "RSI", [1.0, float("nan"), 2.0]), "1 NaN or infinite values in RSI"),
        (column(SOUND, "AO", [float("inf"), -float("inf"), 2.0]), "2 NaN or infinite values in AO"),
        (column(SOUND, "created_timestamp", [None, EVENING, EVENING]), "1 nulls in created"),
        (SOUND.take([1, 0, 2]), "not sorted by symbol"),
        (pa.concat_tables([SOUND.slice(0, 1), SOUND]), "more than once from one run"),
        (SOUND.drop_columns(["created_timestamp"]), "created_timestamp is missing"),
        (SOUND.append_column("mine", pa.array([1, 2, 3])), "mine is stored, and not declared"),
        (SOUND.select(SOUND.column_names[::-1]), "in another order"),
        (
            SOUND.set_column(5, "RSI", pa.array([1.0, 2.0, 3.0], pa.float32())),
            "RSI is stored as float and declared as double",
        ),
        (SOUND.slice(0, 0), "has no rows"),
        (technicals(NAMES, EVENING + timedelta(hours=3)), "not of 2026-01-16"),
        (column(SOUND, "timestamp", [1, 2, 3]), "timestamp and event_timestamp disagree"),
        (technicals(NAMES), "rows that are there twice"),
    ],
)
def test_a_part_that_breaks_the_contract_is_named_with_what_it_breaks(
    root: Path, rows: pa.Table, reason: str
):
    write(root, rows)
    found = faults(root)
    assert list(found) == [LAST]
    assert reason in found[LAST]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"tvfeast.run_id": "../up"}, "does not say which run"),
        ({"tvfeast.columns": "{}"}, "differs from its own record of its columns"),
        ({"tvfeast.columns": "[1]"}, "names no columns that this version knows"),
        ({"tvfeast.origins": "[]"}, "which run its rows came from"),
        ({"tvfeast.origins": "[]", "tvfeast.origin_of_row": "eJwDAAAAAAE="}, "its rows came from"),
    ],
)
def test_a_part_that_does_not_say_what_it_is_is_named(root: Path, metadata, reason: str):
    write(root, SOUND, **metadata)
    assert reason in faults(root)[LAST]


def test_rows_of_the_day_before_are_named(root: Path):
    (root / LAST).unlink()
    rows = technicals(NAMES, EVENING - timedelta(days=1))
    write(root, rows)
    assert "not of 2026-01-16" in faults(root)[LAST]


@pytest.mark.parametrize(
    "name",
    [
        *("notes.txt", "other/x.parquet", "features/mine/part-0.parquet"),
        *(f"{GROUP.storage}/part-0.parquet", f"{GROUP.storage}/date=2026-02-31/part-0.parquet"),
        *(f"{FRIDAY}/{name}" for name in ("part-01.parquet", ".part-2.parquet", "x", "part-3")),
    ],
)
def test_what_is_not_the_lakehouses_is_named(root: Path, name: str):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / FIRST, root / name)
    (named,) = faults(root)
    assert name == named or name.startswith(f"{named}/")


def test_a_part_deleted_by_hand_is_named(root: Path):
    (root / FIRST).unlink()
    found = faults(root)
    assert list(found) == [FIRST]
    assert "run run-1 wrote it" in found[FIRST]


def test_a_partition_deleted_by_hand_is_named_part_by_part(root: Path):
    shutil.rmtree(root / FRIDAY)
    assert list(faults(root)) == [FIRST, LAST]


def test_a_deleted_part_is_named_even_if_another_run_took_its_number(root: Path):
    (root / LAST).unlink()
    rows = technicals(NAMES, EVENING, EVENING + timedelta(hours=2))
    append_part(open_lakehouse(root), GROUP, rows, "run-4")
    found = faults(root)
    assert list(found) == [LAST]
    assert "run run-2 wrote it" in found[LAST]


def test_a_part_that_was_announced_and_never_appeared_is_no_fault(root: Path):
    announce(open_lakehouse(root), Entry("killed", f"{FRIDAY}/part-2.parquet", "00" * 32, 3))
    report = check_lakehouse(Project(root, root, "https://scanner.invalid"))
    assert (report.faults, report.unpublished) == ([], 1)
    rows = technicals(NAMES, EVENING, EVENING + timedelta(hours=2))
    append_part(open_lakehouse(root), GROUP, rows, "run-4")  # under the same number
    assert faults(root) == {}


def test_a_part_that_was_put_elsewhere_is_named(root: Path):
    (root / LAST).rename(root / FRIDAY / "part-7.parquet")
    found = faults(root)
    assert set(found) == {LAST, f"{FRIDAY}/part-7.parquet"}
    assert "did not write it here" in found[f"{FRIDAY}/part-7.parquet"]


def test_a_part_replaced_by_another_sound_one_is_named(root: Path):
    shutil.copy(root / FIRST, root / LAST)
    assert "hash differs" in faults(root)[LAST]


def test_merged_parts_hold_and_those_that_they_replace_are_not_missing(root: Path):
    for turn in range(2):
        merge_parts(
            open_lakehouse(root),
            GROUP,
            EVENING.date(),
            Ledger.read(open_lakehouse(root)),
            f"merge-{turn}",
        )
        report = check_lakehouse(Project(root, root, "https://scanner.invalid"))
        assert report.faults == []
        assert report.rows == 9 + turn * 3
        assert report.replaced == 2 + turn * 2
        late = technicals(NAMES, EVENING, EVENING + timedelta(hours=2 + turn))
        append_part(open_lakehouse(root), GROUP, late, f"late-{turn}")
    merged = root / FRIDAY / "part-4.parquet"
    merged.unlink()
    assert list(faults(root)) == [f"{FRIDAY}/part-4.parquet"]


def test_parts_that_are_merged_while_they_are_looked_for_are_not_missing(
    tmp_path: Path, monkeypatch
):
    """A compaction of many dates goes on, a date at each look into the partitions."""
    days = range(5)
    for day, minute in itertools.product(days, range(2)):
        event = EVENING + timedelta(days=day, minutes=minute)
        append_part(
            open_lakehouse(placed(tmp_path)),
            GROUP,
            technicals(NAMES, event, event),
            f"run-{day}-{minute}",
        )
    listed, merged = losses.list_parts, []

    def listed_after_a_merge(lakehouse: Lakehouse, dataset: Dataset):
        parts = by_date(listed(lakehouse, dataset))
        for day, of_day in parts.items():
            if len(of_day) > 1:
                other = open_lakehouse(placed(tmp_path))  # as another process has it
                merge_parts(other, dataset, day, Ledger.read(other), "merge")
                merged.append(day)
                break
        return listed(lakehouse, dataset)

    monkeypatch.setattr(losses, "list_parts", listed_after_a_merge)
    for count in range(1, 4):
        assert faults(tmp_path) == {}
        assert len(merged) == count
    list_parts(open_lakehouse(placed(tmp_path)), GROUP)[0].path.unlink()
    assert len(faults(tmp_path)) == 1


def test_a_merged_part_whose_rows_changed_their_origin_is_named(root: Path):
    merged = merge_parts(
        open_lakehouse(root), GROUP, EVENING.date(), Ledger.read(open_lakehouse(root)), "merge"
    )
    shutil.rmtree(root / "_runs")
    table = pq.ParquetFile(root / merged.part).read()
    pq.write_table(table.slice(1), root / merged.part)
    (reason,) = faults(root).values()
    assert "which run its rows came from" in reason


@pytest.mark.parametrize(
    ("receipt", "reason"),
    [
        ({"run_id": "run-1", "fetched": 3, "verdict": "publish"}, None),
        ({"run_id": "run-1", "fetched": 4, "verdict": "publish"}, "4 rows were fetched"),
        ({"run_id": "run-1", "fetched": 3, "verdict": "refuse"}, "nothing was published"),
    ],
)
def test_a_snapshots_receipt_is_held_against_its_rows(root: Path, receipt, reason: str | None):
    name = "feature_ingest.tv_technicals_1d.json"
    write_run_file(open_lakehouse(root), "run-1", name, json.dumps(receipt).encode())
    found = faults(root)
    assert list(found) == ([f"_runs/run-1/{name}"] if reason else [])
    assert reason is None or reason in found[f"_runs/run-1/{name}"]


def test_a_receipt_of_a_run_that_died_before_it_published_holds(root: Path):
    content = json.dumps({"run_id": "dead", "fetched": 3, "verdict": "publish"}).encode()
    write_run_file(open_lakehouse(root), "dead", "feature_ingest.tv_technicals_1d.json", content)
    assert faults(root) == {}


def test_rows_in_quarantine_count_as_fetched(root: Path):
    rows = pa.table({"dataset": [GROUP.name, LOCAL_1D.name], "symbol": ["D:D", "E:E"]})
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    write_run_file(
        open_lakehouse(root), "run-1", "quarantine.parquet", sink.getvalue().to_pybytes()
    )
    content = json.dumps({"run_id": "run-1", "fetched": 4, "verdict": "publish"}).encode()
    write_run_file(open_lakehouse(root), "run-1", "feature_ingest.tv_technicals_1d.json", content)
    assert faults(root) == {}


def told(part: str) -> bytes:
    parts = [{"part": part, "sha256": "y", "rows": 3}]
    return json.dumps({"run_id": "run-1", "parts": parts}).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "cannot be read"),
        (b"[]", "is no receipt"),
        (b'{"run_id": "run-2"}', "is of run run-2"),
        (b'{"parts": []}', "is no receipt"),
        (told("x"), "did not record"),
        (told(FIRST), "agree"),
    ],
)
def test_a_receipt_that_contradicts_itself_or_the_ledger_is_named(
    root: Path, content: bytes, reason: str
):
    write_run_file(open_lakehouse(root), "run-1", "some_job.json", content)
    assert reason in faults(root)["_runs/run-1/some_job.json"]


def test_a_loss_that_a_receipt_tells_of_is_named_though_its_ledger_lost_the_word(root: Path):
    ledger = root / "_runs" / "run-1" / "files.jsonl"
    record = json.loads(ledger.read_text().splitlines()[0])
    receipt = json.dumps({"run_id": "run-1", "parts": [record]}).encode()
    write_run_file(open_lakehouse(root), "run-1", "some_job.json", receipt)
    first, _, *of_the_receipt = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join((first, *of_the_receipt)))
    assert faults(root) == {}
    (root / FIRST).unlink()
    assert list(faults(root)) == [FIRST]


@pytest.mark.parametrize(
    "line",
    [b"garbage", b"\xff\xfe", b"[" * 100_000, b"[]", b"{}", b'{"part": 5}', b'{"confirmed": 5}'],
)
def test_a_line_of_a_ledger_that_no_run_wrote_is_named(root: Path, line: bytes):
    damage(root / "_runs/run-1/files.jsonl", lambda content: content + line + b"\n")
    found = faults(root)
    assert list(found) == ["_runs/run-1/files.jsonl"]
    assert "line 3" in found["_runs/run-1/files.jsonl"]


@pytest.mark.parametrize("length", [1, 5, 11, 40])
def test_a_line_that_a_full_disk_has_torn_is_no_fault(root: Path, length: int):
    damage(root / "_runs/run-1/files.jsonl", lambda content: content + content[:length] + b"\n")
    assert faults(root) == {}
