"""The session cookie, other hosts, and bodies without an end."""

import gzip
import json
from pathlib import Path

import pytest
from scanner_tools import (
    COLUMNS,
    Reply,
    StartScanner,
    Stocks,
    fetch,
    quick,
    row,
    rows_answer,
    stub_scanner,
)

from ingestion.base.errors import InputError, ScannerRefused
from ingestion.replay import FaultPlan
from ingestion.scanner import ScannerClient

SECRET = "s3cr3t-cookie"


def test_a_redirect_is_refused_and_the_cookie_goes_nowhere_else(stocks: Stocks) -> None:
    with stub_scanner(lambda *_: Reply(rows_answer([]))) as elsewhere:
        location = {"Location": f"{elsewhere.url}/global/scan"}
        for status in (301, 302, 303, 307, 308):
            with (
                stub_scanner(lambda *_, status=status: Reply(b"", status, location)) as stub,
                ScannerClient(stub.url, quick(), session_id=SECRET) as client,
                pytest.raises(ScannerRefused, match=r"redirects to .* not followed") as caught,
            ):
                client.fetch(stocks, COLUMNS)
            assert SECRET not in str(caught.value)
            assert len(stub.questions) == 1
    assert elsewhere.questions == []


def test_the_replays_redirect_is_refused(start_scanner: StartScanner, stocks: Stocks) -> None:
    scanner = start_scanner(plan=FaultPlan(chances={"redirect": 1.0}))
    with pytest.raises(ScannerRefused, match=r"elsewhere\.example"):
        fetch(scanner.url, stocks)
    assert len(scanner.requests) == 1


def test_the_session_cookie_goes_to_the_scanner_and_into_no_text(
    start_scanner: StartScanner, stocks: Stocks
) -> None:
    scanner = start_scanner(plan=FaultPlan(chances={"forbidden-html": 0.5, "reset": 1.0}))
    with ScannerClient(scanner.url, quick(), session_id=SECRET) as client:
        snapshot = client.fetch(stocks, COLUMNS)
        assert SECRET not in repr(client) + repr(vars(client)) + repr(snapshot)
    assert {request.headers["Cookie"] for request in scanner.requests} == {f"sessionid={SECRET}"}


def test_without_a_session_no_cookie_is_sent(start_scanner: StartScanner, stocks: Stocks) -> None:
    scanner = start_scanner()
    fetch(scanner.url, stocks)
    assert "Cookie" not in scanner.requests[0].headers


@pytest.mark.parametrize("end", ["\n", "\r", "\r\nX-Injected: 1", "\x00", "\u2603"])
def test_a_session_that_no_header_can_carry_is_refused_without_showing_it(end: str) -> None:
    with pytest.raises(InputError, match="Cookie") as caught:
        ScannerClient("http://127.0.0.1:9", quick(), session_id=SECRET + end)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("headers", [{"X-A": "1\n"}, {"X-A": " 1"}, {"X A": "1"}, {"": "1"}])
def test_a_header_that_http_does_not_allow_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InputError, match="header"):
        ScannerClient("http://127.0.0.1:9", quick(headers=headers))


def test_headers_can_be_set_and_do_not_show(start_scanner: StartScanner, stocks: Stocks) -> None:
    scanner = start_scanner()
    headers = {"User-Agent": "mine/1", "Origin": "https://example.org", "X-Token": SECRET}
    options = quick(headers=headers)
    with ScannerClient(scanner.url, options) as client:
        client.fetch(stocks, COLUMNS)
    sent = scanner.requests[0].headers
    assert {name: sent[name] for name in headers} == headers
    assert SECRET not in repr(options)


def test_by_default_the_client_says_what_it_is(start_scanner: StartScanner, stocks: Stocks) -> None:
    scanner = start_scanner()
    fetch(scanner.url, stocks)
    sent = scanner.requests[0].headers
    assert "tvfeast/" in sent["User-Agent"]
    assert sent["Content-Type"] == "application/json"
    assert "gzip" in sent["Accept-Encoding"]


def test_an_answer_larger_than_allowed_is_not_read_on(
    start_scanner: StartScanner, stocks: Stocks
) -> None:
    snapshot = fetch(start_scanner().url, stocks, largest_answer=500)
    assert snapshot.rows == {}
    assert all("larger than 500 bytes" in reason for reason in snapshot.failed.values())


def test_a_small_body_that_unpacks_without_end_is_not_read_on() -> None:
    bomb = gzip.compress(b" " * (64 << 20), 1)
    with stub_scanner(lambda *_: Reply(bomb, headers={"Content-Encoding": "gzip"})) as stub:
        snapshot = fetch(stub.url, ["A:B"], largest_answer=1 << 20, retries=0)
    assert "larger than 1,048,576 bytes" in snapshot.failed["A:B"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_does_not_unpack_is_a_reason(encoding: str) -> None:
    reply = Reply(b"\x00 not packed", headers={"Content-Encoding": encoding})
    with stub_scanner(lambda *_: reply) as stub:
        snapshot = fetch(stub.url, ["A:B"], retries=1)
    assert f"connection failed to {stub.url.partition('//')[2]}: " in snapshot.failed["A:B"]
    assert len(stub.questions) == 2


def test_control_characters_of_the_scanner_reach_no_terminal() -> None:
    error = json.dumps({"error": "no\x1b]0;mine\x07", "data": None}).encode()
    for reply in (
        Reply(b"\x1b[2Jbad", 502),
        Reply(error, 400),
        Reply(headers={"Content-Length": "\x1b[2J"}),
    ):
        with stub_scanner(lambda *_, reply=reply: reply) as stub:
            snapshot = fetch(stub.url, ["A:B"], retries=0, read_timeout=1)
        assert snapshot.failed["A:B"].isprintable()
    away = Reply(b"", 302, {"Location": "https://a.example/\x1b[2J"})
    with stub_scanner(lambda *_: away) as stub, pytest.raises(ScannerRefused) as caught:
        fetch(stub.url, ["A:B"])
    assert str(caught.value).isprintable()


def test_an_environments_proxy_and_netrc_are_left_alone(
    start_scanner: StartScanner, stocks: Stocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    scanner = start_scanner()
    snapshot = fetch(scanner.url, stocks)
    assert set(snapshot.rows) == set(stocks)
    assert "Authorization" not in scanner.requests[0].headers


def test_a_proxy_is_used_for_a_scanner_elsewhere_and_netrc_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine scanner.example login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with stub_scanner(lambda *_: Reply(rows_answer([row("A:B")]))) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        snapshot = fetch("http://scanner.example", ["A:B"], allow_insecure=True)
    assert set(snapshot.rows) == {"A:B"}
    assert "Authorization" not in proxy.headers[0]


@pytest.mark.parametrize(
    "url",
    ["http://scanner.example", "http://127.0.0.1.example", "http://[::2]", "http://10.0.0.1:80/x"],
)
def test_http_beyond_this_machine_is_refused_before_anything_is_sent(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stub_scanner(lambda *_: Reply(rows_answer([row("A:B")]))) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with pytest.raises(InputError, match="--allow-insecure"):
            ScannerClient(url, quick(), session_id=SECRET)
        assert proxy.questions == []
        assert fetch(url, ["A:B"], allow_insecure=True).failed == {}
    assert len(proxy.questions) == 1


@pytest.mark.parametrize("url", ["https://x.example", "http://127.0.0.1:9", "http://[::1]:9"])
def test_https_and_this_machine_need_no_leave(url: str) -> None:
    ScannerClient(url, quick(), session_id=SECRET)
