from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import strategies as st

from ingestion.base.errors import CandidatesError
from ingestion.markets.candidates import read_candidates
from ingestion.markets.symbols import symbol_problem
from tests.fuzzing import fuzz


def write(folder: Path, text: str) -> Path:
    path = folder / "portfolio_candidates.json"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        '["NASDAQ:AAPL", "BINANCE:BTCUSDT"]',
        '{"data": ["NASDAQ:AAPL", "BINANCE:BTCUSDT"]}',
        '{"meta": {"data": [1]}, "data": [{"symbol": "NASDAQ:AAPL", "rank": 1},'
        ' {"physical_symbol": "BINANCE:BTCUSDT"}], "more": null}',
        '[{"symbol": "AAPL", "physical_symbol": "NASDAQ:AAPL"}, {"symbol": "BINANCE:BTCUSDT"}]',
        '\ufeff["NASDAQ:AAPL", "BINANCE:BTCUSDT", "NASDAQ:AAPL"]',
        # As the scanner and its clients give them.
        '{"totalCount": 2, "data": [{"s": "NASDAQ:AAPL", "d": ["AAPL", 1.5]},'
        ' {"s": "BINANCE:BTCUSDT", "d": []}]}',
        '[{"ticker": "NASDAQ:AAPL", "name": "AAPL", "close": 1}, {"ticker": "BINANCE:BTCUSDT"}]',
        '{"symbols": ["NASDAQ:AAPL", "BINANCE:BTCUSDT"]}',
        '{"symbols": {"tickers": ["NASDAQ:AAPL", "BINANCE:BTCUSDT"], "query": {"types": []}},'
        ' "columns": ["close"]}',
        '{"id": 7, "symbols": [{"s": "NASDAQ:AAPL", "f": [1]}, {"s": "BINANCE:BTCUSDT"}]}',
        '{"data": {"symbols": ["NASDAQ:AAPL", "BINANCE:BTCUSDT"]}}',
        '[{"name": "AAPL", "exchange": "NASDAQ"}, {"symbol": "BTCUSDT", "exchange": "BINANCE"}]',
        '[{"symbol": "AAPL", "full_name": "NASDAQ:AAPL"}, {"pro_name": "BINANCE:BTCUSDT"}]',
        # As a watch list is exported.
        "###TECH,NASDAQ:AAPL,###COINS,BINANCE:BTCUSDT",
        "NASDAQ:AAPL\nBINANCE:BTCUSDT\n",
        "\ufeff###TECH\r\nNASDAQ:AAPL, NASDAQ:AAPL\r\n###COINS\r\n\r\nBINANCE:BTCUSDT",
        "NASDAQ:AAPL,BINANCE:BTCUSDT",
    ],
)
def test_lists_and_objects_of_strings_and_objects_are_read(tmp_path: Path, text: str):
    candidates = read_candidates(write(tmp_path, text))
    assert candidates.symbols == ("NASDAQ:AAPL", "BINANCE:BTCUSDT")
    assert candidates.problems == ()
    assert candidates.profile == "portfolio_candidates.json"


def test_repeated_symbols_are_asked_once_and_counted(tmp_path: Path):
    candidates = read_candidates(write(tmp_path, '["A:A", "B:B", "A:A", "A:A"]'))
    assert candidates.symbols == ("A:A", "B:B")
    assert candidates.repeated == 2


def test_bad_entries_are_reported_by_number_and_cost_no_other(tmp_path: Path):
    text = '[\n "NASDAQ:AAPL",\n "AAPL",\n\n {"name": "x"}, 7,\n "nasdaq:msft", "NYSE:IBM"\n]'
    candidates = read_candidates(write(tmp_path, text))
    assert candidates.symbols == ("NASDAQ:AAPL", "NYSE:IBM")
    assert [problem.split(": ")[0] for problem in candidates.problems] == [
        "entry 2",
        "entry 3",
        "entry 4",
        "entry 5",
    ]
    assert "write NASDAQ:MSFT" in candidates.problems[-1]


def test_a_watch_list_reports_what_is_no_symbol_by_number(tmp_path: Path):
    text = "###A: B\nNASDAQ:AAPL\nMSFT,NYSE:IBM\nNASDAQ:A/NASDAQ:B"
    candidates = read_candidates(write(tmp_path, text))
    assert candidates.symbols == ("NASDAQ:AAPL", "NYSE:IBM")
    assert [problem.split(":")[0] for problem in candidates.problems] == ["entry 2", "entry 4"]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ('{"id": 1, "isin": "US"}', "its keys are 'id', 'isin'"),
        ("{}", "its keys are none"),
        ('{"name": "Apple Inc", "exchange": 7}', "'Apple Inc': no exchange"),
        ('{"d": ["AAPL"], "symbol": null}', "its keys are 'd', 'symbol'"),
    ],
)
def test_an_entry_without_a_symbol_is_told_by_its_keys(tmp_path: Path, entry: str, told: str):
    (problem,) = read_candidates(write(tmp_path, f'[{entry}, "A:A"]')).problems
    assert told in problem


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1"),
        ("[]", "no usable symbol"),
        ('{"data": ["A:A"], "data": ["B:B"]}', "twice"),
        ("{}", "data"),
        ('{"data": {}}', "data"),
        ('["AAPL"]', "no exchange"),
        ('["A:A"', "line 1"),
        ('["A:A",\n\n "B:B" "C:C"]', "line 3"),
        ('["A:A"] trailing', "Extra data: line 1"),
        ("7", "neither a list nor an object"),
        ("[" * 100_000, "deeply"),
        ('{"data":' + '{"data":' * 100_000, "deeply"),
        ('["A:A", ' + "9" * 5000 + "]", "cannot be read"),
        ('{"meta": ' + "9" * 5000 + ', "data": ["A:A"]}', "cannot be read"),
    ],
)
def test_an_empty_or_broken_file_is_an_input_error(tmp_path: Path, text: str, told: str):
    with pytest.raises(CandidatesError, match=told) as error:
        read_candidates(write(tmp_path, text))
    assert error.value.exit_code == 2
    assert "portfolio_candidates.json" in str(error.value)


def test_a_missing_file_a_folder_and_binary_are_input_errors(tmp_path: Path):
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\x01")
    for name in ("missing.json", ".", "binary.json"):
        with pytest.raises(CandidatesError, match="cannot be read"):
            read_candidates(tmp_path / name)


@pytest.mark.parametrize(
    "symbol",
    [
        "NASDAQ:AAPL",
        "NYSE:BRK.B",
        "NYSE:BAC/PB",
        "COMEX:GC1!",
        "NSE:M&M",
        "FX_IDC:EURUSD",
        "A:中文",
    ],
)
def test_symbols_as_tradingview_writes_them_are_accepted(symbol: str):
    assert symbol_problem(symbol) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "AAPL", ":AAPL", "NASDAQ:", "NASDAQ: AAPL", "NAS DAQ:AAPL", "A:B:C", "A:.."),
        *("a:b", "A:B\0", "A:B\n", "A:" + "B" * 65, "../A:B", "A:B\\C", None, 7, ["A:B"]),
    ],
)
def test_anything_else_is_refused_with_a_reason(text: object):
    assert symbol_problem(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.just("NASDAQ:AAPL"),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["symbol", "data", "symbols", "tickers", "s", "x"]), inner
        )
    ),
)


json_like = st.lists(
    st.sampled_from(
        [
            *(
                b"[",
                b"]",
                b"{",
                b"}",
                b'"',
                b":",
                b",",
                b" ",
                b"\n",
                b"\\ud800",
                b"\\u0000",
                b"\xef\xbb\xbf",
            ),
            *(
                b'"data":[',
                b'"NASDAQ:AAPL"',
                b'"symbol":',
                b"1e999",
                b"NaN",
                b"-",
                b"null",
                b"\xff",
            ),
            *(b"9" * 5000, b"[" * 3000, b'{"data":' * 3000),
        ]
    ),
    max_size=30,
).map(b"".join)


def entries_of(value) -> list:
    """What lies in the lists under known keys, at any depth."""
    if isinstance(value, list):
        return value
    return [
        entry
        for key in ("data", "symbols", "tickers")
        if isinstance(value.get(key), list | dict)
        for entry in entries_of(value[key])
    ]


@fuzz(150, value=json_values)
def test_any_json_gives_symbols_or_an_input_error(tmp_path: Path, value):
    try:
        candidates = read_candidates(write(tmp_path, json.dumps(value)))
    except CandidatesError:
        return
    assert len(entries_of(value)) == (
        len(candidates.symbols) + len(candidates.problems) + candidates.repeated
    )
    assert all(symbol_problem(symbol) is None for symbol in candidates.symbols)


@fuzz(150, content=st.binary() | json_like)
def test_any_bytes_give_symbols_or_an_input_error(tmp_path: Path, content: bytes):
    path = tmp_path / "candidates.json"
    path.write_bytes(content)
    with contextlib.suppress(CandidatesError):
        assert read_candidates(path).symbols


def test_a_file_name_that_is_no_text_still_names_the_profile(tmp_path: Path):
    path = tmp_path / os.fsdecode(b"caf\xe9.json")
    path.write_text('["A:A"]')
    assert read_candidates(path).profile == "caf\ufffd.json"
