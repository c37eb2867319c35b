"""At its clock the replay serves closed bars only, with the values of the formulas."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import requests

from ingestion.base.errors import InputError
from ingestion.formulas import compute_local_features
from ingestion.markets.hours import bar_close, bar_closes
from ingestion.replay import Panel, ReplayScanner
from tests.declared import TV_TECHNICALS_1D

StartReplay = Callable[..., ReplayScanner]

SAMPLE = Path(__file__).resolve().parent.parent.parent / "data" / "sample"
FEATURES = [column.name for column in TV_TECHNICALS_1D.features]


@pytest.fixture(scope="module")
def bars() -> pa.Table:
    return pq.read_table(SAMPLE / "bars.parquet")


def of_symbol(table: pa.Table, symbol: str) -> pa.Table:
    return table.filter(pc.field("symbol") == symbol)


def served_at(
    start_replay: StartReplay, http: requests.Session, now: datetime, columns: list[str]
) -> dict[str, dict[str, Any]]:
    question = {"columns": columns, "range": [0, 100]}
    url = start_replay(now=now).url
    rows = http.post(f"{url}/global/scan", json=question, timeout=60).json()["data"]
    return {row["s"]: dict(zip(columns, row["d"], strict=True)) for row in rows}


@pytest.mark.parametrize(
    "now",
    [
        datetime(2019, 7, 2, 12, tzinfo=UTC),
        datetime(2020, 7, 3, 21, tzinfo=UTC),  # a holiday
        datetime(2020, 11, 27, 18, tzinfo=UTC),  # a half day's close
        datetime(2021, 3, 15, 19, 59, 59, tzinfo=UTC),  # clocks went forward the day before
        datetime(2021, 4, 12, 21, 30, tzinfo=UTC),
        datetime(2021, 4, 17, 12, tzinfo=UTC),  # a Saturday
        datetime(2030, 1, 1, tzinfo=UTC),
    ],
)
def test_each_symbol_shows_its_last_bar_that_has_closed(
    start_replay: StartReplay, http: requests.Session, bars: pa.Table, now: datetime
) -> None:
    columns = ["time", "last_bar_update_time", "close", "volume"]
    served = served_at(start_replay, http, now, columns)
    expected = {}
    for symbol in pc.unique(bars["symbol"]).to_pylist():
        own = of_symbol(bars, symbol)
        closes = bar_closes(symbol, own["timestamp"].to_numpy())
        closed = np.flatnonzero(closes <= now.timestamp())
        if len(closed):
            (last,) = own.take(closed[-1:]).to_pylist()
            expected[symbol] = {
                "time": last["timestamp"],
                "last_bar_update_time": int(closes[closed[-1]]),
                "close": last["close"],
                "volume": last["volume"],
            }
    assert served == expected


def test_a_bar_appears_at_the_second_of_its_close(
    start_replay: StartReplay, http: requests.Session, bars: pa.Table
) -> None:
    opens = of_symbol(bars, "NASDAQ:AAPL")["timestamp"].to_pylist()
    for opened, before in zip(opens[300:303], opens[299:302], strict=True):
        close = datetime.fromtimestamp(bar_close("NASDAQ:AAPL", opened), UTC)
        for now, shown in ((close, opened), (close - timedelta(microseconds=1), before)):
            served = served_at(start_replay, http, now, ["time"])
            assert served["NASDAQ:AAPL"]["time"] == shown


def test_a_symbol_is_unknown_until_its_first_bar_has_closed(
    start_replay: StartReplay, http: requests.Session
) -> None:
    begin = datetime(2020, 1, 2, tzinfo=UTC)  # BINANCE:ETHUSDT starts on 2020-01-01
    assert "BINANCE:ETHUSDT" in served_at(start_replay, http, begin, ["close"])
    before = served_at(start_replay, http, begin - timedelta(seconds=1), ["close"])
    assert "BINANCE:ETHUSDT" not in before
    assert len(before) == 59
    query = {"symbol": "BINANCE:ETHUSDT", "fields": "close", "no_404": "true"}
    url = start_replay(now=begin - timedelta(seconds=1)).url
    assert http.get(f"{url}/symbol", params=query, timeout=60).json() == {}


@pytest.mark.parametrize("symbol", ["NASDAQ:AAPL", "NASDAQ:TSLA", "NYSE:XOM", "BINANCE:BTCUSDT"])
def test_values_are_those_of_the_formulas_on_the_bars_so_far(
    start_replay: StartReplay, http: requests.Session, bars: pa.Table, symbol: str
) -> None:
    """The formulas see no later bar here, so agreement also means that nothing looks ahead."""
    for now in (datetime(2019, 7, 20, tzinfo=UTC), datetime(2021, 2, 3, 22, tzinfo=UTC)):
        own = of_symbol(bars, symbol).sort_by("timestamp")
        closes = bar_closes(symbol, own["timestamp"].to_numpy())
        own = own.append_column("close_timestamp", pa.array(closes))
        past = own.filter(pa.array(closes <= now.timestamp()))
        expected = compute_local_features(past).to_pylist()[-1]
        served = served_at(start_replay, http, now, FEATURES)[symbol]
        assert served == {name: expected[name] for name in FEATURES}


def test_the_change_is_against_the_close_before_in_the_money_of_the_day(
    start_replay: StartReplay, http: requests.Session, bars: pa.Table
) -> None:
    own = of_symbol(bars, "NASDAQ:AAPL").sort_by("timestamp").to_pylist()
    split_day = next(number for number, bar in enumerate(own) if bar["split_ratio"] != 1)
    before, after = own[split_day - 1 : split_day + 1]
    now = datetime.fromtimestamp(after["timestamp"], UTC) + timedelta(hours=8)
    change = served_at(start_replay, http, now, ["change"])["NASDAQ:AAPL"]["change"]
    old = before["close"] / after["split_ratio"]
    assert change == pytest.approx((after["close"] / old - 1) * 100)
    assert abs(change) < 10
    first = served_at(start_replay, http, datetime(2019, 7, 2, tzinfo=UTC), ["change"])
    assert first["NASDAQ:AAPL"]["change"] is None


def test_texts_are_those_of_the_symbol_list(
    start_replay: StartReplay, http: requests.Session
) -> None:
    columns = ["name", "exchange", "description", "type", "currency", "update_mode"]
    served = served_at(start_replay, http, datetime(2021, 4, 12, tzinfo=UTC), columns)
    with (SAMPLE / "symbols.csv").open(newline="", encoding="utf-8") as file:
        listed = {row["symbol"]: row for row in csv.DictReader(file)}
    assert served.keys() == listed.keys()
    for symbol, texts in served.items():
        assert f"{texts['exchange']}:{texts['name']}" == symbol
        for name in ("description", "type", "currency"):
            assert texts[name] == listed[symbol][name]
    assert served["NASDAQ:AAPL"]["update_mode"] == "delayed_streaming_900"
    assert served["BINANCE:BTCUSDT"]["update_mode"] == "streaming"


def test_aliases_repeat_the_panel_under_other_names(
    start_replay: StartReplay, http: requests.Session, sample_panel: Panel
) -> None:
    aliases = sample_panel.with_aliases(150)
    assert aliases.symbols == tuple(f"BENCH:S{number:06}" for number in range(150))
    replay = start_replay(panel=aliases)
    question = {"columns": ["name", "exchange", "close", "RSI"], "range": [0, 200]}
    rows = http.post(f"{replay.url}/global/scan", json=question, timeout=60).json()["data"]
    values = {row["s"]: row["d"] for row in rows}
    assert len(values) == 150
    assert values["BENCH:S000007"][:2] == ["S000007", "BENCH"]
    assert values["BENCH:S000007"][2:] == values["BENCH:S000067"][2:]
    original = sample_panel.symbols[7]
    row = sample_panel.known(int(replay.now().timestamp()))[original]
    assert values["BENCH:S000007"][2:] == sample_panel.values(original, row, ["close", "RSI"])


def test_a_folder_without_bars_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        Panel.from_folder(tmp_path)
    (tmp_path / "bars.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match=str(tmp_path)):
        Panel.from_folder(tmp_path)
