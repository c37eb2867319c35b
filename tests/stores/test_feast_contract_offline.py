"""What the stock stores get wrong on the same files (FEAST.md, S1 to S4), and this one right.

A stock store that has learned it makes its line here fail: then the line may go.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from tests.stores.asof_lake import TYPES, write
from tests.stores.asof_repository import ASOF, repository, signals_view, symbol

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=["UTC", "America/New_York"], autouse=True)
def host_zone(request, monkeypatch):
    """What time zone the host is in must not matter."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


MONDAY = datetime(2021, 4, 12, 21, tzinfo=UTC)
DAY = timedelta(days=1)


def row(name: str, event: datetime, rsi: float | None, created: datetime = MONDAY) -> dict:
    return {
        "symbol": name,
        "RSI": rsi,
        "name_y": f"{name}{event:%d}",
        "event_timestamp": event,
        "created_timestamp": created,
    }


def answer(folder: Path, store: str, asked: pd.DataFrame, *features: str, **how) -> pd.DataFrame:
    """Ask a store of a kind for features of the files below a folder."""
    place = folder / store.rpartition(".")[2]
    place.mkdir()
    view = signals_view(str(folder / "data"), **how)
    opened = repository(place, symbol, view, store=store)
    refs = [f"signals:{feature}" for feature in features]
    return opened.get_historical_features(asked, refs).to_df()


def asked(*rows: tuple[str, datetime]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["symbol", "event_timestamp"])


def test_s1_no_row_is_lost(tmp_path: Path):
    write(tmp_path / "data" / "a.parquet", [row("A", MONDAY, 1.0)])
    rows = asked(
        ("A", MONDAY), ("A", MONDAY), ("A", MONDAY - DAY), ("A", MONDAY + 9 * DAY), ("A", MONDAY)
    )
    assert len(answer(tmp_path, "dask", rows, "RSI")) < len(rows)
    ours = answer(tmp_path, ASOF, rows, "RSI")
    pd.testing.assert_frame_equal(ours[list(rows)], rows)
    assert ours["RSI"].fillna(-1).tolist() == [1.0, 1.0, -1.0, -1.0, 1.0]


def test_s2_of_several_versions_the_last_created_counts(tmp_path: Path):
    names = [f"S{number:03}" for number in range(200)]
    for version in range(3):
        created = MONDAY + version * DAY
        rows = [row(name, MONDAY, float(version), created) for name in names]
        write(tmp_path / "data" / f"part-{version}.parquet", rows)
    rows = asked(*((name, MONDAY + DAY) for name in names))
    assert set(answer(tmp_path, "dask", rows, "RSI")["RSI"]) != {2.0}
    assert set(answer(tmp_path, ASOF, rows, "RSI")["RSI"]) == {2.0}


@pytest.mark.parametrize("first", [pa.int64(), pa.null(), None], ids=["int", "null", "missing"])
def test_s3_types_are_the_declared_ones(tmp_path: Path, first):
    types = {name: kind for name, kind in TYPES.items() if name != "RSI"}
    types |= {} if first is None else {"RSI": first}
    value = 1.0 if first == pa.int64() else None
    write(tmp_path / "data" / "part-0.parquet", [row("A", MONDAY, value)], types)
    write(tmp_path / "data" / "part-1.parquet", [row("A", MONDAY + DAY, 3.5)])
    rows = asked(("A", MONDAY + DAY))
    if first == pa.int64():
        assert answer(tmp_path, "duckdb", rows, "RSI")["RSI"].tolist() == [4]
    elif first is None:
        with pytest.raises(Exception, match="not found in table"):
            answer(tmp_path, "duckdb", rows, "RSI")
    ours = answer(tmp_path, ASOF, asked(("A", MONDAY), ("A", MONDAY + DAY)), "RSI")
    assert ours["RSI"].fillna(-1).tolist() == [value or -1.0, 3.5]


def test_s4_no_name_is_reserved(tmp_path: Path):
    write(tmp_path / "data" / "a.parquet", [row("A", MONDAY, 1.0)])
    rows = asked(("A", MONDAY))
    with pytest.raises(Exception, match="name_y"):
        answer(tmp_path, "duckdb", rows, "name_y")
    assert answer(tmp_path, ASOF, rows, "name_y")["name_y"].tolist() == ["A12"]


def test_s4_nanoseconds_are_microseconds(tmp_path: Path):
    types = TYPES | {"event_timestamp": pa.timestamp("ns", "UTC")}
    write(tmp_path / "data" / "a.parquet", [row("A", MONDAY, 1.0)], types)
    view = signals_view(str(tmp_path / "data"))
    store = repository(tmp_path, symbol, view)
    assert store.get_historical_features(asked(("A", MONDAY)), ["signals:RSI"]).to_df()[
        "RSI"
    ].tolist() == [1.0]
    store.materialize(MONDAY, MONDAY)
    assert store.get_online_features(["signals:RSI"], [{"symbol": "A"}]).to_dict()["RSI"] == [1.0]
