"""Where the replay listens, and how it ends."""

import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from ingestion.base.errors import InputError
from ingestion.replay import FaultPlan, Panel, ReplayScanner
from ingestion.replay.server import serve

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
StartReplay = Callable[..., ReplayScanner]


def test_it_listens_on_loopback_only(start_replay: StartReplay) -> None:
    parts = urlsplit(start_replay().url)
    assert parts.hostname == "127.0.0.1"
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        pytest.skip("this machine has no name of its own")
    for address in addresses:
        if isinstance(address, str) and ":" not in address and not address.startswith("127."):
            with pytest.raises(OSError, match=r"refused|timed out"):
                socket.create_connection((address, parts.port), timeout=1)


def test_two_replays_have_two_ports(start_replay: StartReplay) -> None:
    assert start_replay().url != start_replay().url


def test_a_port_that_is_taken_is_an_error(start_replay: StartReplay, sample_panel: Panel) -> None:
    port = urlsplit(start_replay().url).port
    assert port is not None
    with pytest.raises(OSError, match="in use"):
        ReplayScanner(sample_panel, port=port)


def test_it_reads_its_clock_at_each_request(sample_panel: Panel, http: requests.Session) -> None:
    days = iter([datetime(2021, 4, 12, 21, tzinfo=UTC), datetime(2021, 4, 13, 21, tzinfo=UTC)])
    with ReplayScanner(sample_panel, now=lambda: next(days)) as replay:
        question = {"symbols": {"tickers": ["NASDAQ:AAPL"]}, "columns": ["time"]}
        first, second = (
            http.post(f"{replay.url}/global/scan", json=question, timeout=60).json()["data"][0]["d"]
            for _ in range(2)
        )
    assert second[0] - first[0] == 86_400


@pytest.mark.parametrize("fault", ["stall", "trickle"])
def test_it_ends_while_a_request_hangs(sample_panel: Panel, fault: str) -> None:
    failures: list[Exception] = []

    def ask(url: str) -> None:
        try:
            requests.post(f"{url}/global/scan", json={"columns": ["close"]}, timeout=10)
        except requests.RequestException as error:
            failures.append(error)

    with ReplayScanner(sample_panel, plan=FaultPlan([fault])) as replay:
        client = threading.Thread(target=ask, args=(replay.url,))
        client.start()
        deadline = time.monotonic() + 5
        while not replay.requests and time.monotonic() < deadline:
            time.sleep(0.01)
    client.join(5)
    assert not client.is_alive()
    assert len(failures) == 1
    with pytest.raises(requests.ConnectionError):
        requests.post(f"{replay.url}/global/scan", timeout=1)


def test_what_was_asked_is_kept_only_when_told_to(
    start_replay: StartReplay, http: requests.Session
) -> None:
    for record in (True, False):
        replay = start_replay(record=record)
        http.post(f"{replay.url}/global/scan", json={"columns": ["close"]}, timeout=60)
        assert len(replay.requests) == int(record)


def test_the_served_command_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def scanner(*_: Any, **options: Any) -> None:
        given.update(options)
        raise OSError(0, "enough")

    monkeypatch.setattr("ingestion.replay.server.ReplayScanner", scanner)
    with pytest.raises(InputError):
        serve(SAMPLE, port=0, latency=0, fail=())
    assert given["record"] is False
