"""Bodies as they are on the wire: recorded ones, and broken ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from ingestion.scanner import wire
from ingestion.scanner.values import RowReader
from ingestion.scanner.wire import MalformedAnswer, Page, Tickers, parse_answer
from tests.declared import TV_TECHNICALS_1D
from tests.fuzzing import fuzz

RECORDED_BOTH_WAYS = ["aapl_1d_2022", "aapl_cmp_2019"]
RECORDED = [*RECORDED_BOTH_WAYS, "watakandai_2026"]


def request_of(recordings: Path, name: str) -> Any:
    return json.loads((recordings / f"{name}.request.json").read_bytes())


def response_of(recordings: Path, name: str) -> bytes:
    return (recordings / f"{name}.response.json").read_bytes()


def by_column(recordings: Path, name: str, symbol: str) -> dict[str, Any]:
    columns = request_of(recordings, name)["columns"]
    rows = parse_answer(response_of(recordings, name)).rows
    values = next(row.values for row in rows if row.symbol == symbol)
    return dict(zip(columns, values, strict=True))


def test_a_recorded_answer_of_2022_is_read(recordings: Path) -> None:
    apple = by_column(recordings, "aapl_1d_2022", "NASDAQ:AAPL")
    assert apple["RSI"] == 49.36300993
    assert apple["close"] == 172.17
    assert apple["Recommend.MA"] == 0
    assert apple["volume"] == 86_709_097
    assert apple["high"] == 174.14


def test_a_recorded_answer_of_2019_is_read_with_its_scientific_numbers(recordings: Path) -> None:
    answer = parse_answer(response_of(recordings, "aapl_cmp_2019"))
    assert (answer.total, [row.symbol for row in answer.rows]) == (2, ["NASDAQ:AAPL", "NYSE:CMP"])
    apple = by_column(recordings, "aapl_cmp_2019", "NASDAQ:AAPL")
    assert apple["RSI"] == 75.8055
    assert apple["Rec.WR"] == -1
    compass = by_column(recordings, "aapl_cmp_2019", "NYSE:CMP")
    assert compass["close"] == 54.1359
    assert compass["Pivot.M.Demark.R1"] == 57.5875


def test_a_recorded_answer_of_2026_is_read_with_its_texts_and_nulls(recordings: Path) -> None:
    answer = parse_answer(response_of(recordings, "watakandai_2026"))
    assert (answer.total, len(answer.rows), answer.illegible) == (5, 5, 0)
    assert {len(row.values) for row in answer.rows} == {56}
    mongo = next(row for row in answer.rows if row.symbol == "NASDAQ:MDB")
    assert mongo.values[:3] == ["MDB", "MongoDB, Inc. Class A", 351.73]
    assert sum(value is None for row in answer.rows for value in row.values) == 15


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_is_whole(recordings: Path, name: str) -> None:
    assert parse_answer(response_of(recordings, name)).is_whole


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("aapl_1d_2022", "NASDAQ:AAPL"),
        ("aapl_cmp_2019", "NASDAQ:AAPL"),
        ("aapl_cmp_2019", "NYSE:CMP"),
    ],
)
def test_the_recorded_rating_is_the_mean_of_its_parts(
    recordings: Path, name: str, symbol: str
) -> None:
    values = by_column(recordings, name, symbol)
    mean = (values["Recommend.MA"] + values["Recommend.Other"]) / 2
    assert values["Recommend.All"] == pytest.approx(mean, abs=1e-7)


def test_recorded_values_become_catalog_values(recordings: Path) -> None:
    recorded = by_column(recordings, "aapl_1d_2022", "NASDAQ:AAPL")
    columns = [column for column in TV_TECHNICALS_1D.scanned if column.scanner in recorded]
    assert len(columns) == 11
    values = RowReader(columns).read([recorded[column.scanner] for column in columns])
    read = {column.name: value for column, value in zip(columns, values, strict=True)}
    assert read == {column.name: recorded[column.scanner] for column in columns}
    assert {type(value) for value in values} == {float}
    assert read["Recommend.MA"] == 0.0
    for column, value in zip(columns, values, strict=True):
        assert column.low is None or (value is not None and value >= column.low)
        assert column.high is None or (value is not None and value <= column.high)


@pytest.mark.parametrize("name", RECORDED_BOTH_WAYS)
def test_our_request_is_the_recorded_one_with_an_explicit_range(
    recordings: Path, name: str
) -> None:
    recorded = request_of(recordings, name)
    tickers = tuple(recorded["symbols"]["tickers"])
    ours = Tickers(tickers).body(recorded["columns"])
    assert ours == {**recorded, "range": [0, len(tickers)]}


def test_a_page_is_asked_for_by_name_and_with_an_exclusive_end() -> None:
    assert Page(100, 150).body(["close"]) == {
        "symbols": {"query": {"types": []}},
        "columns": ["close"],
        "sort": {"sortBy": "name", "sortOrder": "asc"},
        "range": [100, 150],
    }
    assert len(Page(100, 150)) == 50


def test_halves_hold_every_ticker_once_and_in_order() -> None:
    for count in range(2, 9):
        tickers = tuple(f"X:{number}" for number in range(count))
        left, right = Tickers(tickers).halves()
        assert left.tickers + right.tickers == tickers
        assert abs(len(left) - len(right)) <= 1


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t ", b"\n" * 100])
def test_an_empty_body_is_called_empty(body: bytes) -> None:
    with pytest.raises(MalformedAnswer, match="empty"):
        parse_answer(body)


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Just a moment</body></html>",
        b"Too many requests",
        b"\x00\xff\xfe",
        b"\xef\xbb\xbf",
        b"\x1f\x8b\x08",
        b'{"totalCount":1,"data":[]}{}',
        b'{"totalCount": 0, "data": [' + b"9" * 5000 + b"]}",
    ],
)
def test_a_body_that_is_not_json_is_quoted_in_the_message(body: bytes) -> None:
    with pytest.raises(MalformedAnswer, match="not JSON"):
        parse_answer(body)


@pytest.mark.parametrize("name", RECORDED)
def test_a_body_cut_at_any_byte_is_malformed(recordings: Path, name: str) -> None:
    whole = response_of(recordings, name).rstrip()
    for end in range(len(whole)):
        with pytest.raises(MalformedAnswer):
            parse_answer(whole[:end])
        assert wire.error_text(whole[:end]) is None


@pytest.mark.parametrize(
    "opening", [b"[", b'{"data":', b'{"totalCount":1,"data":[{"s":"A:B","d":[']
)
def test_a_body_nested_without_end_is_malformed(opening: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        parse_answer(opening + b"[" * 100_000)
    with pytest.raises(MalformedAnswer):
        parse_answer(opening + b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize(
    "document",
    [
        None,
        True,
        7,
        "text",
        [],
        {},
        {"totalCount": 0},
        {"totalCount": 0, "data": None},
        {"totalCount": 0, "data": {}},
        {"totalCount": 0, "data": "none"},
    ],
)
def test_json_of_another_shape_is_malformed(document: Any) -> None:
    with pytest.raises(MalformedAnswer, match="no list of rows"):
        parse_answer(json.dumps(document).encode())


@pytest.mark.parametrize("total", [None, "2", True, 1.5, [], -1, 10**12])
def test_a_count_that_is_no_count_is_malformed(total: Any) -> None:
    """Without it nobody can tell a short page from unknown symbols."""
    row = {"s": "NASDAQ:AAPL", "d": []}
    with pytest.raises(MalformedAnswer, match="totalCount"):
        parse_answer(json.dumps({"totalCount": total, "data": [row]}).encode())
    with pytest.raises(MalformedAnswer, match="totalCount"):
        parse_answer(json.dumps({"data": [row]}).encode())


@pytest.mark.parametrize(
    "entry",
    [
        None,
        3,
        "NASDAQ:AAPL",
        [],
        {},
        {"s": "NASDAQ:AAPL"},
        {"d": []},
        {"s": None, "d": []},
        {"s": "NASDAQ:AAPL", "d": None},
    ],
)
def test_an_illegible_entry_costs_itself_only(entry: Any) -> None:
    good = {"s": "NYSE:CMP", "d": [1]}
    answer = parse_answer(json.dumps({"totalCount": 2, "data": [entry, good]}).encode())
    assert [row.symbol for row in answer.rows] == ["NYSE:CMP"]
    assert answer.illegible == 1
    assert not answer.is_whole


def test_numbers_that_json_does_not_have_pass_through_to_their_row() -> None:
    body = b'{"totalCount":1,"data":[{"s":"A:B","d":[NaN,Infinity,-Infinity,1e999,1' + (
        b"0" * 400 + b"]}]}"
    )
    nan, *infinities, huge = parse_answer(body).rows[0].values
    assert nan != nan
    assert infinities == [float("inf"), float("-inf"), float("inf")]
    assert huge == 10**400


def test_a_page_of_fewer_symbols_than_matched_is_not_whole() -> None:
    rows = [{"s": "A:B", "d": []}, {"s": "A:B", "d": []}]
    assert not parse_answer(json.dumps({"totalCount": 2, "data": rows}).encode()).is_whole
    assert parse_answer(json.dumps({"totalCount": 1, "data": rows}).encode()).is_whole


def test_the_scanners_own_words_are_found() -> None:
    body = b'{"totalCount":0,"error":"Unknown field \\"change.5\\"","data":null}'
    error = wire.error_text(body)
    assert error == 'Unknown field "change.5"'
    assert wire.unknown_column(error) == "change.5"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"error":null}', b'{"error":""}', b'{"error":5}']
)
def test_other_bodies_hold_no_words_of_the_scanner(body: bytes) -> None:
    assert wire.error_text(body) is None


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ('Unknown field "RSI|3"', "RSI|3"),
        ("unknown field RSI7", "RSI7"),
        ('UNKNOWN FIELD  "a b"', "a b"),
        ('Bad request: Unknown field "x".', "x"),
        ("Invalid symbol", None),
        ("Unknown field", None),
        ('Unknown field ""', None),
    ],
)
def test_an_unknown_column_is_read_from_an_error(text: str, column: str | None) -> None:
    assert wire.unknown_column(text) == column


def test_an_excerpt_is_one_short_line() -> None:
    assert wire.excerpt(b" a\r\n\tb  c ") == "a b c"
    assert wire.excerpt(b"x" * 10_000, 10) == "x" * 10 + "…"
    assert wire.excerpt(b"\xff\xfe") == "\ufffd\ufffd"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
ENTRIES = st.fixed_dictionaries({}, optional={"s": st.text() | JSON, "d": st.lists(JSON) | JSON})
ANSWERS = st.fixed_dictionaries(
    {}, optional={"totalCount": JSON, "data": st.lists(ENTRIES) | JSON, "error": JSON}
)


@fuzz(100, body=st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_arbitrary_bytes_are_read_or_malformed(body: bytes) -> None:
    read_or_malformed(body)


@fuzz(100, document=JSON | ANSWERS)
def test_arbitrary_json_is_read_or_malformed(document: Any) -> None:
    read_or_malformed(json.dumps(document).encode())


@fuzz(100, data=st.data())
def test_a_recorded_body_with_a_spoiled_stretch_is_read_or_malformed(
    recordings: Path, data: st.DataObject
) -> None:
    body = response_of(recordings, "aapl_1d_2022")
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 40)))
    read_or_malformed(body[:start] + data.draw(st.binary(max_size=8)) + body[end:])


def read_or_malformed(body: bytes) -> None:
    wire.error_text(body)
    wire.excerpt(body)
    try:
        answer = parse_answer(body)
    except MalformedAnswer:
        return
    assert answer.total >= 0
    assert all(isinstance(row.symbol, str) for row in answer.rows)
