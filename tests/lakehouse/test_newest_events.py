"""Each symbol's newest event within a span is that of all rows, however the parts are laid out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion.base.errors import CorruptPart
from ingestion.lakehouse import append_part, list_parts, newest_events, open_lakehouse
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
    some = dict(sorted(expected.items())[1:])  # of most symbols it is known when they last had one
    assert newest_events(root, GROUP, since, until, some) == some
    of_the_end = dict.fromkeys(expected, until)
    assert newest_events(root, GROUP, since, until, of_the_end | {"X:Z": until}) == expected


def test_dates_on_which_no_symbol_is_looked_for_are_not_read(tmp_path: Path) -> None:
    root = open_lakehouse(placed(tmp_path))
    days = [EVENING - timedelta(days=n) for n in (3, 2, 1, 0)]
    for n, (day, symbols) in enumerate(zip(days, ("AB", "A", "B", "A"), strict=True)):
        append_part(root, GROUP, technicals([f"X:{each}" for each in symbols], day), f"run-{n}")
    latest = {"X:A": days[3], "X:B": days[2]}
    for part in list_parts(root, GROUP, until=days[1].date()):
        root.put(part.key, b"no Parquet")
    with pytest.raises(CorruptPart):
        newest_events(root, GROUP, days[0], days[3])
    assert newest_events(root, GROUP, days[0], days[3], latest) == latest
