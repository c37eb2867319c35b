"""Membership as of a time, against a slow reading of the same rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ingestion.base.columns import INSTANT
from ingestion.datasets import Membership

START = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("NYSE:A", "NYSE:B", "NYSE:C")
SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        *((name, INSTANT) for name in ("valid_from", "valid_until")),
        *((name, INSTANT) for name in ("event_timestamp", "created_timestamp")),
        ("source", pa.string()),
    ]
)


def hour(n: int) -> datetime:
    return START + timedelta(hours=n)


@dataclass(frozen=True)
class Answer:
    at: int
    symbols: frozenset[str]
    max_age: int


@dataclass(frozen=True)
class Stay:
    symbol: str
    start: int
    end: int | None
    known: int


HOURS = st.integers(0, 60)
ANSWERS = st.lists(
    st.builds(Answer, HOURS, st.frozensets(st.sampled_from(NAMES), min_size=1), st.integers(1, 20)),
    unique_by=lambda answer: answer.at,
    max_size=8,
)
STAYS = st.lists(
    st.builds(
        lambda symbol, start, length, known: Stay(
            symbol, start, None if length is None else start + length, known
        ),
        st.sampled_from(NAMES),
        HOURS,
        st.none() | st.integers(0, 20),  # of length 0: taken back
        HOURS,
    ),
    unique_by=lambda stay: (stay.symbol, stay.start),
    max_size=8,
)


def rows(answers: list[Answer], stays: list[Stay], imported_at: int) -> pa.Table:
    listed = [
        {
            "symbol": symbol,
            "valid_from": hour(answer.at),
            "valid_until": hour(answer.at + answer.max_age) + timedelta(microseconds=1),
            "event_timestamp": hour(answer.at),
            "created_timestamp": hour(answer.at),
            "source": "scan",
        }
        for answer in answers
        for symbol in sorted(answer.symbols)
    ]
    dated = [
        {
            "symbol": stay.symbol,
            "valid_from": hour(stay.start),
            "valid_until": None if stay.end is None else hour(stay.end),
            "event_timestamp": hour(stay.known),
            "created_timestamp": hour(imported_at),
            "source": "import",
        }
        for stay in stays
    ]
    return pa.Table.from_pylist([*listed, *dated], schema=SCHEMA)


def is_in(stay: Stay, now: int) -> bool:
    return max(stay.start, stay.known) <= now and (stay.end is None or now < stay.end)


def slowly(answers: list[Answer], stays: list[Stay], imported_at: int, now: int) -> set[str] | None:
    """Who was in; None where nobody can know."""
    before = [answer for answer in answers if answer.at <= now]
    if before:
        last = max(before, key=lambda answer: answer.at)
        if now - last.at <= last.max_age:
            return set(last.symbols)
        if any(answer.at > imported_at for answer in before):
            return None
    stands = [stay for stay in stays if stay.end is None or max(stay.start, stay.known) < stay.end]
    if not any(max(stay.start, stay.known) <= now for stay in stands):
        return None
    return {stay.symbol for stay in stands if is_in(stay, now)}


@given(answers=ANSWERS, stays=STAYS, imported_at=HOURS)
def test_membership_as_of_a_time_is_what_the_rules_say(
    answers: list[Answer], stays: list[Stay], imported_at: int
):
    membership = Membership.of(rows(answers, stays, imported_at))
    hours = np.arange(0, 90)
    times = np.array([int(hour(int(n)).timestamp()) * 1_000_000 for n in hours])
    known = membership.is_known(times)
    names = pa.array([*NAMES, "NYSE:NEVER"])
    inside = [membership.was_member(names, np.full(len(times), code), times) for code in range(4)]
    active = [membership.was_active(names, np.full(len(times), code), times) for code in range(4)]
    for n in hours.tolist():
        right = slowly(answers, stays, imported_at, n)
        assert known[n] == (right is not None)
        assert [name for name, each in zip(NAMES, inside, strict=False) if each[n]] == sorted(
            right or ()
        )
        assert not inside[3][n]
        assert [bool(each[n]) for each in active] == [
            right is None or name in right for name in (*NAMES, "NYSE:NEVER")
        ]
        if n % 9 == 0:
            at = membership.members_at(hour(n))
            assert (None if at is None else set(at)) == right


@given(answers=ANSWERS, stays=STAYS, imported_at=HOURS, span=st.tuples(HOURS, HOURS))
def test_members_of_a_span_are_those_of_its_instants(
    answers: list[Answer], stays: list[Stay], imported_at: int, span: tuple[int, int]
):
    first, last = sorted(span)
    membership = Membership.of(rows(answers, stays, imported_at))
    whole = [hour(n) for n in range(first, last + 1)]
    # All begins and ends are whole hours, or a microsecond later.
    instants = [*whole, *(each + timedelta(microseconds=1) for each in whole[:-1])]
    seen = (membership.members_at(instant) or [] for instant in instants)
    assert membership.members_between(hour(first), hour(last)) == set[str]().union(*seen)


@given(answers=ANSWERS, stays=STAYS, imported_at=HOURS, now=HOURS)
def test_nothing_that_is_recorded_later_changes_what_was_known(
    answers: list[Answer], stays: list[Stay], imported_at: int, now: int
):
    """Answers after an instant, and stays that became known after it, do not count at it."""
    earlier = [answer for answer in answers if answer.at <= now]
    known = [stay for stay in stays if max(stay.start, stay.known) <= now]
    whole = Membership.of(rows(answers, stays, imported_at)).members_at(hour(now))
    part = Membership.of(rows(earlier, known, imported_at)).members_at(hour(now))
    assert whole == part


@given(answers=ANSWERS, stays=STAYS, imported_at=HOURS)
def test_as_recorded_an_import_counts_from_when_it_was_made(
    answers: list[Answer], stays: list[Stay], imported_at: int
):
    recorded = Membership.of(rows(answers, stays, imported_at), as_recorded=True)
    late = [Stay(each.symbol, each.start, each.end, max(each.known, imported_at)) for each in stays]
    by_hand = Membership.of(rows(answers, late, imported_at))
    for n in range(0, 90, 11):
        assert recorded.members_at(hour(n)) == by_hand.members_at(hour(n))


def test_without_any_row_nothing_is_known():
    empty = Membership.of(SCHEMA.empty_table())
    assert empty.members_at(START) is None
    assert empty.last_answer(START) is None
    assert empty.members_between(START, hour(5)) == set()
    assert empty.was_active(pa.array(["NYSE:A"]), np.zeros(1, dtype=np.int64), np.zeros(1)).all()
