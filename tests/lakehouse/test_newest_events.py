"""Each symbol's newest event within a span is that of all rows, however the parts are laid out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion.lakehouse import append_part, newest_events, open_lakehouse
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.in_a_bucket import placed
from tests.lakehouse.technicals import EVENING, technicals

SYMBOLS = st.sets(st.sampled_from([f"X:{letter}" for letter in "ABCD"]), min_size=1)
HOURS = st.integers(-60, 2)
"""Before the evening: of three dates, some with several parts."""


@given(
    parts=st.lists(st.tuples(HOURS, SYMBOLS), max_size=6), span=st.tuples(HOURS, HOURS).map(sorted)
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_that_of_all_rows(
    parts: list[tuple[int, set[str]]],
    span: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = open_lakehouse(placed(tmp_path_factory.mktemp("lakehouse")))
    for n, (hours, symbols) in enumerate(parts):
        rows = technicals(sorted(symbols), EVENING + timedelta(hours=hours))
        append_part(root, GROUP, rows, f"run-{n}")
    since, until = (EVENING + timedelta(hours=hours) for hours in span)
    expected = {
        symbol: EVENING + timedelta(hours=hours)
        for hours, symbols in sorted(parts, key=lambda part: part[0])
        for symbol in symbols
        if span[0] <= hours <= span[1]
    }
    assert newest_events(root, GROUP, since, until) == expected
