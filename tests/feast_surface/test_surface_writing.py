"""Writes: pushes to either half, rows without a push, and on-demand views that are stored."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Field, PushSource
from feast.data_source import PushMode
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Map, String

from tests.feast_surface.repositories import (
    DAY,
    MONDAY,
    SYMBOL,
    Repository,
    instants,
    price_file,
    price_view,
    served,
)
from tests.feast_surface.surface import broken, fails, refused, surface

BOTH = PushMode.ONLINE_AND_OFFLINE
NEXT = MONDAY + 2 * DAY
TEXT = "2021-04-14T21:30:00Z"


def pushed(repository: Repository, rows: dict[str, list[Any]], to: PushMode = BOTH) -> None:
    """Push rows to prices."""
    repository.store.push("ticks", pd.DataFrame(rows), to=to)


def prices(repository: Repository) -> None:
    """Apply prices with a push source ``ticks``."""
    source = PushSource(name="ticks", batch_source=price_file(repository))
    repository.store.apply([SYMBOL, source, price_view(source)])


def row(at: Any, price: Any = 9.5, symbol: str = "C", **more: Any) -> dict[str, list[Any]]:
    """Return a row of prices, its columns in another order than the file's."""
    return {"price": [price], "event_timestamp": [at], "volume": [1], "symbol": [symbol]} | {
        name: [value] for name, value in more.items()
    }


def stored(repository: Repository, *symbols: str, at: datetime = NEXT) -> list[float]:
    """Return what history knows of symbols."""
    asked = pd.DataFrame({"symbol": symbols, "event_timestamp": [at] * len(symbols)})
    job = repository.store.get_historical_features(asked, ["prices:price"])
    return job.to_df().sort_values("symbol")["price"].tolist()


def is_pushed(repository: Repository, at: Any) -> None:
    prices(repository)
    pushed(repository, row(at))
    assert served(repository.store, "C") == {"price": [9.5]}
    assert stored(repository, "A", "C") == [3.5, 9.5]


@surface("a push to both halves, columns in another order")
def test_a_push_to_both(repository: Repository):
    is_pushed(repository, NEXT)


@surface("… whose instant is text, as in JSON")
def test_a_push_of_text(repository: Repository):
    is_pushed(repository, TEXT)


@surface(
    "… without a zone: UTC",
    stock=fails("its cast wants a zone", pa.ArrowInvalid, "expected a zone offset"),
)
def test_a_push_of_text_without_a_zone(repository: Repository):
    is_pushed(repository, "2021-04-14 21:30:00")


@surface(
    "… in nanoseconds",
    stock=fails("its cast is a safe one", pa.ArrowInvalid, "would lose data"),
    remark="cut to the unit of the source",
)
def test_a_push_of_nanoseconds(repository: Repository):
    is_pushed(repository, pd.Timestamp(NEXT) - pd.Timedelta(1, "ns"))


@surface("pushes one after the other")
def test_pushes_one_after_the_other(repository: Repository):
    prices(repository)
    for number in range(3):
        pushed(repository, row(NEXT + number * DAY, price=float(number)))
    assert served(repository.store, "C") == {"price": [2.0]}
    assert [*stored(repository, "C"), *stored(repository, "C", at=NEXT + DAY)] == [0.0, 1.0]


@surface("a push to the offline half")
def test_a_push_to_the_offline_half(repository: Repository):
    prices(repository)
    pushed(repository, row(TEXT), to=PushMode.OFFLINE)
    assert served(repository.store, "C") == {"price": [None]}
    assert stored(repository, "C") == [9.5]


@surface(
    "dictionaries for a map column of the source",
    stock=fails("Arrow casts no struct to a map", pa.ArrowNotImplementedError, "cast_map"),
)
def test_a_push_of_dictionaries(repository: Repository):
    kind = pa.map_(pa.string(), pa.string())
    feed = repository.file(
        "feed",
        symbol=["A"],
        event_timestamp=instants(MONDAY),
        tags=pa.array([[("a", "1")]], kind),
    )
    source = PushSource(name="ticks", batch_source=feed)
    schema = [Field(name="symbol", dtype=String), Field(name="tags", dtype=Map)]
    repository.store.apply([SYMBOL, source, price_view(source, schema=schema)])
    rows = {"symbol": ["B", "C"], "event_timestamp": [TEXT] * 2, "tags": [{"a": "2"}, {"b": "3"}]}
    pushed(repository, rows)
    tags = pq.read_table(feed.path).sort_by("symbol")["tags"].to_pylist()
    assert tags == [[("a", "1")], [("a", "2")], [("b", "3")]]


@surface(
    "rows that are newer replace; older ones do not, online",
    stock=fails("the row that came last is served", AssertionError),
)
def test_newer_rows_win(repository: Repository):
    prices(repository)
    for at, price in ((NEXT, 2.0), (NEXT - DAY, 1.0)):
        pushed(repository, row(at, price), to=PushMode.ONLINE)
    assert served(repository.store, "C") == {"price": [2.0]}


HALF = broken(
    "it writes the online half first, and no store learns that another follows",
    AssertionError,
    "half a push",
)


def nothing_is_pushed(repository: Repository, rows: dict[str, list[Any]]) -> None:
    prices(repository)
    try:
        pushed(repository, rows)
    except Exception:  # noqa: BLE001 - whatever the offline half refuses it with
        assert served(repository.store, "C") == {"price": [None]}, "half a push"
    else:
        raise ValueError("it was stored")


@surface(
    "a push to both halves that the offline one refuses (a column more) leaves none",
    stock=HALF,
    ours=HALF,
    remark="push to `offline` first, then to `online`",
)
def test_a_column_more(repository: Repository):
    nothing_is_pushed(repository, row(TEXT, more=1))


@surface(
    "… (an instant that is no ISO 8601)",
    stock=HALF,
    ours=HALF,
)
def test_a_date_of_another_form(repository: Repository):
    nothing_is_pushed(repository, row("14.04.2021"))


@surface("… or that the online one refuses (no instant, text for a number)")
def test_no_instant(repository: Repository):
    nothing_is_pushed(repository, row("yesterday"))
    nothing_is_pushed(repository, row(TEXT, price="much"))


@surface("`store.write_to_online_store`, `write_to_offline_store`")
def test_rows_are_written_without_a_push(repository: Repository):
    repository.store.apply([SYMBOL, price_view(price_file(repository))])
    repository.store.write_to_online_store("prices", pd.DataFrame(row(NEXT)))
    repository.store.write_to_offline_store("prices", pd.DataFrame(row(NEXT)))
    assert served(repository.store, "C") == {"price": [9.5]}
    assert stored(repository, "C") == [9.5]


@surface(
    "rows of another schema than the source's",
    stock=refused("missing_expected_columns: ['volume']", ValueError),
    ours=refused("missing_expected_columns: ['volume']", ValueError),
)
def test_rows_of_another_schema(repository: Repository):
    repository.store.apply([SYMBOL, price_view(price_file(repository))])
    rows = pd.DataFrame(row(NEXT)).drop(columns="volume")
    repository.store.write_to_offline_store("prices", rows)


@surface(
    "`store.push_async`, `write_to_online_store_async`",
    stock=refused("does not support online write batch async", NotImplementedError),
)
def test_rows_are_written_asynchronously(repository: Repository):
    prices(repository)
    rows = pd.DataFrame(row(NEXT))
    asyncio.run(repository.store.push_async("ticks", rows, to=BOTH))
    assert served(repository.store, "C") == {"price": [9.5]}
    assert stored(repository, "C") == [9.5]


def with_doubles(repository: Repository, mode: str = "pandas") -> None:
    """Apply prices and an on-demand view ``doubles`` of them, stored online."""
    source = PushSource(name="ticks", batch_source=price_file(repository))
    view = price_view(source)

    def in_pandas(df: pd.DataFrame) -> pd.DataFrame:
        df["twice"] = df["price"] * 2
        return df

    def in_python(rows: dict[str, Any]) -> dict[str, Any]:
        rows["twice"] = [price * 2 for price in rows["price"]]
        return rows

    # Feast finds the source of a function once: the functions are others each time.
    doubles = on_demand_feature_view(
        name="doubles",
        sources=[view],
        schema=[Field(name="twice", dtype=Float64)],
        entities=[SYMBOL],
        write_to_online_store=True,
        mode=mode,
    )({"pandas": in_pandas, "python": in_python}[mode])
    repository.store.apply([SYMBOL, source, view, doubles])


def is_computed_when_written(repository: Repository) -> None:
    repository.store.write_to_online_store("doubles", pd.DataFrame(row(NEXT)))
    assert served(repository.store, "C", "A", features=("doubles:twice",)) == {
        "twice": [19.0, None]
    }


@surface("an on-demand view with `write_to_online_store=True`, in pandas: computed when written")
def test_pandas_when_written(repository: Repository):
    with_doubles(repository)
    is_computed_when_written(repository)


@surface("… in Python")
def test_python_when_written(repository: Repository):
    with_doubles(repository, "python")
    is_computed_when_written(repository)


@surface("… computed by `materialize`, and served with its source")
def test_on_demand_when_materialized(repository: Repository):
    with_doubles(repository)
    repository.store.materialize(MONDAY - DAY, MONDAY + DAY)
    answer = served(repository.store, "A", "B", features=("doubles:twice", "prices:price"))
    assert answer == {"twice": [7.0, 5.0], "price": [3.5, 2.5]}


@surface("… and by `materialize-incremental`")
def test_on_demand_when_materialized_incrementally(repository: Repository):
    with_doubles(repository)
    repository.store.materialize_incremental(MONDAY + DAY)
    assert served(repository.store, "A", features=("doubles:twice",)) == {"twice": [7.0]}


@surface("… in history: computed when asked for")
def test_on_demand_in_history(repository: Repository):
    with_doubles(repository)
    asked = pd.DataFrame({"symbol": ["A", "B"], "event_timestamp": [MONDAY, MONDAY + DAY]})
    found = repository.store.get_historical_features(asked, ["doubles:twice"]).to_df()
    assert found.sort_values("symbol")["twice"].tolist() == [3.0, 5.0]


PUSH = broken("a push goes to feature views alone", AssertionError, "no row of doubles")


@surface(
    "… computed by a push to its source",
    stock=PUSH,
    ours=PUSH,
    remark="write the same rows to the view with `write_to_online_store`",
)
def test_on_demand_when_pushed(repository: Repository):
    with_doubles(repository)
    pushed(repository, row(NEXT))
    assert served(repository.store, "C") == {"price": [9.5]}
    found = served(repository.store, "C", features=("doubles:twice",))
    assert found == {"twice": [19.0]}, "no row of doubles"
