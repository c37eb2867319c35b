"""The ways to fail, as they are on the wire, and the plan that says when."""

import json
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from ingestion.base.errors import InputError
from ingestion.replay import FAULTS, FaultPlan, ReplayScanner

StartReplay = Callable[..., ReplayScanner]

SYMBOLS = ["NASDAQ:AAPL", "NASDAQ:MSFT", "NYSE:XOM"]
COLUMNS = ["RSI", "close"]


def ask(http: requests.Session, replay: ReplayScanner, **options: Any) -> requests.Response:
    question = {"symbols": {"tickers": SYMBOLS}, "columns": COLUMNS, "range": [0, 3]}
    options = {"timeout": 5, "allow_redirects": False} | options
    return http.post(f"{replay.url}/global/scan", json=question, **options)


@pytest.mark.parametrize(
    ("fault", "status", "content"),
    [
        ("rate-limited", 429, b"Too many"),
        ("rate-limited-retry-after", 429, b"Too many"),
        ("server-error", 502, b"<html>"),
        ("forbidden-html", 403, b"<html>"),
        ("html", 200, b"<html>"),
        ("empty", 200, b""),
        ("redirect", 302, b""),
        ("error-in-200", 200, b'{"totalCount":0,"error":"Unknown field'),
    ],
)
def test_a_spoiled_answer_hits_one_request(
    start_replay: StartReplay, http: requests.Session, fault: str, status: int, content: bytes
) -> None:
    replay = start_replay(plan=FaultPlan([fault]))
    spoiled = ask(http, replay)
    assert (spoiled.status_code, spoiled.content[: len(content)]) == (status, content)
    assert (spoiled.content == b"") == (content == b"")
    assert ("Retry-After" in spoiled.headers) == (fault == "rate-limited-retry-after")
    assert ("Location" in spoiled.headers) == (fault == "redirect")
    assert len(ask(http, replay).json()["data"]) == 3


def test_a_truncated_answer_is_the_first_half_of_the_whole(
    start_replay: StartReplay, http: requests.Session
) -> None:
    replay = start_replay(plan=FaultPlan(["truncated"]))
    half, whole = ask(http, replay).content, ask(http, replay).content
    assert half == whole[: len(whole) // 2]
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(half)


def test_a_stalled_request_is_never_answered(
    start_replay: StartReplay, http: requests.Session
) -> None:
    with pytest.raises(requests.ReadTimeout):
        ask(http, start_replay(plan=FaultPlan(["stall"])), timeout=0.2)


def test_a_trickle_goes_on_and_brings_nothing(
    start_replay: StartReplay, http: requests.Session
) -> None:
    replay = start_replay(plan=FaultPlan(["trickle"]))
    with ask(http, replay, stream=True) as response:
        assert response.status_code == 200
        assert [response.raw.read(1) for _ in range(3)] == [b" "] * 3


def test_trickling_headers_never_end(start_replay: StartReplay) -> None:
    replay = start_replay(plan=FaultPlan(["trickle-headers"]))
    address = urlsplit(replay.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as client:
        client.sendall(b"POST /global/scan HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        received = b""
        while not received.endswith(b"y" * 10):
            piece = client.recv(1)
            assert piece, "the headers ended"
            received += piece
    assert b"\r\n\r\n" not in received


def test_a_reset_ends_the_connection(start_replay: StartReplay, http: requests.Session) -> None:
    replay = start_replay(plan=FaultPlan(["reset"]))
    with pytest.raises(requests.ConnectionError, match="reset"):
        ask(http, replay)
    assert len(ask(http, replay).json()["data"]) == 3


def test_a_short_page_holds_fifty_rows_whatever_the_range(
    start_replay: StartReplay, http: requests.Session
) -> None:
    replay = start_replay(plan=FaultPlan(chances={"short-page": 1.0}))
    sizes = []
    for bounds in ([0, 60], [5, 60], [30, 40]):
        question = {"columns": ["close"], "range": bounds}
        document = http.post(f"{replay.url}/global/scan", json=question, timeout=60).json()
        sizes.append(len(document["data"]))
        assert document["totalCount"] == 60
    assert sizes == [50, 50, 30]


@pytest.mark.parametrize(
    ("fault", "spoil"),
    [
        ("wrong-width", lambda values: [values[:-1]]),
        ("null-value", lambda values: [[None, *values[1:]]]),
        ("integer-value", lambda values: [[1, *values[1:]]]),
        ("text-value", lambda values: [["n/a", *values[1:]]]),
        ("infinite-value", lambda values: [[float("inf"), *values[1:]]]),
        ("true-value", lambda values: [[True, *values[1:]]]),
        ("duplicate-rows", lambda values: [values, values]),
        ("conflicting-rows", lambda values: [values, [-0.5, *values[1:]]]),
    ],
)
@pytest.mark.parametrize("always", [True, False])
def test_a_spoiled_row_leaves_the_others_as_they_are(
    start_replay: StartReplay,
    http: requests.Session,
    fault: str,
    spoil: Callable[[list[Any]], list[list[Any]]],
    always: bool,
) -> None:
    good = {row["s"]: [row["d"]] for row in ask(http, start_replay()).json()["data"]}
    order = list(good)
    victim = order[1] if always else order[0]
    options: dict[str, Any] = (
        {"spoiled": {victim: fault}} if always else {"plan": FaultPlan([fault])}
    )
    found: dict[str, list[list[Any]]] = {}
    for row in ask(http, start_replay(**options)).json()["data"]:
        found.setdefault(row["s"], []).append(row["d"])
    assert found == {**good, victim: spoil(good[victim][0])}
    assert [type(value) for value in found[victim][0]] == [
        type(value) for value in spoil(good[victim][0])[0]
    ]


def test_nan_is_written_as_python_writes_it(
    start_replay: StartReplay, http: requests.Session
) -> None:
    assert b'"d":[NaN,' in ask(http, start_replay(plan=FaultPlan(["nan-value"]))).content


def test_an_unasked_row_is_a_strangers(start_replay: StartReplay, http: requests.Session) -> None:
    rows = ask(http, start_replay(plan=FaultPlan(["unasked-row"]))).json()["data"]
    assert sorted(row["s"] for row in rows) == sorted([*SYMBOLS, "NASDAQ:NOTASKED"])


def test_latency_comes_before_each_answer(
    start_replay: StartReplay, http: requests.Session
) -> None:
    replay = start_replay(latency=0.1)
    ask(http, replay)
    answered = time.monotonic()
    assert answered - replay.requests[0].at >= 0.1


@pytest.mark.parametrize(
    ("texts", "script"),
    [
        ([], []),
        (["empty"], ["empty"]),
        (["empty:3"], ["empty"] * 3),
        (["empty:0"], []),
        (
            ["empty:2", "html", "rate-limited-retry-after"],
            ["empty"] * 2 + ["html", "rate-limited-retry-after"],
        ),
    ],
)
def test_a_plan_of_counts_hits_the_first_requests(texts: list[str], script: list[str]) -> None:
    plan = FaultPlan.parse(texts)
    assert [plan.draw() for _ in range(6)] == [*script, *[None] * (6 - len(script))]


@pytest.mark.parametrize(("text", "share"), [("empty@0.1", 0.1), ("empty@.5", 0.5), ("empty@0", 0)])
def test_a_plan_of_chances_hits_that_share_of_the_requests(text: str, share: float) -> None:
    plan = FaultPlan.parse([text])
    drawn = Counter(plan.draw() for _ in range(4000))
    assert drawn["empty"] / 4000 == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("text", ["empty@1", "empty@1.0"])
def test_a_chance_of_one_hits_every_request_after_the_script(text: str) -> None:
    plan = FaultPlan.parse(["html", text])
    assert [plan.draw() for _ in range(4)] == ["html", "empty", "empty", "empty"]


def test_a_script_may_let_requests_pass() -> None:
    plan = FaultPlan([None, "empty", None], {"html": 1.0})
    assert [plan.draw() for _ in range(5)] == [None, "empty", None, "html", "html"]


def test_the_same_seed_draws_the_same_faults() -> None:
    def drawn(seed: int) -> list[str | None]:
        plan = FaultPlan.parse(["empty@0.3", "reset@0.3"], seed)
        return [plan.draw() for _ in range(50)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "empty:",
        "empty@",
        "empty:-1",
        "empty:x",
        "empty@1.5",
        "empty@2",
        "empty:1@0.5",
        "EMPTY",
    ],
)
def test_a_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a fault such as"):
        FaultPlan.parse([text])


@pytest.mark.parametrize("text", ["typo", "typo:2", "typo@0.5"])
def test_a_fault_that_does_not_exist_is_refused_with_those_that_do(text: str) -> None:
    with pytest.raises(InputError, match=r"no fault 'typo'; there are .*truncated") as caught:
        FaultPlan.parse([text])
    assert all(fault in str(caught.value) for fault in FAULTS)


def test_a_fault_that_hits_no_request_is_refused_all_the_same() -> None:
    with pytest.raises(InputError, match="no fault 'typo'"):
        FaultPlan.parse(["typo:0"])
