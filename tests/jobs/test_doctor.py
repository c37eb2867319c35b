"""`tvfeast doctor`: each fault is named, with what to do; faults are real ones."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingestion.base.errors import GateRefused
from ingestion.cli.commands import cli
from ingestion.cli.start import doctor_text
from ingestion.jobs.audit import doctor
from ingestion.jobs.audit.doctor import Finding, State, diagnose
from ingestion.lakehouse import lakehouse_lock
from ingestion.project import Project
from ingestion.replay import FaultPlan, ReplayScanner
from tests.faults.small_disk import SmallDisk


@pytest.fixture(autouse=True)
def ready(settings: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose scanner is the replay, by the environment as of a shell."""
    monkeypatch.setenv("TVFEAST_SCANNER_URL", settings.scanner_url)
    return settings


def found(about: str) -> Finding:
    return next(each for each in diagnose().findings if each.about == about)


def wrong() -> list[str]:
    return [each.about for each in diagnose().wrong]


def test_where_nothing_is_wrong_each_thing_is_named_with_its_value(ready: Project):
    told = diagnose()
    assert told.wrong == ()
    assert told.refusal is None
    of = {each.about: each.what for each in told.findings}
    assert of["TVFEAST_PROJECT"] == f"{ready.folder}, from TVFEAST_PROJECT"
    assert of["TVFEAST_LAKEHOUSE"] == f"{ready.lakehouse_at}, from the default"
    assert of["TVFEAST_SCANNER_URL"] == f"{ready.scanner_url}, from the environment"
    assert "1 row of NASDAQ:AAPL" in of["scanner"]
    assert of["clock"].endswith("s from the scanner's")
    assert "can be written and locked" in of["disk"]
    assert not ready.lakehouse_at.exists(), "nothing is made"


def test_the_session_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TVFEAST_SESSION_ID", "s3cret")
    told = diagnose()
    assert "s3cret" not in doctor_text(told) + str(told)
    assert found("TVFEAST_SESSION_ID").what == "set, and not shown"


@pytest.mark.parametrize(
    "fault",
    ["html", "truncated", "empty", "forbidden-html", "server-error", "rate-limited", "reset"],
)
def test_an_answer_that_is_none_is_told(scanner: ReplayScanner, fault: str):
    scanner.plan = FaultPlan([fault])
    finding = found("scanner")
    assert finding.state is State.WRONG
    assert scanner.url in finding.what
    assert "try again" in finding.remedy


def test_a_scanner_that_nobody_is_is_told(monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens
        monkeypatch.setenv("TVFEAST_SCANNER_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert wrong() == ["scanner"]


@pytest.mark.parametrize("fault", ["stall", "trickle", "trickle-headers"])
def test_a_scanner_that_is_silent_is_waited_for_as_long_as_said(
    scanner: ReplayScanner, monkeypatch: pytest.MonkeyPatch, fault: str
):
    monkeypatch.setattr(doctor, "_PATIENCE_S", 0.3)
    scanner.plan = FaultPlan([fault])
    finding = found("scanner")
    assert finding.state is State.WRONG
    assert "gave no answer" in finding.what


class _Other(BaseHTTPRequestHandler):
    """A web server that is no scanner; its header Date is the wall clock's."""

    def do_POST(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def another_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Other) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_clock_that_is_off_is_told_by_how_much(monkeypatch: pytest.MonkeyPatch):
    with another_server() as url:
        monkeypatch.setenv("TVFEAST_SCANNER_URL", url)
        assert wrong() == ["scanner", "clock"], "TVFEAST_NOW is years ago"
        finding = found("clock")
        assert "days behind the scanner's" in finding.what
        assert finding.remedy == "unset TVFEAST_NOW"
        monkeypatch.delenv("TVFEAST_NOW")
        assert wrong() == ["scanner"]
        assert "refused" in found("scanner").what


@pytest.mark.parametrize(
    ("name", "value", "about"),
    [
        ("TVFEAST_NOW", "noon", "TVFEAST_NOW"),
        ("TVFEAST_SCANNER_URL", "scanner.example", "settings"),
        ("TVFEAST_LAKEHOUSE", "lake*", "settings"),
    ],
)
def test_a_setting_that_cannot_be_used_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, about: str
):
    monkeypatch.setenv(name, value)
    finding = found(about)
    assert finding.state is State.WRONG
    assert finding.remedy == "correct it, or unset it"


def test_a_setting_that_there_is_not_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TVFEAST_LAKEHOSE", "data/lake")
    assert found("TVFEAST_LAKEHOSE").what == "no such setting"


def test_a_folder_that_is_no_project_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("TVFEAST_PROJECT", str(tmp_path))
    finding = found("project")
    assert finding.state is State.WRONG
    assert "tvfeast init" in finding.remedy


def test_a_declaration_that_cannot_be_used_is_told(ready: Project):
    (ready.feast_repository / "groups").mkdir(exist_ok=True)
    (ready.feast_repository / "groups" / "mine.py").write_text("GROUP = FeatureGroup()\n")
    finding = found("project")
    assert finding.state is State.WRONG
    assert "mine.py" in finding.what


def test_a_lakehouse_that_is_a_file_is_told(ready: Project):
    ready.lakehouse_at.write_text("no folder")
    assert "lakehouse" in wrong()


def test_who_is_writing_is_told_and_nothing_is_wrong(ready: Project):
    with lakehouse_lock(ready.lakehouse, "20210412T213000Z-abcdefabcd"):
        told = diagnose()
    assert told.wrong == ()
    assert any("20210412T213000Z-abcdefabcd" in each.what for each in told.findings)


@pytest.mark.parametrize(
    ("name", "about"), [("registry.db", "registry"), ("online.db", "online store")]
)
def test_a_store_that_is_damaged_is_told(ready: Project, name: str, about: str):
    (ready.folder / "data" / name).write_bytes(b"this is not what it should be" * 400)
    finding = found(about)
    assert finding.state is State.WRONG
    assert finding.remedy == "run `tvfeast rebuild`"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallDisk]:
    folder = tmp_path / "small"
    folder.mkdir()
    disk = SmallDisk(folder)
    if not disk.mount():
        pytest.skip("to mount a file system takes privileges")
    monkeypatch.setenv("TVFEAST_LAKEHOUSE", str(folder))
    try:
        yield disk
    finally:
        disk.unmount()


def test_a_disk_with_little_room_and_a_full_one_are_told(small: SmallDisk):
    assert "make room" in found("disk").remedy
    small.leave_room(0)
    finding = found("disk")
    assert finding.state is State.WRONG
    assert "make room" in finding.remedy


def test_a_disk_that_cannot_be_written_is_told(small: SmallDisk):
    small.be_read_only()
    finding = found("disk")
    assert finding.state is State.WRONG
    assert "Read-only" in finding.what


def test_the_command_ends_with_3_if_something_is_wrong_and_with_0_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    fine = CliRunner().invoke(cli, ["doctor", "--json"])
    assert fine.exit_code == 0
    assert {each["state"] for each in json.loads(fine.stdout)["findings"]} <= {"ok", "note"}
    monkeypatch.setenv("TVFEAST_PROJECT", str(tmp_path))
    told = CliRunner().invoke(cli, ["doctor"])
    assert isinstance(told.exception, GateRefused)
    assert told.exception.exit_code == 3
    assert "→ go to a project's folder" in told.stdout
