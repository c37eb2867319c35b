"""``compact`` killed at any instant: every row is there once, and the next run completes."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pyarrow as pa
import pytest

from ingestion.base.errors import InputError, LakehouseLocked
from ingestion.base.reading import reading_again
from ingestion.catalog import OHLCV_1D
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.lakehouse import append_part, lakehouse_lock, list_parts, open_lakehouse, read_file
from ingestion.lakehouse.parts import replaced_parts
from ingestion.project import Project
from tests.declared import LOCAL_1D
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.in_a_bucket import placed
from tests.lakehouse.technicals import EVENING, technicals

KILLS = int(os.environ.get("TVFEAST_KILLS", "15"))
DATES, PARTS, ROWS = 2, 3, 2 * 3 * 2
COLUMNS = ["symbol", "timestamp", "created_timestamp", "RSI", "AO"]
LATER = EVENING + timedelta(days=DATES)

# Imports once, then runs compact in a child of its own for each line of input: `root touch pause`.
# A child kills itself before its touch-th call of what touches the disk, which is also right after
# each link and each removal of a part; or it is killed after a pause.
SERVER = """
import os, signal, sys, tempfile, threading, time
from pathlib import Path
import pandas, pyarrow.acero  # which the look through a part imports
import pyarrow as pa
import pyarrow.parquet as pq
import shutil
from ingestion.jobs.audit.compact import compact
from ingestion.runs.run import code_version
from ingestion.project import Project

code_version()  # once for all children
with tempfile.TemporaryDirectory() as nothing:  # and so what a first compaction imports
    compact(Project(Path(nothing), Path(nothing), "https://scanner.invalid"))

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def deadly(function, left):
    def call(*arguments, **named):
        if left[0] == 0:
            die()
        left[0] -= 1
        return function(*arguments, **named)
    return call

def run(root, touch):
    left = [touch]
    for owner, name in (
        (os, "fsync"), (Path, "mkdir"), (Path, "replace"), (Path, "write_bytes"),
        (Path, "touch"), (Path, "hardlink_to"), (Path, "unlink"), (pq, "write_table"),
        (shutil, "rmtree"),
    ):
        setattr(owner, name, deadly(getattr(owner, name), left))
    compact(Project(Path(root), Path(root), "https://scanner.invalid"))

print("ready", flush=True)
for line in sys.stdin:
    root, touch, pause = line.split()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(root, int(touch))
            code = 0
        finally:
            os._exit(code)
    if float(pause):
        time.sleep(float(pause))
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

Kill = Callable[[Path, int, float], int]


@pytest.fixture(scope="module")
def killed() -> Iterator[Kill]:
    """Run compact on a lakehouse until it is killed; returns −9, or 0 if it came to its end."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env={"TVFEAST_NOW": LATER.isoformat(), "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"

        def kill(root: Path, touch: int, pause: float = 0) -> int:
            server.stdin.write(f"{root} {touch} {pause}\n")
            server.stdin.flush()
            return int(server.stdout.readline())

        yield kill
        server.stdin.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dates of three parts; some of the rows are restated."""
    root: Path = placed(tmp_path_factory.mktemp("template"))
    for day in range(DATES):
        for number in range(PARTS):
            event = EVENING + timedelta(days=day, minutes=number // 2)
            rows = technicals(["A:A", "B:B"], event, event + timedelta(minutes=5 + number))
            append_part(open_lakehouse(root), GROUP, rows, f"run-{day}-{number}")
    return root


@pytest.fixture
def settings(tmp_path: Path, template: Path, at) -> Project:
    at(LATER)
    root = placed(tmp_path / "lakehouse")
    shutil.copytree(template, root)
    return Project(tmp_path, root, "https://scanner.invalid")


def rows_of(root: Path) -> Counter[tuple]:
    """Count the rows, each told by its key, its version and its values."""

    def read() -> Counter[tuple]:
        tables = [read_file(part, COLUMNS) for part in list_parts(open_lakehouse(root), GROUP)]
        return Counter(zip(*pa.concat_tables(tables).to_pydict().values(), strict=True))

    return reading_again(read)


class Reader:
    """Reads all the time; each answer must be the same."""

    def __init__(self, root: Path, expected: Counter[tuple]) -> None:
        self.answers = 0
        self.wrong: list[object] = []
        self._stop = Event()
        self._thread = Thread(target=self._run, args=(root, expected))
        self._thread.start()

    def _run(self, root: Path, expected: Counter[tuple]) -> None:
        while not self._stop.wait(0.01) and not self.wrong:
            try:
                found: object = rows_of(root)
            except Exception as error:  # noqa: BLE001 - told by the test
                found = error
            self.answers += 1
            if found != expected:
                self.wrong.append(found)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        assert self.answers
        assert not self.wrong


def survive(kill: Callable[[], int], settings: Project) -> int:
    """Kill a compaction, look, complete it, and look again; readers look all the time."""
    root = settings.lakehouse_at
    expected = rows_of(root)
    assert expected.total() == ROWS
    reader = Reader(root, expected)
    try:
        code = kill()
        report = check_lakehouse(settings)
        assert (report.faults, report.rows) == ([], ROWS)
        left = replaced_parts(open_lakehouse(root), GROUP)
        assert [word.split()[0] for word in report.warnings if "unfinished" in word] == [
            part.path.relative_to(root).as_posix() for part in left
        ]
        compact(settings)
        assert len(list_parts(open_lakehouse(root), GROUP)) == DATES
        report = check_lakehouse(settings)
        assert (report.faults, report.rows) == ([], ROWS)
    finally:
        reader.stop()
    assert rows_of(root) == expected
    return code


@pytest.mark.usefixtures("no_power_cuts")  # here: who is killed waits for the disk
def test_a_kill_before_each_touch_of_the_disk_loses_nothing_and_doubles_nothing(
    template: Path, settings: Project, tmp_path: Path, killed: Kill
):
    codes = []
    while 0 not in codes:
        root = tmp_path / str(len(codes))
        shutil.copytree(template, root)
        at_touch = replace(settings, lakehouse_at=root)
        codes.append(survive(lambda r=root: killed(r, len(codes), 0), at_touch))
    assert set(codes[:-1]) == {-9}
    assert len(codes) > 15 * DATES, "compact was to touch the disk more often"


@pytest.mark.usefixtures("no_power_cuts")
def test_kills_at_random_lose_nothing_and_double_nothing(
    template: Path, settings: Project, tmp_path: Path, killed: Kill
):
    instants = random.Random(20260116)
    codes = []
    while codes.count(-9) < KILLS:
        root = tmp_path / str(len(codes))
        shutil.copytree(template, root)
        pause = instants.uniform(0.005, 0.15)
        at_random = replace(settings, lakehouse_at=root)
        codes.append(survive(lambda r=root, p=pause: killed(r, 1_000_000, p), at_random))
        shutil.rmtree(root)


def test_each_date_becomes_one_part_and_a_second_run_finds_nothing(settings: Project):
    before = rows_of(settings.lakehouse_at)
    result = compact(settings)
    assert (len(result.merged), result.replaced, result.rows) == (DATES, DATES * PARTS, ROWS)
    assert result.left == ()
    assert rows_of(settings.lakehouse_at) == before
    again = compact(settings)
    assert (again.merged, again.left) == ((), ())


def test_the_receipt_says_what_became_of_which_part(settings: Project):
    document = json.loads(compact(settings).receipt.path.read_text())
    assert document["request"] == {"before": LATER.date().isoformat()}
    assert [len(each["replaces"]) for each in document["merged"]] == [PARTS] * DATES
    assert [each["part"] for each in document["merged"]] == [
        each["part"] for each in document["parts"]
    ]


def test_only_dates_that_are_over_are_merged(settings: Project, at):
    at(EVENING + timedelta(days=1))
    compact(settings)
    numbers = [(part.date.day, part.number) for part in list_parts(settings.lakehouse, GROUP)]
    assert numbers == [(16, 3), *((17, number) for number in range(PARTS))]
    assert compact(settings, date(2026, 1, 16)).merged == ()
    with pytest.raises(InputError, match="only dates that are over"):
        compact(settings, date(2026, 1, 18))


def test_a_date_with_a_damaged_part_is_left_alone_and_the_others_are_merged(settings: Project):
    damaged = list_parts(settings.lakehouse, GROUP)[0].path
    damaged.write_bytes(b"PAR1")
    result = compact(settings)
    assert len(result.merged) == DATES - 1
    (reason,) = result.left
    assert str(damaged) in reason
    assert len(list_parts(settings.lakehouse, GROUP)) == PARTS + DATES - 1


def test_it_does_not_run_beside_another_run(settings: Project):
    with lakehouse_lock(settings.lakehouse, "other"), pytest.raises(LakehouseLocked):
        compact(settings)


def test_an_empty_lakehouse_has_nothing_to_merge(tmp_path: Path, at):
    at(datetime(2026, 1, 20, tzinfo=UTC))
    result = compact(Project(tmp_path, tmp_path / "none", "https://scanner.invalid"))
    assert result.merged == ()
    for dataset in (GROUP, LOCAL_1D, OHLCV_1D):
        assert list_parts(open_lakehouse(placed(tmp_path / "none")), dataset) == []
