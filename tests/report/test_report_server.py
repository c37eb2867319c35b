"""``report --serve``: on this machine alone, and made again when there is something new."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingestion.cli.commands import cli
from ingestion.jobs.report.report_server import ADDRESS, ReportServer
from ingestion.project import Project
from ingestion.runs.run import Run
from tests.conftest import MONDAY
from tests.report.browser import CHROMIUM, WHY_NOT, browser


@pytest.fixture
def server(settings: Project) -> Iterator[ReportServer]:
    with ReportServer(settings, 0) as started:
        thread = threading.Thread(target=started.serve_forever, args=(0.01,))
        thread.start()
        yield started
        started.shutdown()
        thread.join()


def get(server: ReportServer, path: str = "/", host: str | None = None) -> tuple[int, str]:
    port = server.server_address[1]
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=30)
    connection.request("GET", path, headers={"Host": host or f"{ADDRESS}:{port}"})
    with connection.getresponse() as answer:
        return answer.status, answer.read().decode()


def test_it_listens_on_loopback_alone(server: ReportServer):
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "0.0.0.0:1"])
def test_a_request_to_another_host_is_refused(server: ReportServer, host: str):
    status, text = get(server, host=host)
    assert status == 403
    assert "<html" not in text


def test_there_is_one_page(server: ReportServer):
    assert get(server, "/../../etc/passwd")[0] == 404
    status, text = get(server)
    assert status == 200
    assert "May I trade on today’s rows?" in text


def test_the_page_is_made_again_after_a_run_and_only_then(server: ReportServer, settings: Project):
    first = get(server)[1]
    before = get(server, "/made")[1]
    assert get(server)[1] == first
    with Run.open(settings, "a job", file="a_job.json"):
        pass
    assert get(server, "/made")[1] != before
    assert get(server)[1] != first


def test_ages_grow_though_no_run_was(
    server: ReportServer, at: Callable[[datetime], None], settings: Project
):
    at(MONDAY)
    assert "2021-04-12 21:30 UTC" in get(server)[1]
    before = get(server, "/made")[1]
    at(MONDAY + timedelta(minutes=5))
    assert get(server, "/made")[1] != before
    assert "2021-04-12 21:35 UTC" in get(server)[1]


@pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)
def test_an_open_page_loads_the_newer_one(server: ReportServer, settings: Project, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    monkeypatch.setattr("ingestion.jobs.report.report_server.REFRESH", 0.2)
    with browser(tmp_path) as page:
        page.open(server.url, 1400)
        page.run("window.isOld = true")
        with Run.open(settings, "a job", file="a_job.json"):
            pass
        page.wait("!window.isOld && document.documentElement?.dataset.ready === 'yes'")
        assert all(url.startswith(server.url) for url in page.requests if "data:" not in url)
        assert not page.complaints


def test_a_port_that_is_taken_is_named(server: ReportServer, settings: Project):
    port = server.server_address[1]
    result = CliRunner().invoke(cli, ["report", "--serve", "--port", str(port)])
    assert re.search(f"--port {port}: .*name another one", str(result.exception))


def test_a_page_is_served_or_written(settings: Project):
    result = CliRunner().invoke(cli, ["report", "--serve", "--out", "there.html"])
    assert "--serve writes no file" in str(result.exception)
