from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.plugins.offline import join as joining
from ingestion.plugins.offline.join import Answers, AsOfJoin, Instants
from ingestion.plugins.offline.lookup import FOREVER, NEVER, Rows

# `make test-join` asks for 10,000. To make a history of a number takes a tenth of drawing one.
CASES = int(os.environ.get("TVFEAST_JOIN_CASES", "400"))
DRAWN = 60


@dataclass(frozen=True)
class Row:
    key: int
    event: int
    created: int


def brute_force(rows, key, at, ttl, as_recorded) -> int:
    valid = [
        (row.event, row.created, number)
        for number, row in enumerate(rows)
        if row.key == key >= 0
        and NEVER < row.event <= at
        and (not as_recorded or NEVER < row.created <= at)
    ]
    event, _, number = max(valid, default=(at, 0, -1))
    return number if ttl is None or at - event <= ttl else -1


def join(rows, questions, batches, ttl, as_recorded) -> Answers:
    """Offer the rows in batches, telling of each what the truth about later ones is."""
    columns = np.array([(r.key, r.event, r.created) for r in rows], np.int64).reshape(-1, 3)
    asked = np.array(questions, np.int64).reshape(-1, 2)
    joined = AsOfJoin(asked[:, 0], Instants(asked[:, 1]), ttl=ttl, as_recorded=as_recorded)
    for place, batch in enumerate(batches):
        to_come = [rows[n].event for later in batches[place + 1 :] for n in later]
        number = np.array(batch, np.int64)
        offered = Rows(*(columns[number, part] for part in range(3)), number)
        joined.offer(offered, max(to_come, default=NEVER))
    return joined.answers()


# Few values, so that keys repeat and instants tie; far ones, so that they do not fit in 64 bits.
near = st.integers(-3, 12)
far = st.sampled_from([NEVER, NEVER + 1, -(2**61), 2**61, FOREVER - 1])
instants = near | st.integers(0, 3_000_000) | far
keys = st.integers(-1, 4) | st.sampled_from([50, 1_000])
ttls = st.none() | st.integers(0, 6) | st.just(10**6)


@st.composite
def cases(draw):
    span = near if draw(st.booleans()) else instants
    rows = draw(st.lists(st.builds(Row, keys, span, span), max_size=25))
    order = sorted(range(len(rows)), key=lambda n: -rows[n].event)
    if draw(st.booleans()):
        order = draw(st.permutations(order))
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=6)))
    edges = [0, *cuts, len(rows)]
    batches = [order[a:b] for a, b in pairwise(edges)]
    questions = draw(st.lists(st.tuples(keys, span), max_size=25))
    return rows, questions, batches


@settings(max_examples=DRAWN, deadline=None)
@given(cases(), ttls, st.booleans())
def test_every_question_gets_the_row_of_the_brute_force_search(case, ttl, as_recorded):
    rows, questions, batches = case
    expected = [
        brute_force(rows, key, at, ttl, as_recorded) if at != NEVER else -1 for key, at in questions
    ]
    answers = join(rows, questions, batches, ttl, as_recorded)
    assert answers.number.tolist() == expected
    asked = zip(questions, expected, strict=True)
    later = [rows[number].created > at for (_, at), number in asked if number >= 0]
    assert answers.created_later == sum(later)


@st.composite
def days(draw):
    """Batches that are apart in time and have a key once, as daily files do; at times just not."""
    batches, rows = [], []
    for day in range(draw(st.integers(0, 5)), -1, -1):
        batch = draw(
            st.lists(
                st.builds(Row, st.integers(-1, 5), st.integers(0, 9), near),
                min_size=draw(st.sampled_from([0, 4])),
                unique_by=None if draw(st.integers(0, 9)) == 0 else lambda row: row.key,
            )
        )
        last = 11 if draw(st.integers(0, 3)) == 0 else 10
        batches.append(range(len(rows), len(rows) + len(batch)))
        rows += [Row(r.key, day * 10 + r.event * last // 9 - 1, r.created) for r in batch]
    # More than there are rows: these wait for one another.
    asked = st.tuples(st.integers(-1, 5), st.integers(-3, 63))
    questions = draw(st.lists(asked, min_size=1, max_size=20)) * draw(st.sampled_from([1, 5]))
    return rows, questions, [list(batch) for batch in batches]


@settings(max_examples=DRAWN, deadline=None)
@given(days(), ttls, st.booleans())
def test_days_answer_as_any_rows_do(case, ttl, as_recorded):
    rows, questions, batches = case
    expected = [brute_force(rows, key, at, ttl, as_recorded) for key, at in questions]
    assert join(rows, questions, batches, ttl, as_recorded).number.tolist() == expected


def numbered(number: int):
    """Make the history and the questions of a number, like those of ``cases`` or of ``days``."""
    rng = np.random.default_rng(number)

    def instants(size: int) -> list[int]:
        few = rng.integers(0, 4, size) if number % 4 == 0 else rng.integers(-3, 13, size)
        kinds = [few, rng.integers(0, 3_000_001, size)]
        kinds.append(rng.choice([NEVER, NEVER + 1, -(2**61), 2**61, FOREVER - 1], size))
        return np.choose(rng.integers(0, 3, size) * (number % 3 == 0), kinds).tolist()

    def keys(size: int) -> list[int]:
        rare = rng.random(size) < (0 if number % 2 else 0.2)
        return np.where(rare, rng.choice([50, 1_000], size), rng.integers(-1, 5, size)).tolist()

    if number % 2:
        rows, batches = [], []
        for day in range(rng.integers(1, 7), 0, -1):
            some = rng.permutation(np.arange(-1, 5))[: rng.integers(0, 7)].tolist()
            batches.append([*range(len(rows), len(rows) + len(some))])
            events = (day * 10 + rng.integers(-1, 9, len(some))).tolist()
            rows += map(Row, some, events, instants(len(some)))
        asked = zip(keys(30), rng.integers(-3, 73, 30).tolist(), strict=True)
        return rows, [*asked][: rng.integers(1, 31)] * int(rng.choice([1, 5])), batches
    size = int(rng.integers(0, 26))
    rows = [*map(Row, keys(size), instants(size), instants(size))]
    order = sorted(range(size), key=lambda n: -rows[n].event)
    if rng.integers(2):
        rng.shuffle(order)
    edges = [0, *np.sort(rng.integers(0, size + 1, rng.integers(0, 7))).tolist(), size]
    asked = int(rng.integers(0, 26))
    questions = [*zip(keys(asked), instants(asked), strict=True)]
    return rows, questions, [order[a:b] for a, b in pairwise(edges)]


def test_every_numbered_history_is_joined_as_by_brute_force(monkeypatch: pytest.MonkeyPatch):
    for number in range(CASES):
        monkeypatch.setattr(joining, "_MANY", 1 if number % 4 < 2 else 1 << 20)
        monkeypatch.setattr(joining, "_BLOCK", 8 if number % 8 < 2 else 1 << 16)
        rows, questions, batches = numbered(number)
        ttl = [None, None, 0, 2, 6, 10**6][number // 4 % 6]
        expected = [
            brute_force(rows, key, at, ttl, number % 5 == 0) if at != NEVER else -1
            for key, at in questions
        ]
        found = join(rows, questions, batches, ttl, number % 5 == 0).number.tolist()
        assert found == expected, f"history {number}"


@settings(max_examples=DRAWN, deadline=None)
@given(cases() | days(), ttls, st.booleans(), st.integers(1, 3), st.integers(1, 8))
def test_neither_blocks_nor_looks_change_an_answer(case, ttl, as_recorded, block, many):
    rows, questions, batches = case
    expected = [
        brute_force(rows, key, at, ttl, as_recorded) if at != NEVER else -1 for key, at in questions
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "_BLOCK", block)
        patch.setattr(joining, "_MANY", many)
        answers = join(rows, questions, batches, ttl, as_recorded)
    assert answers.number.tolist() == expected


@settings(max_examples=DRAWN, deadline=None)
@given(cases(), ttls, st.booleans())
def test_rows_that_are_not_needed_change_nothing(case, ttl, as_recorded):
    rows, questions, batches = case
    asked = np.array(questions, np.int64).reshape(-1, 2)
    joined = AsOfJoin(asked[:, 0], Instants(asked[:, 1]), ttl=ttl, as_recorded=as_recorded)
    for place, batch in enumerate(batches):
        events = [rows[n].event for n in batch if rows[n].event != NEVER]
        if not events or not joined.needs(min(events), max(events)):
            continue
        to_come = [rows[n].event for later in batches[place + 1 :] for n in later]
        parts = [[getattr(rows[n], part) for n in batch] for part in ("key", "event", "created")]
        offered = Rows(*(np.array(part, np.int64) for part in parts), np.array(batch, np.int64))
        joined.offer(offered, max(to_come, default=NEVER))
    expected = [
        brute_force(rows, key, at, ttl, as_recorded) if at != NEVER else -1 for key, at in questions
    ]
    assert joined.answers().number.tolist() == expected


def test_of_two_days_that_touch_the_later_created_row_wins():
    rows = [Row(0, 10, 9), Row(0, 10, 5)]
    assert join(rows, [(0, 11)] * 9, [[0], [1]], None, False).number.tolist() == [0] * 9


@pytest.mark.parametrize(("at", "answered"), [(9, False), (10, True), (15, True), (16, False)])
def test_a_row_is_valid_from_its_event_to_its_ttl_both_included(at, answered):
    answers = join([Row(0, 10, 0)], [(0, at)], [[0]], 5, False)
    assert (answers.number.tolist() == [0]) is answered


def test_older_rows_are_not_needed_once_every_question_is_answered():
    questions = np.array([100, 200], np.int64)
    joined = AsOfJoin(np.zeros(2, np.int64), Instants(questions), ttl=None, as_recorded=False)
    assert joined.needs(0, 50)
    event = np.array([90, 81], np.int64)  # as many rows as questions, so that they are looked at
    joined.offer(Rows(np.zeros(2, np.int64), event, event, np.arange(2)), 80)
    assert not joined.needs(0, 80)
    with_ttl = AsOfJoin(np.zeros(2, np.int64), Instants(questions), ttl=10, as_recorded=False)
    assert not with_ttl.needs(0, 89)
