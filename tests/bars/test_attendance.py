"""Which sessions a market has lost: against a slow rule, and on what is no hole."""

from __future__ import annotations

import itertools
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.bars.attendance import MANY, NEARBY, Attendance, Hole
from ingestion.bars.holes import OpenHoles
from ingestion.markets.sessions import Session, sessions_between

FIRST, LAST = date(2021, 1, 4), date(2021, 3, 12)
NYSE = sessions_between("NYSE", FIRST, LAST)
TOKYO = sessions_between("TSE", FIRST, LAST)


def attended(bars: dict[str, list[Session]], batches: int = 1) -> Attendance:
    names = list(bars)
    rows = sorted((each.closes, names.index(name)) for name, own in bars.items() for each in own)
    attendance = Attendance(FIRST, LAST)
    for batch in np.array_split(np.array(rows, dtype=np.int64).reshape(-1, 2), batches):
        attendance.add(batch[:, 1].astype(np.int32), batch[:, 0], names)
    return attendance


def lost(bars: dict[str, list[Session]], batches: int = 1) -> dict[tuple[str, date], int]:
    found = attended(bars, batches).holes()
    return {(hole.market, hole.session): hole.symbols for hole in found}


def slowly(bars: dict[str, list[int]]) -> set[int]:
    """The rule, symbol by symbol and session by session: one exchange of New York's sessions."""
    found = set()
    for session in range(len(NYSE)):
        lacking = present = 0
        for own in bars.values():
            present += session in own
            before = [each for each in own if each < session]
            after = [each for each in own if each > session]
            if session in own or not before or not after:
                continue
            steps = [b - a for a, b in itertools.pairwise(before)][-NEARBY:]
            steps += [b - a for a, b in itertools.pairwise(after)][:NEARBY]
            lacking += 2 * steps.count(1) >= len(steps)
        if lacking >= MANY and lacking >= present:
            found.add(session)
    return found


SETS = st.dictionaries(
    st.sampled_from([f"NYSE:{letter}" for letter in "ABCDEF"]),
    st.one_of(
        st.sets(st.integers(0, len(NYSE) - 1), max_size=len(NYSE)),
        st.sets(st.integers(0, len(NYSE) - 1), max_size=6).map(
            lambda gone: set(range(len(NYSE))) - gone
        ),
    ),
    min_size=1,
)


@settings(max_examples=200, deadline=None)
@given(SETS, st.sets(st.integers(1, len(NYSE) - 2), max_size=4), st.integers(1, 5))
def test_holes_are_those_of_the_slow_rule(sets, evenings: set[int], batches: int):
    bars = {name: sorted(own - evenings) for name, own in sets.items()}
    found = lost({name: [NYSE[at] for at in own] for name, own in bars.items()}, batches)
    assert found.keys() == {("NYSE", NYSE[at].label) for at in slowly(bars)}


def without(sessions: list[Session], *gone: int) -> list[Session]:
    return [each for at, each in enumerate(sessions) if at not in gone]


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        ({"NYSE:A": without(NYSE, 9), "NYSE:B": NYSE}, set()),  # halted
        ({"NYSE:A": without(NYSE, 9)}, set()),  # one symbol alone tells nothing
        ({f"NYSE:{n}": without(NYSE, 9) for n in "AB"}, {("NYSE", 9)}),
        # Weekly bars, of many symbols.
        ({f"NYSE:{n}": NYSE[::5] for n in "ABCDEF"}, set()),
        # A universe that grows, and one that shrinks.
        ({f"NYSE:{n}": NYSE[3 * n :] for n in range(9)}, set()),
        ({f"NYSE:{n}": NYSE[: 40 - 3 * n] for n in range(9)}, set()),
        # A week without the recorder, then another lost evening.
        (
            {f"NYSE:{n}": without(NYSE, 9, 10, 11, 12, 13, 16) for n in "AB"},
            {("NYSE", at) for at in (9, 10, 11, 12, 13, 16)},
        ),
        # The one symbol of another exchange was not halted on that evening.
        (
            {"NYSE:A": without(NYSE, 9), "NYSE:B": without(NYSE, 9), "AMEX:C": without(NYSE, 9)},
            {("NYSE", 9), ("AMEX", 9)},
        ),
        ({"NYSE:A": NYSE, "NYSE:B": NYSE, "AMEX:C": without(NYSE, 9)}, set()),
        # Another market's evenings are its own.
        (
            {"NYSE:A": NYSE, "NYSE:B": NYSE, **{f"TSE:{n}": without(TOKYO, 9) for n in "12"}},
            {("TSE", 9)},
        ),
        # Exchanges of unknown hours have no sessions that could be missing.
        ({f"MOEX:{n}": without(NYSE, 9) for n in "AB"}, set()),
    ],
)
def test_what_is_a_hole_and_what_is_not(bars, expected):
    sessions = {"TSE": TOKYO}
    assert lost(bars).keys() == {
        (market, sessions.get(market, NYSE)[at].label) for market, at in expected
    }


def test_dealers_are_closed_at_christmas_and_new_year():
    first, last = date(2020, 12, 1), date(2021, 1, 29)
    holidays = (date(2020, 12, 25), date(2021, 1, 1))
    days = [each for each in sessions_between("OANDA", first, last) if each.label not in holidays]
    for gone, expected in ((None, []), (date(2020, 12, 24), [date(2020, 12, 24)])):
        kept = [each.closes for each in days if each.label != gone]
        attendance = Attendance(first, last)
        for number in (0, 1):
            numbers = np.full(len(kept), number, dtype=np.int32)
            attendance.add(numbers, np.array(kept), ["OANDA:EURUSD", "OANDA:USDJPY"])
        assert [hole.session for hole in attendance.holes()] == expected


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_bars_behind_a_hole_are_those_whose_bar_before_is_earlier(first, second, gone):
    holes = OpenHoles(
        tuple(
            Hole(NYSE[at].closes, "NYSE", NYSE[at].label, NYSE[at].opens, 2) for at in sorted(gone)
        )
    )
    names = ["NYSE:A", "TSE:B", "NYSE:C"]
    own = {0: sorted(first), 1: sorted(second), 2: sorted(second)}
    rows = [(number, at) for number, sessions in own.items() for at in sessions]
    numbers = np.array([number for number, _ in rows], dtype=np.int32)
    closes = np.array([NYSE[at].closes for _, at in rows], dtype=np.int64)
    expected = []
    for number, at in rows:
        before = [each for each in own[number] if each < at]
        missing = [each for each in sorted(gone) if before and before[-1] < each < at]
        expected.append(NYSE[missing[0]].opens if missing and number != 1 else 0)
    assert holes.missing_from(names, numbers, closes).tolist() == expected
