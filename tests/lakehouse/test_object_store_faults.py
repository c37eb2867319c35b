"""What a store and its machines do to a lakehouse: races, clocks, a full disk, kills, new keys.

The races are tried on moto, the rest on SeaweedFS, a server with a disk (``make test-scale``).
``make test-races`` races 1,000 times.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ingestion.base.errors import LakehouseLocked, StoreFailed
from ingestion.base.objects import Objects
from ingestion.base.settings import StoreUrl
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.lakehouse import (
    append_part,
    lakehouse_lock,
    list_parts,
    read_file,
    run_ids,
    write_run_file,
)
from ingestion.lakehouse.object_store import ObjectStore
from ingestion.lakehouse.run_files import remove_runs
from ingestion.project import Project
from tests.conftest import MONDAY
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.s3 import BUCKET, SERVER, environment
from tests.lakehouse.seaweedfs import SeaweedFS
from tests.lakehouse.technicals import EVENING, technicals
from tests.processes import KILLED, Command, Ended, Forge, Running, project_of

RACES = int(os.environ.get("TVFEAST_RACES", "10"))
HOURLY = timedelta(hours=1)
SECRET = "another-made-up-secret"
FAKETIME = shutil.which("faketime") or "faketime"
scale = pytest.mark.skipif(
    "TVFEAST_SCALE" not in os.environ or not SERVER.exists(),
    reason="make test-scale runs it: servers that take seconds to start",
)


def symbols(lakehouse: ObjectStore) -> list[str]:
    parts = list_parts(lakehouse, GROUP)
    return sorted(each for part in parts for each in read_file(part)["symbol"].to_pylist())


def write(lakehouse: ObjectStore, run_id: str, symbol: str) -> None:
    """Be a run that writes one part, and its receipt."""
    with lakehouse_lock(lakehouse, run_id):
        append_part(lakehouse, GROUP, technicals([symbol], EVENING), run_id)
        write_run_file(lakehouse, run_id, "receipt.json", json.dumps({"run_id": run_id}).encode())


def test_of_two_whole_writers_that_race_each_writes_all_or_is_refused(
    bucket: str, tmp_path: Path
) -> None:
    """Each time one of them, or both in turn; and never a row that nobody said was written."""
    said: list[str] = []
    chance = random.Random(17)
    for race in range(RACES):
        start = threading.Barrier(2)
        refused: list[Exception] = []
        before = len(said)

        def run(who: str, late: float, race=race, start=start, refused=refused) -> None:
            lakehouse, run_id = ObjectStore(bucket), f"{who}-{race:04}"
            start.wait()
            time.sleep(late)
            try:
                write(lakehouse, run_id, f"A:{who}{race:04}")
                said.append(f"A:{who}{race:04}")
            except LakehouseLocked as error:
                refused.append(error)

        late = chance.uniform(0, 0.1)
        threads = [
            threading.Thread(target=run, args=("ONE", 0.0)),
            threading.Thread(target=run, args=("TWO", late)),
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(said) - before + len(refused) == 2
        assert len(said) > before, refused
        if race % 50 == 49 or race == RACES - 1:
            _is_sound(bucket, said, tmp_path)


def _is_sound(bucket: str, said: list[str], folder: Path) -> None:
    """Compare what is there with what was said; then begin anew: many parts take long to list."""
    lakehouse = ObjectStore(bucket)
    assert symbols(lakehouse) == sorted(said)
    assert len(run_ids(lakehouse)) == len(said)
    parts = list_parts(lakehouse, GROUP)
    assert [part.number for part in parts] == [*range(len(parts))]
    report = check_lakehouse(Project(folder, StoreUrl(bucket), "https://scanner.invalid"))
    assert (report.faults, report.rows) == ([], len(said))
    with lakehouse_lock(lakehouse, "clean"):
        lakehouse.remove_folders([GROUP.storage])
        remove_runs(lakehouse, run_ids(lakehouse))
    said.clear()


WRITER = """
import sys
from ingestion.lakehouse.object_store import ObjectStore
from ingestion.base.errors import LakehouseLocked
from tests.lakehouse.test_object_store_faults import write
import threading, time
bucket, name, first, last = sys.argv[1:]
for number in range(int(first), int(last)):
    end = time.monotonic() + 60
    while True:
        try:
            write(ObjectStore(bucket, 2.0), f"{name}-{number}", f"A:{name}{number}")
            break
        except LakehouseLocked:
            assert time.monotonic() < end
            threading.Event().wait(0.05)  # of another clock than sleep's
"""


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    server = SeaweedFS(tmp_path_factory.mktemp("weed"))
    yield server
    server.kill()


@pytest.fixture
def prefix(weed: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    for name, value in environment(weed.address).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.name}"


@scale
@pytest.mark.skipif(not shutil.which("faketime"), reason="`faketime` sets a process's clock")
def test_writers_whose_clocks_are_ten_minutes_off_take_turns(prefix: str):
    """One of them is ahead, one behind: of the other, and of the server."""
    writers = [
        subprocess.Popen(
            [FAKETIME, "-f", off, sys.executable, "-c", WRITER, prefix, name, "0", "5"],
            env=os.environ | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, off in (("AHEAD", "+10m"), ("BEHIND", "-10m"))
    ]
    told = [each.communicate(timeout=120)[1] for each in writers]
    assert [each.returncode for each in writers] == [0, 0], told
    wanted = sorted(f"A:{name}{number}" for name in ("AHEAD", "BEHIND") for number in range(5))
    assert symbols(ObjectStore(prefix)) == wanted


@scale
@pytest.mark.skipif(not shutil.which("faketime"), reason="`faketime` sets a process's clock")
@pytest.mark.parametrize("off", ["+10m", "-10m"])
def test_a_lease_of_a_run_that_was_killed_lasts_as_long_whatever_the_next_clock_is(
    prefix: str, off: str
):
    with ObjectStore(prefix, 4.0).lock("killed"):  # as of a process that is gone
        pass
    lakehouse = ObjectStore(prefix, 4.0)
    with lakehouse.lock("killed"):
        assert lakehouse._lease is not None
        lakehouse._lease._ended.set()
        began = time.monotonic()
        subprocess.run(
            [FAKETIME, "-f", off, sys.executable, "-c", WRITER, prefix, "NEXT", "0", "1"],
            env=os.environ | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"},
            check=True,
            timeout=60,
        )
        assert 3.0 < time.monotonic() - began < 30
    assert symbols(ObjectStore(prefix)) == ["A:NEXT0"]


@scale
def test_a_store_whose_disk_is_full_loses_nothing_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server = SeaweedFS(tmp_path, volumes=7, volume_mb=1)
    try:
        for name, value in environment(server.address).items():
            monkeypatch.setenv(name, value)
        uri, said = f"s3://{BUCKET}/full", []
        ballast = Objects(f"s3://{BUCKET}/ballast", timedelta(seconds=2))
        chance = random.Random(1)

        def fill() -> None:
            for number in range(200):
                ballast.create(str(number), chance.randbytes(1 << 20))

        def write_until_it_fails() -> None:
            for number in range(100_000):
                write(lakehouse, f"run-{number}", f"A:{number}")
                said.append(f"A:{number}")

        with pytest.raises(StoreFailed, match=r"the store failed|did not answer"):
            fill()
        lakehouse = ObjectStore(uri, retry_for=timedelta(seconds=2))
        with pytest.raises((StoreFailed, LakehouseLocked)) as caught:
            write_until_it_fails()
        assert "\n" not in str(caught.value)
        assert symbols(ObjectStore(uri)) == sorted(said)
        server.kill()
        server.room(volumes=40)
        server.start()
        time.sleep(1)
        write(_when_free(uri), "after", "A:AFTER")
        assert set(symbols(ObjectStore(uri))) - {f"A:{len(said)}"} == {*said, "A:AFTER"}
        project = Project(tmp_path, StoreUrl(uri), "https://scanner.invalid")
        assert check_lakehouse(project).faults == []
    finally:
        server.kill()


def _when_free(uri: str) -> ObjectStore:
    """Return a lakehouse once the lease of a run that failed is over."""
    lakehouse, end = ObjectStore(uri), time.monotonic() + 60
    while lakehouse.holder() is not None:
        assert time.monotonic() < end
        time.sleep(1)
    return lakehouse


def short_lease() -> None:
    """Let a run that is killed keep the lease for a few seconds."""
    ObjectStore.__init__.__defaults__ = (3.0, *(ObjectStore.__init__.__defaults__ or ())[1:])


class Commands:
    """A project whose lakehouse is on the server, and what its commands have said."""

    def __init__(self, project: Project, prefix: str, forge: Forge, folder: Path) -> None:
        self.project = replace(project, lakehouse_at=StoreUrl(prefix))
        self._forge, self.said = forge, ""
        candidates = folder / "candidates.json"
        candidates.write_text(json.dumps([f"NASDAQ:{name}" for name in ("AAPL", "AMZN", "FB")]))
        scan = ("--candidates", candidates, "--backoff", "0.01")
        self.words: dict[str, tuple[object, ...]] = {
            "data-ingest": ("data-ingest", *scan),
            "feature-ingest": ("feature-ingest", *scan),
            "materialize": ("materialize",),
            "select": ("select", "--as-of", MONDAY.isoformat()),
            "status": ("status",),
        }

    def start(self, job: str, now: datetime = MONDAY) -> Running:
        aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        variables = project_of(self.project, now) | aws
        return self._forge.start(Command(*self.words[job]), variables, short_lease)

    def end(self, running: Running) -> Ended:
        ended = running.wait()
        self.said += ended.out + ended.err
        return ended

    def run(self, job: str, now: datetime = MONDAY) -> Ended:
        """Run a command, when nobody has the lease any more."""
        end = time.monotonic() + 90
        while (ended := self.end(self.start(job, now))).code == 5:
            assert time.monotonic() < end, ended.err
            time.sleep(0.5)
        return ended

    def rows(self) -> list[tuple[str, str]]:
        """Return what is stored, by dataset and symbol; each once for each row."""
        lakehouse, datasets = ObjectStore(self.project.lakehouse_at), self.project.catalog.datasets
        return sorted(
            (dataset.name, symbol)
            for dataset in datasets
            for part in list_parts(lakehouse, dataset)
            for symbol in read_file(part)["symbol"].to_pylist()
        )

    def is_sound(self) -> None:
        """Check all files, and that nobody wrote down who asks the store."""
        assert check_lakehouse(self.project).faults == []
        files = [each for each in self.project.folder.rglob("*") if each.is_file()]
        lakehouse = ObjectStore(self.project.lakehouse_at)
        said = [self.said.encode(), *(each.read_bytes() for each in files)]
        for key in lakehouse.files():
            with lakehouse.open(key) as file:
                said.append(file.read())
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            for secret in {os.environ[name], environment("")[name], SECRET}:
                assert not any(secret.encode() in each for each in said), secret


@pytest.fixture
def commands(settings: Project, prefix: str, forge: Forge, tmp_path: Path) -> Commands:
    return Commands(settings, prefix, forge, tmp_path)


EVENING_JOBS = ("data-ingest", "feature-ingest", "materialize", "select")


@scale
def test_a_server_that_is_killed_and_started_again_loses_nothing(
    commands: Commands, weed: SeaweedFS
):
    chance = random.Random(5)
    for job in EVENING_JOBS:
        running = commands.start(job)
        running.begin()
        running.sleep(chance.uniform(0.1, 1.5))
        weed.kill()
        time.sleep(1)
        weed.start()
        ended = commands.end(running)
        assert ended.code in (0, 2, 5), ended.err
        if ended.code:
            assert "Traceback" not in ended.err
            assert "no file is damaged" in ended.line or ended.code == 5, ended.err
            assert commands.run(job).code == 0
    stored = [("ohlcv_1d", 3), ("tv_technicals_1d", 3)]
    for name, count in stored:
        assert [each for each, _ in commands.rows()].count(name) == count, name
    commands.is_sound()


@scale
def test_a_run_that_is_killed_midway_is_simply_run_again(commands: Commands):
    chance = random.Random(6)
    for job in EVENING_JOBS:
        for _ in range(2):
            running = commands.start(job)
            running.begin()
            running.sleep(chance.uniform(0.05, 1.0))
            running.kill()
            assert commands.end(running).code in (0, KILLED)
        assert commands.run(job).code == 0
    assert [name for name, _ in commands.rows()].count("tv_technicals_1d") % 3 == 0
    commands.is_sound()


@scale
def test_keys_that_the_store_does_not_take_any_more_are_told_and_the_new_ones_go_on(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
):
    assert commands.run("feature-ingest").code == 0
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        for job in ("feature-ingest", "select", "status"):
            refused = commands.run(job)
            assert refused.code == 2, refused.err
            assert "refused this user" in refused.line
            assert "correct the credentials" in refused.line
    assert commands.run("materialize").code == 0
    commands.is_sound()
