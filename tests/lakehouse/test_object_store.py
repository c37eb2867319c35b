"""What an object store adds to a lakehouse: a lock that can be lost, and answers that fail."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ingestion.base.errors import LakehouseLocked, StoreFailed
from ingestion.base.objects import Objects
from ingestion.base.reading import reading_again
from ingestion.lakehouse import (
    append_part,
    files_of_run,
    lakehouse_lock,
    list_parts,
    read_part,
    run_ids,
    write_run_file,
)
from ingestion.lakehouse.compact import merge_parts
from ingestion.lakehouse.lease import KEY, Lease
from ingestion.lakehouse.ledger import Ledger
from ingestion.lakehouse.object_store import ObjectStore
from ingestion.lakehouse.run_files import remove_runs
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.flaky import flaky
from tests.lakehouse.technicals import EVENING, technicals

TTL_S = 1.0
SOON_S = 0.2
"""Of who does not renew it in time."""
FOLDER = f"{GROUP.storage}/date={EVENING.date()}"


def wait_until_over(ttl: float) -> None:
    """Wait until a lease that is not renewed is free: the store stamps in whole seconds."""
    time.sleep(math.floor(ttl + 1) + 1.1)


@contextmanager
def frozen(lakehouse: ObjectStore, run_id: str) -> Iterator[None]:
    """Have the lease as a process that does not run any more, and do not see that it is lost."""
    with lakehouse.lock(run_id):
        assert lakehouse._lease is not None
        lakehouse._lease._ended.set()
        lakehouse._lease.check = lambda: None  # type: ignore[method-assign]
        yield


def symbols(lakehouse: ObjectStore) -> list[str]:
    parts = list_parts(lakehouse, GROUP)
    return [each for part in parts for each in read_part(part, GROUP)["symbol"].to_pylist()]


def test_a_released_lease_is_free_at_once_and_its_epochs_count(bucket: str):
    objects = Objects(bucket)
    for epoch in (1, 2, 3):
        lease = Lease.take(objects, f"run-{epoch}")
        assert (lease._lease.epoch, lease.left) == (epoch, ())
        with pytest.raises(LakehouseLocked, match=f"run run-{epoch} .* is writing to s3://"):
            Lease.take(objects, "another")
        lease.release()


def test_of_many_that_want_the_lease_at_once_one_gets_it(bucket: str):
    objects = Objects(bucket)
    for _ in range(10):
        got: list[Lease] = []
        refused: list[LakehouseLocked] = []

        def want(number: int, got=got, refused=refused) -> None:
            try:
                got.append(Lease.take(objects, f"run-{number}"))
            except LakehouseLocked as error:
                refused.append(error)

        threads = [threading.Thread(target=want, args=(number,)) for number in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert (len(got), len(refused)) == (1, 5)
        got[0].release()


def test_a_lease_that_is_renewed_outlives_its_time(bucket: str):
    lakehouse, other = ObjectStore(bucket, TTL_S), ObjectStore(bucket, TTL_S)
    with lakehouse_lock(lakehouse, "long"):
        wait_until_over(TTL_S)
        with pytest.raises(LakehouseLocked), lakehouse_lock(other, "other"):
            pass
        append_part(lakehouse, GROUP, technicals(["A:A"], EVENING), "long")
    assert symbols(other) == ["A:A"]


def test_a_writer_that_wakes_up_after_its_lease_adds_nothing(bucket: str):
    sleeper, next_ = ObjectStore(bucket, SOON_S), ObjectStore(bucket)
    put, asleep = sleeper._objects.create, []

    def fall_asleep(key: str, content: bytes) -> str | None:
        """Wake up after another run has taken the lease, and ended."""
        if key.endswith("part-1.parquet") and not asleep:
            asleep.append(key)
            wait_until_over(SOON_S)
            with lakehouse_lock(next_, "next"):
                append_part(next_, GROUP, technicals(["C:C"], EVENING), "next")
        return put(key, content)

    sleeper._objects.create = fall_asleep  # type: ignore[method-assign]
    with frozen(sleeper, "sleeper"):
        append_part(sleeper, GROUP, technicals(["A:A"], EVENING), "sleeper")
        with pytest.raises(LakehouseLocked, match="run sleeper lost its lease"):
            append_part(sleeper, GROUP, technicals(["B:B"], EVENING), "sleeper")
        with pytest.raises(LakehouseLocked, match="run sleeper lost its lease"):
            write_run_file(sleeper, "sleeper", "receipt.json", b"{}")
        sleeper._unsaid.clear()
    assert asleep
    assert symbols(next_) == ["A:A", "C:C"]
    assert sorted(next_.names(FOLDER)) == ["part-0.parquet", "part-2.parquet"]
    with lakehouse_lock(next_, "last"):
        assert next_.overtaken() == []
    assert run_ids(next_) == ["sleeper", "next"]


def test_a_run_that_sees_that_its_lease_is_over_stops_with_exit_code_5(bucket: str):
    lakehouse = ObjectStore(bucket, SOON_S)
    with lakehouse.lock("slow"):
        assert lakehouse._lease is not None
        lakehouse._lease._ended.set()
        time.sleep(SOON_S + 0.1)
        with pytest.raises(LakehouseLocked, match="run again") as caught:
            append_part(lakehouse, GROUP, technicals(["A:A"], EVENING), "slow")
    assert caught.value.exit_code == 5
    assert symbols(lakehouse) == []


def test_who_dies_while_closing_ledgers_leaves_that_to_the_next(bucket: str):
    objects = Objects(bucket)
    Lease.take(objects, "first", SOON_S)._ended.set()
    wait_until_over(SOON_S)
    second = Lease.take(objects, "second", SOON_S)
    assert second.left == ("first",)
    second._ended.set()
    wait_until_over(SOON_S)
    third = Lease.take(objects, "third")
    assert (third.left, third._lease.epoch) == (("first", "second"), 3)
    third.settle()
    third.release()
    assert Lease.take(objects, "fourth").left == ()


@pytest.fixture
def failing() -> Iterator[ThreadingHTTPServer]:
    class Fails(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<Error><Code>InternalError</Code><AWSAccessKeyId>made-up-key</AWSAccessKeyId>"
            self.server.asked += 1  # type: ignore[attr-defined]
            self.send_response(self.server.status)  # type: ignore[attr-defined]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Fails) as http:
        http.asked, http.status = 0, 503  # type: ignore[attr-defined]
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield http
        http.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "told"), [(503, "no file is damaged: run again later"), (403, "the credentials")]
)
def test_a_store_that_fails_is_told_as_that_and_never_as_damage(
    bucket: str,
    failing: ThreadingHTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    told: str,
):
    with lakehouse_lock(ObjectStore(bucket), "run"):
        part = append_part(ObjectStore(bucket), GROUP, technicals(["A:A"], EVENING), "run")
    failing.status = status  # type: ignore[attr-defined]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{failing.server_port}")
    lakehouse = ObjectStore(bucket, retry_for=timedelta(seconds=1))
    for ask in (
        lambda: read_part(part._replace(lakehouse=lakehouse), GROUP),
        lambda: list_parts(lakehouse, GROUP),
        lambda: Lease.take(lakehouse._objects, "run"),
    ):
        with pytest.raises(StoreFailed, match=told) as caught:
            ask()
        assert str(status) in str(caught.value)
        assert "made-up" not in str(caught.value)
    assert (failing.asked > 3) == (status == 503)  # type: ignore[attr-defined]


@pytest.mark.parametrize("ignored", ["If-None-Match", "If-Match"])
def test_a_server_that_ignores_conditions_is_refused(
    bucket: str, monkeypatch: pytest.MonkeyPatch, ignored: str
):
    put_if = Objects._put_if

    def put(self: Objects, key: str, content: bytes, mode: object) -> str | None:
        ignores = (mode == "create") == (ignored == "If-None-Match")
        return self.put(key, content) if ignores else put_if(self, key, content, mode)

    monkeypatch.setattr(Objects, "_put_if", put)
    with (
        pytest.raises(StoreFailed, match=f"ignores .*{ignored}.*nothing was written"),
        lakehouse_lock(ObjectStore(bucket), "run"),
    ):
        pytest.fail("it has the lock")
    assert run_ids(ObjectStore(bucket)) == []


def test_lost_cut_late_and_refused_answers_lose_nothing_and_double_nothing(
    bucket: str, s3_address: str, monkeypatch: pytest.MonkeyPatch
):
    with flaky(s3_address) as (address, done):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for number in range(4):
            lakehouse = ObjectStore(bucket)
            with lakehouse_lock(lakehouse, f"run-{number}"):
                append_part(lakehouse, GROUP, technicals([f"A:{number}"], EVENING), f"run-{number}")
        written = [f"A:{number}" for number in range(4)]
        assert symbols(ObjectStore(bucket)) == written
    assert min(done["503"], done["cut"], done["slow"], done["lost"]) > 0
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_address)
    assert symbols(ObjectStore(bucket)) == written
    assert sorted(ObjectStore(bucket).names(FOLDER)) == [f"part-{n}.parquet" for n in range(4)]


def test_the_scratch_of_a_process_that_lives_is_left_to_it(bucket: str):
    lakehouse = ObjectStore(bucket)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    frozen, gone, own = (
        lakehouse._scratch._root / str(process) / "run"
        for process in (os.getppid(), ended.pid, os.getpid())
    )
    for folder in (frozen, gone, own):
        folder.mkdir(parents=True)
    with lakehouse_lock(lakehouse, "run"):
        assert [each.is_dir() for each in (frozen, gone, own)] == [True, False, False]


def test_a_removal_that_was_killed_is_finished_by_the_next_run(
    bucket: str, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        """The run is gone."""

    def kill(self: Objects, keys: list[str]) -> None:
        delete(self, keys[:1])
        raise Killed

    lakehouse, delete = ObjectStore(bucket), Objects.delete
    with lakehouse_lock(lakehouse, "run-0"):
        append_part(lakehouse, GROUP, technicals(["A:A"], EVENING), "run-0")
        write_run_file(lakehouse, "run-0", "receipt.json", b"{}")
    with monkeypatch.context() as patch:
        patch.setattr(Objects, "delete", kill)
        with pytest.raises(Killed), lakehouse_lock(lakehouse, "run-1"):
            remove_runs(lakehouse, ["run-0"])
    assert len(files_of_run(lakehouse, "run-0")) == 1
    with lakehouse_lock(lakehouse, "run-2"):
        assert run_ids(lakehouse) == []
        assert symbols(lakehouse) == ["A:A"]


def test_a_store_that_cannot_be_reached_is_told(bucket: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    objects = Objects(bucket, timedelta(seconds=0.5))
    with pytest.raises(StoreFailed, match="did not answer"):
        objects.get(KEY)


def test_many_dates_are_listed_by_one_request(bucket: str, monkeypatch: pytest.MonkeyPatch):
    lakehouse = ObjectStore(bucket)
    day = timedelta(days=1)
    with lakehouse_lock(lakehouse, "run"):
        for number in range(6):
            append_part(lakehouse, GROUP, technicals(["A:A"], EVENING + number * day), "run")
    asked = []
    told = Objects._told
    monkeypatch.setattr(
        Objects, "_told", lambda self, key, ask: asked.append(key) or told(self, key, ask)
    )
    dates = [part.date for part in list_parts(lakehouse, GROUP)]
    assert dates == [(EVENING + number * day).date() for number in range(6)]
    assert len(asked) == 2  # the second finds that there is no further page
    within = list_parts(lakehouse, GROUP, dates[2], dates[4])
    assert [part.date for part in within] == dates[2:5]


def many_dates(bucket: str, dates: int) -> None:
    lakehouse = ObjectStore(bucket)
    with lakehouse_lock(lakehouse, "run"):
        for number in range(dates):
            event = EVENING + timedelta(days=number)
            append_part(lakehouse, GROUP, technicals([f"A:{number:02}"], event), "run")


@pytest.mark.parametrize("kept", [1 << 20, 1])
@pytest.mark.parametrize("turn", [1, -1])
def test_a_reader_without_the_lease_fetches_the_next_dates_ahead(
    bucket: str, monkeypatch: pytest.MonkeyPatch, kept: int, turn: int
):
    """However little is kept, all rows are read, and each file once where it is enough."""
    many_dates(bucket, 12)
    monkeypatch.setattr("ingestion.lakehouse.object_store._KEPT", kept)
    lakehouse, get = ObjectStore(bucket), Objects.get
    fetched: list[str] = []
    now, most = [0], [0]

    def noting(self: Objects, key: str) -> object:
        fetched.append(key)
        now[0] += 1
        most[0] = max(most[0], now[0])
        time.sleep(0.02)
        try:
            return get(self, key)
        finally:
            now[0] -= 1

    monkeypatch.setattr(Objects, "get", noting)
    with lakehouse.looking():
        parts = list_parts(lakehouse, GROUP)[::turn]
        read = [read_part(part, GROUP)["symbol"][0].as_py() for part in parts]
    assert read == [f"A:{number:02}" for number in range(12)][::turn]
    if kept > 1:
        assert len(fetched) == len({*fetched}) == 12
        assert most[0] > 4


def test_a_look_that_finds_a_part_merged_meanwhile_lists_again(bucket: str):
    many_dates(bucket, 2)
    lakehouse, other = ObjectStore(bucket), ObjectStore(bucket)
    with lakehouse_lock(other, "more"):
        append_part(other, GROUP, technicals(["B:B"], EVENING), "more")
    merged: list[str] = []

    def read() -> list[str]:
        parts = list_parts(lakehouse, GROUP)
        if not merged:
            with lakehouse_lock(other, "merge"):
                merge_parts(other, GROUP, EVENING.date(), Ledger.read(other), "merge")
            merged.append("")
        return [each for part in parts for each in read_part(part, GROUP)["symbol"].to_pylist()]

    with lakehouse.looking():
        assert sorted(reading_again(read)) == ["A:00", "A:01", "B:B"]
