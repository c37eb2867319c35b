"""Which of several rows of an entity is kept, and what a change of features leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion.plugins.online.layout import Layout, Values
from ingestion.plugins.online.rows import NEVER, Rows
from ingestion.plugins.online.sqlite_file import Database
from ingestion.plugins.online.sqlite_tables import (
    drop_table,
    make_table,
    read_all,
    read_keys,
    stored_layout,
    upsert,
)

LAYOUT = Layout.of([("x", "DOUBLE"), ("s", "STRING")])
Version = tuple[bytes, int, int, float | None, str | None]

VERSIONS = st.tuples(
    st.sampled_from([b"a", b"b", b"c"]),
    st.integers(-3, 3),
    st.just(NEVER) | st.integers(-3, 3),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.text("xyz", max_size=2),
)


def as_rows(versions: list[Version]) -> Rows:
    keys, events, created, xs, texts = ([v[at] for v in versions] for at in range(5))
    values = {"x": Values.of("DOUBLE", xs), "s": Values.of("STRING", texts)}
    return Rows(keys, np.array(events, np.int64), np.array(created, np.int64), values)


def as_versions(rows: Rows) -> list[Version]:
    columns = (rows.values["x"].to_list(), rows.values["s"].to_list())
    events, created = rows.event_us.tolist(), rows.created_us.tolist()
    return list(zip(rows.keys, events, created, *columns, strict=True))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "online.db")


def stored(database: Database) -> list[Version]:
    with database.reading() as connection:
        assert connection is not None
        return as_versions(read_all(connection, "t", LAYOUT, ["x", "s"]))


def written_in(database: Database, batches: list[list[Version]]) -> int:
    """Write batches into a new table; return how many rows changed something."""
    changed = 0
    with database.writing() as connection:
        drop_table(connection, "t")
        make_table(connection, "t", LAYOUT)
        for batch in batches:
            changed += upsert(connection, "t", LAYOUT, as_rows(batch))
    return changed


def newest(versions: list[Version]) -> list[Version]:
    """The rule, spelled out: an older row never replaces a newer one, an equal one does."""
    kept: dict[bytes, Version] = {}
    for row in versions:
        key, event, created = row[:3]
        if key not in kept or (event, created) >= kept[key][1:3]:
            kept[key] = row
    return [kept[key] for key in sorted(kept)]


reusing = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@reusing
@given(st.lists(VERSIONS, max_size=12), st.integers(1, 5))
def test_the_newest_event_then_the_newest_created_then_the_last_written_wins(
    database: Database, versions, size
):
    batches = [versions[at : at + size] for at in range(0, len(versions), size)]
    written_in(database, batches)
    assert stored(database) == newest(versions)


@reusing
@given(
    st.lists(VERSIONS, max_size=10, unique_by=lambda row: row[:3]).flatmap(
        lambda rows: st.tuples(st.just(rows), st.permutations(rows))
    ),
    st.integers(1, 10),
)
def test_the_order_of_writes_does_not_matter(database: Database, orders, size):
    one, other = orders
    written_in(database, [one])
    first = stored(database)
    written_in(database, [other[at : at + size] for at in range(0, len(other), size)])
    assert stored(database) == first


def test_rows_that_change_nothing_are_not_counted(database: Database):
    rows = [(b"a", 5, 5, 1.0, "x"), (b"b", 5, 5, None, None)]
    assert written_in(database, [rows]) == 2
    with database.writing() as connection:
        assert upsert(connection, "t", LAYOUT, as_rows(rows)) == 0
        assert upsert(connection, "t", LAYOUT, as_rows([(b"a", 4, 9, 2.0, "y")])) == 0
        assert upsert(connection, "t", LAYOUT, as_rows([(b"a", 5, 5, 1.0, None)])) == 1
        assert upsert(connection, "t", LAYOUT, as_rows([(b"b", 5, 6, None, None)])) == 1
        assert upsert(connection, "t", LAYOUT, as_rows([])) == 0


def test_rows_come_in_the_order_of_the_keys_asked_for_however_many(database: Database):
    keys = [f"{at}".encode() for at in range(25_000)]
    written_in(database, [[(key, at, at, float(at), str(at)) for at, key in enumerate(keys)]])
    asked = [b"nobody", *reversed(keys), keys[7], b"nobody", keys[7]]
    with database.reading() as connection:
        assert connection is not None
        rows = read_keys(connection, "t", LAYOUT, ["s", "other"], asked)
    assert rows.keys == [key if key != b"nobody" else None for key in asked]
    assert rows.values.keys() == {"s"}
    assert rows.values["s"].to_list() == [None if k == b"nobody" else k.decode() for k in asked]


def test_a_table_of_changed_features_keeps_what_it_can(database: Database):
    written_in(database, [[(b"a", 5, NEVER, 1.0, "x"), (b"b", 6, 7, 2.5, None)]])
    changed = Layout.of([("s", "STRING"), ("new", "DOUBLE"), ("x", "INT64"), ("b", "BYTES")])
    with database.writing() as connection:
        assert make_table(connection, "t", changed) == changed
        assert stored_layout(connection, "t") == changed
        rows = read_all(connection, "t", changed, changed.type_of)
    assert rows.keys == [b"a", b"b"]
    assert rows.event_us.tolist() == [5, 6]
    assert rows.created_us.tolist() == [NEVER, 7]
    assert {name: values.to_list() for name, values in rows.values.items()} == {
        "s": ["x", None],
        "new": [None, None],
        "x": [1, None],
        "b": [None, None],
    }


def test_another_order_of_the_same_features_changes_nothing(database: Database):
    written_in(database, [[(b"a", 5, 5, 1.0, "x")]])
    with database.writing() as connection:
        turned = Layout.of(reversed(LAYOUT.types))
        assert make_table(connection, "t", turned) == LAYOUT
    assert stored(database) == [(b"a", 5, 5, 1.0, "x")]


def test_a_table_may_have_any_name_and_no_features(database: Database):
    none = Layout.of([])
    with database.writing() as connection:
        make_table(connection, 'odd "name"; --', none)
        rows = Rows([b"a"], np.array([1]), np.array([1]), {})
        assert upsert(connection, 'odd "name"; --', none, rows) == 1
        assert read_all(connection, 'odd "name"; --', none, []).keys == [b"a"]
        drop_table(connection, 'odd "name"; --')
        drop_table(connection, 'odd "name"; --')
        assert stored_layout(connection, 'odd "name"; --') is None
