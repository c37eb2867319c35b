from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.lakehouse.schema import ascends, last_of_repeated

FEW = st.lists(st.tuples(st.sampled_from(["", "A", "AB", "B", "é", "𝒜"]), st.integers(-2, 2)))


def table(keys: list[tuple[str | None, int | None]]) -> pa.Table:
    names, numbers = zip(*keys, strict=True) if keys else ((), ())
    return pa.table({"name": pa.array(names, pa.string()), "number": pa.array(numbers, pa.int64())})


@settings(deadline=None)
@given(FEW)
def test_rows_ascend_if_sorting_them_and_dropping_repeated_keys_changes_nothing(keys):
    assert ascends(table(keys), ["name", "number"]) == (keys == sorted(set(keys)))
    assert ascends(table(sorted(set(keys))), ["name", "number"])


@settings(deadline=None)
@given(FEW)
def test_how_rows_are_chunked_does_not_show(keys):
    rows = pa.concat_tables([table([]), *(table([key]) for key in keys)])
    assert ascends(rows, ["name", "number"]) == ascends(table(keys), ["name", "number"])


def test_the_first_name_counts_most():
    rows = table([("A", 2), ("B", 1)])
    assert ascends(rows, ["name", "number"])
    assert not ascends(rows, ["number", "name"])


def test_a_null_ascends_from_nothing_and_to_nothing():
    assert not ascends(table([("A", 1), (None, 2)]), ["name", "number"])
    assert not ascends(table([(None, 1), ("A", 2)]), ["name", "number"])
    assert not ascends(table([("A", 1), ("A", None), ("B", 3)]), ["name", "number"])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", "A", "é", None]), st.sampled_from([1, 2, None])),
    ),
    st.randoms(use_true_random=False),
)
def test_of_keys_that_several_rows_have_the_last_row_is_found(keys, chance):
    places = chance.sample(range(100, 200), len(keys))
    rows = table(keys).append_column("place", pa.array(places, pa.int64()))
    of_key: dict[tuple, list[int]] = {}
    for key, place in zip(keys, places, strict=True):
        of_key.setdefault(key, []).append(place)
    found = last_of_repeated(rows, ["name", "number"]).to_pylist()
    expected = {key: max(several) for key, several in of_key.items() if len(several) > 1}
    assert len(found) == len(expected)
    assert {(row["name"], row["number"]): row["place"] for row in found} == expected
