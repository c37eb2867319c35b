"""The bytes of a response's columns are those that protobuf itself would write."""

from __future__ import annotations

import time

import numpy as np
import pytest
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import DoubleList, Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion.plugins.online.columnar import add_vector, rows_bytes
from ingestion.plugins.online.layout import Values

Vector = GetOnlineFeaturesResponse.FeatureVector
MICROSECONDS = st.integers(-(10**16), 10**17)
INT64 = st.integers(-(2**63), 2**63 - 1)
ITEMS = {
    "DOUBLE": ("double_val", st.floats()),
    "FLOAT": ("float_val", st.floats(width=32)),
    "INT32": ("int32_val", st.integers(-(2**31), 2**31 - 1)),
    "INT64": ("int64_val", INT64),
    "BOOL": ("bool_val", st.booleans()),
    "STRING": ("string_val", st.text("ab\0é€😀", max_size=9)),
    "BYTES": ("bytes_val", st.binary()),
}


def columns(items: st.SearchStrategy) -> st.SearchStrategy[list]:
    """Short columns, which are made value by value, and long ones; with nulls and without."""
    some = st.lists(items, min_size=1, max_size=3)
    nulls = st.lists(items | st.none(), max_size=3)
    return st.builds(lambda a, b, times: (a + b) * times, some, nulls, st.sampled_from([1, 40]))


def parsed(content: bytes) -> Vector:
    return Vector.FromString(content)


def vector(values: Values, rows: bytes = b"") -> Vector:
    response = GetOnlineFeaturesResponse()
    add_vector(response, values, rows)
    (added,) = response.results
    return added


@pytest.mark.parametrize("value_type", ITEMS)
@given(data=st.data())
def test_values_are_those_of_protobufs_own(value_type: str, data):
    field, items = ITEMS[value_type]
    column = data.draw(columns(items))
    expected = Vector(values=[Value() if x is None else Value(**{field: x}) for x in column])
    found = vector(Values.of(value_type, column))
    # A NaN equals nothing: the bytes are compared.
    assert found.SerializeToString() == expected.SerializeToString()
    assert [v.WhichOneof("val") for v in found.values] == [
        None if x is None else field for x in column
    ]


@given(column=columns(MICROSECONDS))
@example(column=[-1, None, -1_000_001, 999_999] * 20)
def test_instants_are_whole_seconds_as_feast_gives_them(column: list):
    found = vector(Values.of("UNIX_TIMESTAMP", column))
    seconds = [v.unix_timestamp_val if v.HasField("unix_timestamp_val") else None
               for v in found.values]  # fmt: skip
    assert seconds == [None if x is None else x // 1_000_000 for x in column]


def test_other_values_are_as_they_were_written():
    value = Value(double_list_val=DoubleList(val=[1.0, float("inf")]))
    column = [value.SerializeToString(), None] * 20
    found = vector(Values.of("DOUBLE_LIST", column))
    assert list(found.values) == [value, Value()] * 20


@given(rows=st.lists(st.tuples(st.integers(0, 4), MICROSECONDS), max_size=40))
def test_every_row_has_its_status_and_event_time(rows: list):
    status = np.array([row[0] for row in rows], np.int64)
    events = np.array([row[1] for row in rows], np.int64)
    found = parsed(rows_bytes(status, events))
    assert list(found.statuses) == status.tolist()
    expected = []
    for us in events.tolist():
        expected.append(Timestamp())
        expected[-1].FromMicroseconds(us)
    assert list(found.event_timestamps) == expected


def test_many_rows_are_made_sooner_than_value_by_value():
    numbers = np.random.default_rng(1).normal(size=500)
    column, events = Values.of("DOUBLE", numbers.tolist()), np.full(500, 1_618_263_000_000_000)
    status = np.full(500, 1)

    def built() -> Vector:
        stamps = [Timestamp(seconds=us // 1_000_000) for us in events.tolist()]
        values = [Value(double_val=number) for number in numbers.tolist()]
        return Vector(values=values, statuses=status.tolist(), event_timestamps=stamps)

    def from_bytes() -> Vector:
        return vector(column, rows_bytes(status, events))

    def cost(make) -> float:
        began = time.process_time()
        for _ in range(20):
            make()
        return time.process_time() - began

    assert built() == from_bytes()
    costs = [(cost(built), cost(from_bytes)) for _ in range(5)]
    assert 3 * min(ours for _, ours in costs) < min(bare for bare, _ in costs)


def test_no_rows_are_no_bytes():
    assert vector(Values.of("DOUBLE", [])) == Vector()
    assert rows_bytes(np.array([], np.int64), np.array([], np.int64)) == b""
