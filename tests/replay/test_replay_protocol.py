"""What the replay answers over HTTP, rule by rule of the scanner's protocol."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
import requests

from ingestion.replay import Panel, ReplayScanner

Scan = Callable[..., requests.Response]
StartReplay = Callable[..., ReplayScanner]


def symbols_of(response: requests.Response) -> list[str]:
    assert response.status_code == 200
    return [row["s"] for row in response.json()["data"]]


def first_values(response: requests.Response) -> list[Any]:
    assert response.status_code == 200
    return [row["d"][0] for row in response.json()["data"]]


def test_without_a_range_fifty_rows_come_and_nothing_says_so(
    scan: Scan, sample_panel: Panel
) -> None:
    response = scan(symbols={"tickers": sample_panel.symbols}, columns=["close"])
    assert len(symbols_of(response)) == 50
    assert response.json().keys() == {"totalCount", "data"}
    assert response.json()["totalCount"] == 60


@pytest.mark.parametrize(
    ("bounds", "count"),
    [([0, 60], 60), ([5, 25], 20), ([55, 100], 5), ([60, 70], 0), ([7, 7], 0), ([0, 100_000], 60)],
)
def test_a_range_ends_before_its_end(scan: Scan, bounds: list[int], count: int) -> None:
    whole = symbols_of(scan(columns=["close"], range=[0, 60]))
    page = scan(columns=["close"], range=bounds)
    assert symbols_of(page) == whole[bounds[0] : bounds[1]]
    assert len(symbols_of(page)) == count
    assert page.json()["totalCount"] == 60


def test_unknown_tickers_are_not_there(scan: Scan) -> None:
    tickers = ["NASDAQ:NOSUCH", "NASDAQ:AAPL", "nasdaq:msft"]
    response = scan(symbols={"tickers": tickers}, columns=["close"], range=[0, 3])
    assert symbols_of(response) == ["NASDAQ:AAPL"]
    assert response.json()["totalCount"] == 1
    assert scan(symbols={"tickers": tickers[:1]}, columns=["close"]).json() == {
        "totalCount": 0,
        "data": [],
    }


def test_a_ticker_named_twice_has_one_row(scan: Scan) -> None:
    tickers = ["NASDAQ:AAPL", "NASDAQ:AAPL"]
    assert symbols_of(scan(symbols={"tickers": tickers}, columns=["close"])) == tickers[:1]


def test_an_unknown_column_loses_the_whole_request(scan: Scan) -> None:
    response = scan(symbols={"tickers": ["NASDAQ:AAPL"]}, columns=["close", "change.5"])
    assert response.status_code == 400
    assert response.text == '{"totalCount":0,"error":"Unknown field \\"change.5\\"","data":null}'


def test_rows_come_in_an_order_of_the_scanners_own(scan: Scan, sample_panel: Panel) -> None:
    question = {"columns": ["close"], "range": [0, 60]}
    forward = symbols_of(scan(symbols={"tickers": sample_panel.symbols}, **question))
    backward = symbols_of(scan(symbols={"tickers": sample_panel.symbols[::-1]}, **question))
    assert forward == backward
    assert forward != sorted(forward)
    assert sorted(forward) == sorted(sample_panel.symbols)


def test_values_come_in_the_order_of_the_columns(scan: Scan) -> None:
    tickers = {"tickers": ["NASDAQ:AAPL"]}
    columns = ["close", "name", "RSI", "close", "time"]
    (row,) = scan(symbols=tickers, columns=columns).json()["data"]
    (back,) = scan(symbols=tickers, columns=columns[::-1]).json()["data"]
    assert row["d"] == back["d"][::-1]
    assert row["d"][0] == row["d"][3]
    assert row["d"][1] == "AAPL"


def test_rows_are_sorted_as_asked(scan: Scan) -> None:
    ascending = scan(columns=["RSI"], sort={"sortBy": "RSI", "sortOrder": "asc"}, range=[0, 60])
    descending = scan(columns=["RSI"], sort={"sortBy": "RSI", "sortOrder": "desc"}, range=[0, 60])
    assert first_values(ascending) == sorted(first_values(ascending))
    assert first_values(descending) == first_values(ascending)[::-1]
    names = first_values(scan(columns=["name"], sort={"sortBy": "name"}, range=[0, 60]))
    assert names == sorted(names)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("nulls_first", [True, False])
def test_rows_without_a_value_stand_together_at_one_end(
    start_replay: StartReplay, http: requests.Session, order: str, nulls_first: bool
) -> None:
    replay = start_replay(now=datetime(2020, 1, 7, 12, tzinfo=UTC))  # ETHUSDT has six bars
    sort = {"sortBy": "RSI", "sortOrder": order, "nullsFirst": nulls_first}
    question = {"columns": ["RSI"], "sort": sort, "range": [0, 60]}
    values = first_values(http.post(f"{replay.url}/crypto/scan", json=question, timeout=60))
    assert len(values) == 4
    assert [value is None for value in values].index(True) == (0 if nulls_first else 3)
    numbers = [value for value in values if value is not None]
    assert numbers == sorted(numbers, reverse=order == "desc")


def test_an_unknown_column_to_sort_by_is_rejected(scan: Scan) -> None:
    response = scan(columns=["close"], sort={"sortBy": "nonsense"})
    assert (response.status_code, response.json()["error"]) == (400, 'Unknown field "nonsense"')


def test_whole_numbers_are_written_without_a_point(scan: Scan) -> None:
    response = scan("america", columns=["volume", "time"], range=[0, 60])
    assert {type(value) for row in response.json()["data"] for value in row["d"]} == {int}
    assert {type(value) for value in first_values(scan(columns=["RSI"]))} == {float}
    assert b".0," not in response.content


def test_an_answer_is_compressed_where_the_client_takes_it(
    start_replay: StartReplay, http: requests.Session
) -> None:
    url = f"{start_replay().url}/global/scan"
    packed = http.post(url, json={"columns": ["close"]}, timeout=60)
    plain = http.post(
        url, json={"columns": ["close"]}, headers={"Accept-Encoding": "identity"}, timeout=60
    )
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.content == plain.content
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"])
    assert plain.headers["Content-Type"] == "application/json; charset=utf-8"
    assert plain.headers["Server"] == "tv"


@pytest.mark.parametrize(("market", "count"), [("america", 56), ("crypto", 4), ("global", 60)])
def test_a_market_holds_its_own_symbols(scan: Scan, market: str, count: int) -> None:
    assert len(symbols_of(scan(market, columns=["close"], range=[0, 100]))) == count


def test_a_market_does_not_know_the_tickers_of_another(scan: Scan) -> None:
    tickers = {"tickers": ["NASDAQ:AAPL", "INDEX:BTCUSD"]}
    assert symbols_of(scan("crypto", symbols=tickers, columns=["close"])) == ["INDEX:BTCUSD"]
    assert len(symbols_of(scan("global", symbols=tickers, columns=["close"]))) == 2


@pytest.mark.parametrize("market", ["mars", "germay", "", "america/x"])
def test_an_unknown_market_or_path_is_not_found(scan: Scan, market: str) -> None:
    assert scan(market, columns=["close"]).status_code == 404


def test_only_a_post_scans(start_replay: StartReplay, http: requests.Session) -> None:
    assert http.get(f"{start_replay().url}/america/scan", timeout=60).status_code == 404


@pytest.mark.parametrize(
    "question",
    [
        {"filter": [{"left": "RSI", "operation": "crosses", "right": 70}]},
        {"filter": [{"left": "NoSuch", "operation": "greater", "right": 70}]},
        {"filter": [{"left": "RSI", "operation": "greater", "right": "a"}]},
        {"filter": [{"left": "RSI", "operation": "in_range", "right": 5}]},
        {"filter": [{"left": "RSI"}]},
        {"filter": {"left": "RSI", "operation": "nempty"}},
        {"filter": ["RSI"]},
        {"symbols": {"symbolset": ["SYML:NO;SUCH"]}},
        {"filter2": {"operator": "and", "operands": []}},
        {"preset": "all_stocks"},
        {"range": [0]},
        {"range": "0-50"},
        {"range": [0, "50"]},
        {"range": [0, None]},
        {"range": [-5, 10]},
        {"columns": "close"},
        {"columns": [["close"]]},
        {"columns": [None]},
        {"symbols": ["NASDAQ:AAPL"]},
        {"symbols": {"tickers": "NASDAQ:AAPL"}},
        {"symbols": {"tickers": [["NASDAQ:AAPL"]]}},
        {"sort": "name"},
        {"sort": {"sortBy": ["name"]}},
    ],
)
def test_what_the_replay_does_not_understand_is_rejected(
    scan: Scan, capsys: pytest.CaptureFixture[str], question: dict[str, Any]
) -> None:
    response = scan(**{"columns": ["close"], **question})
    assert response.status_code == 400
    assert response.json()["error"]
    assert response.json()["data"] is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'"text"', b"null", b"\xff"])
def test_a_body_that_is_no_json_object_is_rejected(
    start_replay: StartReplay, http: requests.Session, body: bytes
) -> None:
    assert http.post(f"{start_replay().url}/global/scan", data=body, timeout=60).status_code == 400


def test_what_clients_send_beside_is_passed_over(scan: Scan) -> None:
    response = scan(
        symbols={"tickers": ["NASDAQ:AAPL"], "query": {"types": []}},
        columns=["close"],
        options={"lang": "en"},
        range=[0, 1],
    )
    assert symbols_of(response) == ["NASDAQ:AAPL"]


def test_a_ticker_that_spoils_requests_spoils_each_that_names_it(
    start_replay: StartReplay, http: requests.Session
) -> None:
    url = f"{start_replay(poison=['NYSE:XOM']).url}/global/scan"

    def ask(*tickers: str) -> requests.Response:
        question = {"symbols": {"tickers": tickers}, "columns": ["close"]}
        return http.post(url, json=question, timeout=60)

    assert ask("NASDAQ:AAPL", "NYSE:XOM").json() == {
        "totalCount": 0,
        "error": "Invalid symbol",
        "data": None,
    }
    assert symbols_of(ask("NASDAQ:AAPL")) == ["NASDAQ:AAPL"]


def test_one_symbol_is_answered_flat(start_replay: StartReplay, http: requests.Session) -> None:
    replay = start_replay()
    fields = "close,RSI,RSI|3,name,nonsense"
    query = {"symbol": "NASDAQ:AAPL", "fields": fields, "no_404": "true"}
    response = http.get(f"{replay.url}/symbol", params=query, timeout=60)
    assert list(response.json()) == fields.split(",")
    assert response.json()["name"] == "AAPL"
    assert response.json()["RSI|3"] is None
    assert response.json()["nonsense"] is None
    question = {"symbols": {"tickers": ["NASDAQ:AAPL"]}, "columns": ["close", "RSI"]}
    (row,) = http.post(f"{replay.url}/global/scan", json=question, timeout=60).json()["data"]
    assert [response.json()["close"], response.json()["RSI"]] == row["d"]


def test_one_unknown_symbol_is_empty_or_not_found(
    start_replay: StartReplay, http: requests.Session
) -> None:
    url = f"{start_replay().url}/symbol"
    query = {"symbol": "NASDAQ:NOSUCH", "fields": "close"}
    quiet = http.get(url, params={**query, "no_404": "true"}, timeout=60)
    assert (quiet.status_code, quiet.json()) == (200, {})
    loud = http.get(url, params=query, timeout=60)
    assert loud.status_code == 404
    assert loud.json() == {"code": "symbol_not_exists", "errmsg": "empty response"}
    assert http.get(url, timeout=60).status_code == 404


def test_metainfo_lists_the_columns_that_a_scan_serves(
    start_replay: StartReplay, http: requests.Session
) -> None:
    url = start_replay().url
    by_get = http.get(f"{url}/america/metainfo", timeout=60)
    assert by_get.json() == http.post(f"{url}/america/metainfo", json={}, timeout=60).json()
    columns = [field["n"] for field in by_get.json()["fields"]]
    assert "RSI" in columns
    question = {"columns": columns, "range": [0, 60]}
    rows = http.post(f"{url}/global/scan", json=question, timeout=60).json()["data"]
    assert {len(row["d"]) for row in rows} == {len(columns)}


def test_requests_are_kept_as_they_came(start_replay: StartReplay, http: requests.Session) -> None:
    replay = start_replay()
    question = {"columns": ["close"]}
    http.post(f"{replay.url}/america/scan?x=1", json=question, headers={"X-A": "b"}, timeout=60)
    http.get(f"{replay.url}/symbol?symbol=A:B", timeout=60)
    post, get = replay.requests
    assert (post.method, post.path, post.body) == ("POST", "/america/scan?x=1", question)
    assert post.headers["X-A"] == "b"
    assert (get.method, get.path, get.body) == ("GET", "/symbol?symbol=A:B", None)
    assert post.at <= get.at


@pytest.mark.parametrize(
    ("symbol", "about"),
    [
        ("NASDAQ:AAPL", [None, None, 100, 1, "America/New_York"]),
        ("BINANCE:BTCUSDT", [None, None, None, None, "Etc/UTC"]),
    ],
)
def test_metadata_that_nobody_has_recorded_are_null(
    scan: Scan, symbol: str, about: list[Any]
) -> None:
    columns = ["sector", "industry", "pricescale", "minmov", "timezone"]
    (row,) = scan(symbols={"tickers": [symbol]}, columns=columns).json()["data"]
    assert row["d"] == about


def test_metadata_of_a_folder_are_served_as_they_are(
    start_replay: StartReplay, http: requests.Session
) -> None:
    bars = pa.table(
        {
            "timestamp": [1_614_781_800],
            "symbol": ["NYSE:A"],
            **{name: [1.0] for name in ("open", "high", "low", "close", "volume")},
        }
    )
    known = {"sector": "Energy", "industry": "", "pricescale": "10000", "timezone": "Asia/Tokyo"}
    about = {"market": "america", "type": "stock", "currency": "USD", "description": "A"} | known
    replay = start_replay(panel=Panel.from_bars(bars, {"NYSE:A": about}))
    columns = ["sector", "industry", "pricescale", "minmov", "timezone"]
    question = {"columns": columns}
    (row,) = http.post(f"{replay.url}/america/scan", json=question, timeout=60).json()["data"]
    assert row["d"] == ["Energy", None, 10_000, 1, "Asia/Tokyo"]


@pytest.mark.parametrize(
    ("condition", "is_kept"),
    [
        (("close", "greater", 100), lambda row: row["close"] > 100),
        (("close", "egreater", "open"), lambda row: row["close"] >= row["open"]),
        (("close", "less", 100.5), lambda row: row["close"] < 100.5),
        (("type", "equal", "stock"), lambda row: row["type"] == "stock"),
        (("type", "nequal", "stock"), lambda row: row["type"] != "stock"),
        (("close", "in_range", [50, 150]), lambda row: 50 <= row["close"] <= 150),
        (("close", "not_in_range", [50, 150]), lambda row: not 50 <= row["close"] <= 150),
        (("exchange", "in_range", ["NYSE"]), lambda row: row["exchange"] == "NYSE"),
        (("minmov", "empty", None), lambda row: row["minmov"] is None),
        (("minmov", "nempty", None), lambda row: row["minmov"] is not None),
        (("name", "match", "aa"), lambda row: "AA" in row["name"]),
        (("type", "has", ["stock", "fund"]), lambda row: row["type"] in ("stock", "fund")),
        (("type", "has_none_of", "stock"), lambda row: row["type"] != "stock"),
        (("close", "above%", ["open", 0.5]), lambda row: row["close"] >= row["open"] * 1.005),
    ],
)
def test_a_filter_keeps_what_its_condition_says(
    scan: Scan, condition: tuple[Any, ...], is_kept: Any
) -> None:
    columns = ["close", "open", "type", "exchange", "minmov", "name"]
    every = scan(columns=columns, range=[0, 1000]).json()
    kept = {
        each["s"] for each in every["data"] if is_kept(dict(zip(columns, each["d"], strict=True)))
    }
    assert 0 < len(kept) < len(every["data"])
    told = dict(zip(("left", "operation", "right"), condition, strict=True))
    answer = scan(columns=["close"], range=[0, 1000], filter=[told]).json()
    assert {each["s"] for each in answer["data"]} == kept
    assert answer["totalCount"] == len(kept)
    page = scan(columns=["close"], range=[0, 3], filter=[told]).json()
    assert (page["totalCount"], len(page["data"])) == (len(kept), min(3, len(kept)))
