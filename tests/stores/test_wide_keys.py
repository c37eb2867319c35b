"""Entity keys in bulk are Feast's entity keys."""

from __future__ import annotations

import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st

from ingestion.base.errors import InputError
from ingestion.plugins.online.keys import decode_keys, encode_keys

FIELDS = {
    "STRING": ("string_val", st.text(st.characters(exclude_categories=["Cs"]))),
    "BYTES": ("bytes_val", st.binary()),
    "INT32": ("int32_val", st.integers(-(2**31), 2**31 - 1)),
    "INT64": ("int64_val", st.integers(-(2**63), 2**63 - 1)),
    "UNIX_TIMESTAMP": ("unix_timestamp_val", st.integers(-(2**63), 2**63 - 1)),
}

OTHERWISE = {True: ("STRING", ["x"]), False: ("BYTES", [b"x"])}


@st.composite
def columns(draw: st.DrawFn) -> dict[str, tuple[str, list[object]]]:
    names = draw(st.lists(st.text("abÄ_.", min_size=1), min_size=1, max_size=3, unique=True))
    count = draw(st.integers(1, 3))
    kinds = [draw(st.sampled_from(sorted(FIELDS))) for _ in names]
    return {
        name: (kind, draw(st.lists(FIELDS[kind][1], min_size=count, max_size=count)))
        for name, kind in zip(names, kinds, strict=True)
    }


@given(columns())
def test_each_key_is_encoded_as_feast_does_and_comes_back(keys):
    encoded = encode_keys(keys)
    for row, key in enumerate(encoded):
        values = [Value(**{FIELDS[kind][0]: column[row]}) for kind, column in keys.values()]
        assert key == serialize_entity_key(
            EntityKey(join_keys=list(keys), entity_values=values),
            entity_key_serialization_version=3,
        )
    types = {name: kind for name, (kind, _) in keys.items()}
    values = {name: column for name, (_, column) in keys.items()}
    strangers = encode_keys({"stranger": ("INT64", [1])})
    strangers += encode_keys({name: OTHERWISE[kind == "BYTES"] for name, kind in types.items()})
    places = list(range(2, 2 + len(encoded)))
    assert decode_keys([*strangers, *encoded], types) == (places, values)


def test_a_type_that_cannot_be_a_key_is_refused_by_name():
    with pytest.raises(InputError, match="join key score is of type DOUBLE"):
        encode_keys({"score": ("DOUBLE", [0.5])})
