"""Feast's types: from Parquet to history and to what is served."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as Number
from typing import Any
from uuid import UUID

import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType, types
from feast.types import FeastType

from tests.feast_surface.repositories import DAY, MONDAY, Repository, instants
from tests.feast_surface.surface import broken, fails, refused, surface

HOUR = timedelta(hours=1)
ID = UUID(int=5)
LISTS = pa.list_(pa.struct({"a": pa.string()}))
Columns = dict[str, tuple[FeastType, pa.DataType, Any]]
"""By name: declared, stored, and a value as Parquet has it."""

SCALARS: Columns = {
    "float64": (types.Float64, pa.float64(), 1.5),
    "float32": (types.Float32, pa.float32(), 1.5),
    "int64": (types.Int64, pa.int8(), 3),
    "int32": (types.Int32, pa.int64(), 3),
    "flag": (types.Bool, pa.bool_(), True),
    "text": (types.String, pa.string(), "z"),
    "view": (types.String, pa.string_view(), "z"),
    "coded": (types.String, pa.dictionary(pa.int8(), pa.string()), "z"),
    "raw": (types.Bytes, pa.binary(), b"\xff"),
    "large": (types.Bytes, pa.large_binary(), b"\xff"),
    "pdf": (types.PdfBytes, pa.binary(), b"%P"),
    "image": (types.ImageBytes, pa.binary(), b"\x89"),
    "at": (types.UnixTimestamp, pa.timestamp("us", "UTC"), MONDAY),
    "json": (types.Json, pa.string(), '{"a": 1}'),
    "uuid": (types.Uuid, pa.string(), str(ID)),
    "decimal": (types.Decimal, pa.string(), "1.10"),
}
LISTED: Columns = {
    "floats": (types.Array(types.Float32), pa.list_(pa.float64()), [1.5]),
    "ints": (types.Array(types.Int32), pa.list_(pa.int64()), [3, 4]),
    "flags": (types.Array(types.Bool), pa.list_(pa.bool_()), [True, False]),
    "texts": (types.Array(types.String), pa.list_(pa.string()), ["z"]),
    "raws": (types.Array(types.Bytes), pa.list_(pa.binary()), [b"1"]),
    "ats": (types.Array(types.UnixTimestamp), pa.list_(pa.timestamp("us", "UTC")), [MONDAY]),
    "of_lists": (types.Array(types.Array(types.Int64)), pa.list_(pa.list_(pa.int64())), [[1], [2]]),
    "set_of_ints": (types.Set(types.Int64), pa.list_(pa.int64()), [1, 2]),
    "set_of_raws": (types.Set(types.Bytes), pa.list_(pa.binary()), [b"1"]),
    "set_of_texts": (types.Set(types.String), pa.list_(pa.string()), ["z"]),
}
STRUCTS: Columns = {
    "map": (types.Map, pa.struct({"a": pa.string()}), {"a": "1"}),
    "struct": (types.Struct({"a": types.String}), pa.struct({"a": pa.string()}), {"a": "1"}),
    "structs": (types.Array(types.Struct({"a": types.String})), LISTS, [{"a": "1"}]),
    "json": (types.Json, pa.struct({"a": pa.string()}), {"a": "1"}),
}


def loaded(repository: Repository, columns: Columns) -> None:
    """Materialize one row of some columns of a view ``v``."""
    arrays = {name: pa.array([value], stored) for name, (_, stored, value) in columns.items()}
    source = repository.file(
        "feed", symbol=["A"], event_timestamp=instants(MONDAY + HOUR), **arrays
    )
    apply(repository, source, {name: declared for name, (declared, _, _) in columns.items()})
    repository.store.materialize(MONDAY, MONDAY + DAY)


def apply(
    repository: Repository,
    source: FileSource,
    features: dict[str, FeastType],
    key: FeastType = types.String,
    kind: ValueType = ValueType.STRING,
) -> None:
    """Apply a view ``v`` of some features by ``symbol``."""
    symbol = Entity(name="symbol", join_keys=["symbol"], value_type=kind)
    schema = [Field(name=name, dtype=dtype) for name, dtype in {"symbol": key, **features}.items()]
    view = FeatureView(name="v", entities=[symbol], ttl=timedelta(0), schema=schema, source=source)
    repository.store.apply([symbol, view])


def online(repository: Repository, *names: str, key: Any = "A") -> list[Any]:
    """Return what is served of one key."""
    asked = [f"v:{name}" for name in names]
    answer = repository.store.get_online_features(asked, [{"symbol": key}]).to_dict()
    return [answer[name][0] for name in names]


def history(repository: Repository, *names: str, key: Any = "A") -> pd.DataFrame:
    """Return what was known of one key a day later."""
    asked = pd.DataFrame({"symbol": [key], "event_timestamp": [MONDAY + 2 * DAY]})
    refs = [f"v:{name}" for name in names]
    return repository.store.get_historical_features(asked, refs).to_df()


@surface("each scalar type, materialized from Parquet and served")
def test_scalars(repository: Repository):
    loaded(repository, SCALARS)
    served = dict(zip(SCALARS, online(repository, *SCALARS), strict=True))
    other = {"at": MONDAY, "json": {"a": 1}, "uuid": ID, "decimal": Number("1.10")}
    assert served == {name: value for name, (_, _, value) in SCALARS.items()} | other


@surface("arrays and sets of them")
def test_arrays_and_sets(repository: Repository):
    loaded(repository, LISTED)
    served = dict(zip(LISTED, online(repository, *LISTED), strict=True))
    sets = {"set_of_ints": {1, 2}, "set_of_raws": {b"1"}, "set_of_texts": {"z"}}
    assert served == {name: value for name, (_, _, value) in LISTED.items()} | sets


@surface("`Map`, `Struct` and `Json` of struct columns")
def test_structs(repository: Repository):
    loaded(repository, STRUCTS)
    assert online(repository, *STRUCTS) == [{"a": "1"}, {"a": "1"}, [{"a": "1"}], {"a": "1"}]


@surface(
    "`Map` of map columns, arrays of maps",
    stock=broken("its conversion expects dictionaries", TypeError, "Expected dict"),
)
def test_maps(repository: Repository):
    of_text = pa.map_(pa.string(), pa.string())
    columns: Columns = {
        "map": (types.Map, of_text, [("a", "1")]),
        "maps": (types.Array(types.Map), LISTS, [{"a": "1"}]),
    }
    loaded(repository, columns)
    assert online(repository, *columns) == [{"a": "1"}, [{"a": "1"}]]


@surface(
    "`ZonedTimestamp`",
    stock=broken("its conversion expects datetimes of Python's", TypeError, "expects datetime"),
    remark="the zone is UTC, as of all that the offline store reads",
)
def test_zoned_timestamps(repository: Repository):
    loaded(repository, {"at": (types.ZonedTimestamp, pa.timestamp("us", "Asia/Tokyo"), MONDAY)})
    assert online(repository, "at") == [MONDAY]


@surface("nulls of each of these types")
def test_nulls(repository: Repository):
    columns = {f"s_{name}": each for name, each in SCALARS.items()} | LISTED | STRUCTS
    columns = {name: (declared, stored, None) for name, (declared, stored, _) in columns.items()}
    loaded(repository, {**columns, "known": (types.Int64, pa.int64(), 1)})
    assert online(repository, *columns, "known") == [None] * len(columns) + [1]


@surface("keys of bytes")
def test_keys_of_bytes(repository: Repository):
    keys = pa.array([b"\xff", b"\x00"])
    feed = repository.file("feed", symbol=keys, event_timestamp=instants(MONDAY, MONDAY), x=[1, 2])
    apply(repository, feed, {"x": types.Int64}, types.Bytes, ValueType.BYTES)
    repository.store.materialize(MONDAY - HOUR, MONDAY)
    assert online(repository, "x", key=b"\x00") == [2]
    assert history(repository, "x", key=b"\xff")["x"].tolist() == [1]


@surface(
    "keys of floats",
    stock=refused("Value type not supported for feast feature store", ValueError),
    ours=refused("a key is one of BYTES, STRING, INT32, INT64, UNIX_TIMESTAMP"),
    remark="Feast's keys are none of the other types either",
)
def test_keys_of_floats(repository: Repository):
    feed = repository.file("feed", symbol=[1.5], event_timestamp=instants(MONDAY), x=[1])
    apply(repository, feed, {"x": types.Int64}, types.Float64, ValueType.DOUBLE)
    repository.store.materialize(MONDAY - HOUR, MONDAY)


@surface(
    "history has the types that pandas reads",
    remark="ours by the declared type: `Float32` is double and `Int32` int64 in any file",
)
def test_types_in_history(repository: Repository):
    loaded(
        repository,
        {
            "real": (types.Float32, pa.float64(), 0.1),
            "whole": (types.Int32, pa.int64(), 3),
            "reals": (types.Array(types.Float32), pa.list_(pa.float64()), [0.1]),
            "wholes": (types.Array(types.Int32), pa.list_(pa.int64()), [3]),
            "flag": (types.Bool, pa.bool_(), True),
        },
    )
    found = history(repository, "real", "whole", "flag", "reals", "wholes")
    assert [str(found[name].dtype) for name in ("real", "whole", "flag")] == [
        "float64", "int64", "bool",
    ]  # fmt: skip
    assert [found[name][0].dtype.name for name in ("reals", "wholes")] == ["float64", "int64"]
    assert (found["real"][0], found["reals"][0].tolist()) == (0.1, [0.1])


@surface("a `UnixTimestamp` that is stored as seconds since 1970, served")
def test_seconds_online(repository: Repository):
    loaded(repository, {"at": (types.UnixTimestamp, pa.int64(), int(MONDAY.timestamp()))})
    assert online(repository, "at") == [MONDAY]


@surface(
    "… and in history",
    stock=fails("history has the numbers of the file", AttributeError),
)
def test_seconds_in_history(repository: Repository):
    loaded(repository, {"at": (types.UnixTimestamp, pa.int64(), int(MONDAY.timestamp()))})
    assert history(repository, "at")["at"].dt.to_pydatetime().tolist() == [MONDAY]


@surface("a date as a `UnixTimestamp`: its midnight, UTC, served")
def test_a_date_as_a_feature_online(repository: Repository):
    loaded(repository, {"day": (types.UnixTimestamp, pa.date32(), date(2021, 4, 9))})
    assert online(repository, "day") == [datetime(2021, 4, 9, tzinfo=UTC)]


@surface("… and in history", stock=fails("history has dates of Python's", AssertionError))
def test_a_date_as_a_feature_in_history(repository: Repository):
    loaded(repository, {"day": (types.UnixTimestamp, pa.date32(), date(2021, 4, 9))})
    found = history(repository, "day")["day"][0]
    assert found == datetime(2021, 4, 9, tzinfo=UTC)


EVENTS = {
    "date": pa.array([MONDAY.date(), (MONDAY + DAY).date()]),
    "text": pa.array(["2021-04-12", "2021-04-13T00:00:00Z"]),
}


def dated(repository: Repository, events: pa.Array) -> None:
    feed = repository.file("feed", symbol=["A", "A"], event_timestamp=events, x=[1, 2])
    apply(repository, feed, {"x": types.Int64})


def is_read_as_midnights(repository: Repository, events: pa.Array) -> None:
    dated(repository, events)
    midnight = datetime(2021, 4, 13, tzinfo=UTC)
    asked = pd.DataFrame(
        {"symbol": ["A", "A"], "event_timestamp": [midnight - timedelta(seconds=1), midnight]}
    )
    found = repository.store.get_historical_features(asked, ["v:x"]).to_df()
    assert found["x"].tolist() == [1, 2]
    repository.store.materialize(midnight - DAY, midnight)
    assert online(repository, "x") == [2]


NO_TIMESTAMPS = fails("history asks for timestamps", AttributeError, "no attribute 'tzinfo'")


@surface("event times that are dates: midnights of UTC, in history and online", stock=NO_TIMESTAMPS)
def test_event_dates(repository: Repository):
    is_read_as_midnights(repository, EVENTS["date"])


@surface("event times that are ISO 8601 texts, UTC where they have no zone", stock=NO_TIMESTAMPS)
def test_event_texts(repository: Repository):
    is_read_as_midnights(repository, EVENTS["text"])


@surface(
    "event times that are other texts",
    stock=NO_TIMESTAMPS,
    ours=refused("write instants as ISO 8601"),
)
def test_event_texts_of_another_form(repository: Repository):
    dated(repository, pa.array(["12.04.2021", "13.04.2021"]))
    history(repository, "x")


@surface(
    "event times that are numbers",
    stock=NO_TIMESTAMPS,
    ours=refused("only timestamps, dates and ISO 8601 texts are instants"),
)
def test_event_numbers(repository: Repository):
    dated(repository, pa.array([int(MONDAY.timestamp())] * 2))
    assert history(repository, "x")["x"].tolist() == [2]


INFERRED = {
    "day": pa.array([MONDAY.date()]),
    "coded": pa.array(["z"]).dictionary_encode(),
    "view": pa.array(["z"], pa.string_view()),
    "texts": pa.array([["z"]], pa.list_(pa.string())),
    "coded_texts": pa.array([["z"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
}


@surface(
    "dates, dictionaries, views and lists of texts in a view without a schema",
    stock=broken("its inference knows no such types", KeyError, "date32[day]"),
)
def test_inferred_types(repository: Repository):
    feed = repository.file("feed", symbol=["A"], event_timestamp=instants(MONDAY), **INFERRED)
    symbol = Entity(name="symbol", join_keys=["symbol"], value_type=ValueType.STRING)
    repository.store.apply([symbol, FeatureView(name="v", entities=[symbol], source=feed)])
    repository.store.materialize(MONDAY - HOUR, MONDAY)
    midnight = datetime(2021, 4, 12, tzinfo=UTC)
    assert online(repository, *INFERRED) == [midnight, "z", "z", ["z"], ["z"]]


@surface(
    "a declared column that no file has",
    stock=refused("Close"),
    ours=refused("no column Close in"),
)
def test_a_column_that_no_file_has(repository: Repository):
    feed = repository.file("feed", symbol=["A"], event_timestamp=instants(MONDAY), close=[1.5])
    apply(repository, feed, {"Close": types.Float64})
    with pytest.raises(Exception, match="Close"):
        repository.store.materialize(MONDAY - HOUR, MONDAY)
    history(repository, "Close")
