"""Rows of a small table, and which of several of one entity is kept."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ingestion.plugins.online.layout import Layout, Values
from ingestion.plugins.online.rows import NEVER, Rows

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


def newest(versions: list[Version]) -> list[Version]:
    """The rule, spelled out: an older row never replaces a newer one, an equal one does."""
    kept: dict[bytes, Version] = {}
    for row in versions:
        key, event, created = row[:3]
        if key not in kept or (event, created) >= kept[key][1:3]:
            kept[key] = row
    return [kept[key] for key in sorted(kept)]
