"""What daily commands read does not grow with the number of past runs."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.audit.prune import prune
from ingestion.jobs.audit.status import status
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.ingest.unfinished_imports import half_imports, whole_imports
from ingestion.jobs.serve.loads import last_loads, unpromoted
from ingestion.lakehouse import LocalDisk, lakehouse_lock, local_disk, run_ids, write_run_file
from ingestion.lakehouse.ledger import Entry, announce
from ingestion.project import Project
from ingestion.runs.run import new_run_id
from tests.jobs.test_prune import Clock, History
from tests.runs.test_records import QUIET_NS

_opened: list[str] | None = None


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event in ("open", "os.listdir") and "_runs/" in str(arguments[0]):
        _opened.append(str(arguments[0]))


sys.addaudithook(_note)


def opened(work: Callable[[], object]) -> int:
    """How many files and folders of runs some work opens."""
    global _opened
    _opened = []
    try:
        work()
        return len(_opened)
    finally:
        _opened = None


@pytest.fixture
def used(settings: Project, tmp_path: Path, at: Clock, no_power_cuts: None) -> Project:
    history = History(settings, tmp_path, at, random.Random(0))
    for job in ("history_of_bars", "snapshot", "flow", "local_features", "validate"):
        history.do(job)
    return settings


def add_past_runs(project: Project, number: int) -> None:
    """Put runs of last year beside the others: what a repeated flow leaves."""
    runs = project.lakehouse.root / "_runs"
    receipts = [path for path in sorted(runs.glob("*/*.json")) if "import" not in path.name]
    for old in range(number):
        run_id = f"20250101T{old // 60:02}{old % 60:02}00Z-000000abcd"
        (runs / run_id).mkdir()
        lines = []
        for path in receipts:
            said = json.loads(path.read_bytes()) | {"run_id": run_id, "parts": []}
            content = json.dumps(said).encode()
            (runs / run_id / path.name).write_bytes(content)
            key = f"_runs/{run_id}/{path.name}"
            lines += [{"file": key, "sha256": hashlib.sha256(content).hexdigest()}]
            lines += [{"confirmed": key}]
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (runs / run_id / "files.jsonl").write_text(text)


def test_daily_commands_open_as_many_files_after_any_number_of_runs(
    used: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(local_disk, "_LONG_AGO_NS", 3_600 * 10**9)  # no check keeps anything
    today = datetime.now(UTC).date()
    request = ExplainRequest("NASDAQ:AAPL", "RSI", online=False)
    commands: dict[str, Callable[[], object]] = {
        "status": lambda: status(used),
        "explain": lambda: explain(used, request),
        "loads": lambda: unpromoted(used, last_loads(used)),
        "verify --since": lambda: check_lakehouse(used, today),
    }
    add_past_runs(used, 2)
    before = {name: opened(work) for name, work in commands.items()}
    assert all(count > 0 for count in before.values())
    shutil.rmtree(used.lakehouse.root / "_runs" / "20250101T000000Z-000000abcd")
    shutil.rmtree(used.lakehouse.root / "_runs" / "20250101T000100Z-000000abcd")
    add_past_runs(used, 60)
    assert {name: opened(work) for name, work in commands.items()} == before
    assert opened(lambda: check_lakehouse(used, anew=True)) > before["verify --since"] + 60


def test_of_past_imports_the_newest_alone_is_read(used: Project):
    def read_bars() -> None:
        with whole_imports(used.lakehouse):
            assert half_imports(used.lakehouse) == []

    def add_past_imports(number: int) -> None:
        request = {"files": ["bars.csv"], "splits": None}
        for old in range(number):
            run_id = f"20250101T{old // 60:02}{old % 60:02}00Z-000000abcd"
            told = {"run_id": run_id, "request": request, "verdict": "publish"}
            content = json.dumps(told | {"whole_before": old > 0}).encode()
            write_run_file(used.lakehouse, run_id, "import_bars.json", content)
            announce(used.lakehouse, Entry(run_id, f"ohlcv_1d/part-{old}.parquet", "00", 1))

    def lock() -> None:  # as the next flow does
        with lakehouse_lock(used.lakehouse, new_run_id()):
            pass

    for imported in used.lakehouse.root.glob("_runs/*/import_bars.json"):
        shutil.rmtree(imported.parent)  # its bars stay; it does not matter here
    add_past_imports(60)
    lock()
    before = opened(read_bars)
    assert 0 < before < 10
    add_past_imports(120)
    lock()
    assert opened(read_bars) == before


def test_past_runs_are_asked_once_for_unfinished_imports_and_rows_in_quarantine(
    used: Project, monkeypatch: pytest.MonkeyPatch
):
    add_past_runs(used, 60)
    asked: Counter[str] = Counter()
    having = LocalDisk.having

    def counted(lakehouse: LocalDisk, folders: Iterable[str], name: str) -> Iterator[str]:
        def each() -> Iterator[str]:
            for folder in folders:
                asked[name] += 1
                yield folder

        return having(lakehouse, each(), name)

    monkeypatch.setattr(LocalDisk, "having", counted)
    status(used)
    # Of `data-ingest` there is no receipt here at all; only a run of imports may have further ones.
    wanted = {"import_bars.json", "data_ingest.json"}
    assert {name for name, count in asked.items() if count > 20} == wanted
    asked.clear()
    explain(used, ExplainRequest("NASDAQ:AAPL", "tv_technicals_1d:RSI", online=False))
    assert {name for name, count in asked.items() if count > 20} == {"quarantine.parquet"}
    with lakehouse_lock(used.lakehouse, new_run_id()):  # as the next flow does
        pass
    asked.clear()
    status(used)
    explain(used, ExplainRequest("NASDAQ:AAPL", "tv_technicals_1d:RSI", online=False))
    assert max(asked.values()) < 20, "runs of today"


def test_a_check_opens_no_file_of_a_run_that_is_as_an_earlier_one_has_left_it(
    used: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(local_disk, "_LONG_AGO_NS", QUIET_NS)
    before = check_lakehouse(used)
    files = opened(lambda: check_lakehouse(used))
    add_past_runs(used, 60)
    time.sleep(2 * QUIET_NS / 1e9)
    after = check_lakehouse(used)
    assert (after.unread, after.runs) == (before.runs, before.runs + 60)
    assert opened(lambda: check_lakehouse(used)) <= files
    assert opened(lambda: check_lakehouse(used, anew=True)) > files + 60
    assert after.faults == before.faults == []


def test_a_check_since_a_date_finds_what_is_newer_and_a_full_one_everything(used: Project):
    add_past_runs(used, 3)
    today = datetime.now(UTC).date()
    root, newest = used.lakehouse.root, run_ids(used.lakehouse)[0]
    (root / f"_runs/{newest}/validate.json").write_text("{}")
    (root / "_runs/20250101T000000Z-000000abcd/validate.json").write_text("{}")
    (root / "_runs/20250101T000100Z-000000abcd/validate.json").unlink()
    since = {fault.file for fault in check_lakehouse(used, today).faults}
    assert since == {f"_runs/{newest}/validate.json"}
    everything = {fault.file for fault in check_lakehouse(used).faults}
    assert everything == since | {
        f"_runs/20250101T000{number}00Z-000000abcd/validate.json" for number in (0, 1)
    }
    recent = check_lakehouse(used, date(2021, 4, 12))
    assert 0 < recent.parts < check_lakehouse(used).parts


def test_a_prune_takes_the_past_runs_away(used: Project):
    add_past_runs(used, 5)
    assert len(prune(used).retired) == 4, "the fifth has the newest receipts of jobs of one run"
