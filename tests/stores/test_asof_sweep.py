from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.plugins.offline.join import Answers, Instants
from ingestion.plugins.offline.lookup import NEVER, Rows
from ingestion.plugins.offline.sweep import Decisions, Sweep, decisions_of
from tests.stores.test_asof_join import DRAWN, brute_force, cases, days, ttls


def sweep(rows, questions, batches, ttl, as_recorded) -> Answers:
    """Offer the batches that are needed, as readers of files do."""
    columns = np.array([(r.key, r.event, r.created) for r in rows], np.int64).reshape(-1, 3)
    asked = np.array(questions, np.int64)
    begins = np.unique(asked[:, 1], return_index=True)[1]
    decisions = Decisions(asked[:, 1], begins)
    swept = Sweep(asked[:, 0].astype(np.int32), decisions, ttl=ttl, as_recorded=as_recorded)
    for place, batch in enumerate(batches):
        events = [rows[n].event for n in batch]
        if not events or not swept.needs(min(events), max(events)):
            continue
        to_come = [rows[n].event for later in batches[place + 1 :] for n in later]
        number = np.array(batch, np.int64)
        offered = Rows(*(columns[number, part] for part in range(3)), number)
        swept.offer(offered, max(to_come, default=NEVER))
    return swept.answers()


@settings(max_examples=2 * DRAWN, deadline=None)
@given(cases() | days(), ttls, st.booleans())
def test_a_sweep_gives_every_question_the_row_of_the_brute_force_search(case, ttl, as_recorded):
    rows, questions, batches = case
    asked = [(key, at) for key, at in sorted(questions, key=lambda q: q[1]) if at != NEVER]
    asked = asked or [(0, 0)]
    expected = [brute_force(rows, key, at, ttl, as_recorded) for key, at in asked]
    answers = sweep(rows, asked, batches, ttl, as_recorded)
    assert answers.number.tolist() == expected
    found = zip(asked, expected, strict=True)
    later = [rows[number].created > at for (_, at), number in found if number >= 0]
    assert answers.created_later == sum(later)


def test_no_older_row_is_needed_once_each_question_is_answered():
    at = np.repeat(np.array([10, 20]), 100)
    key = np.tile(np.arange(100, dtype=np.int32), 2)
    swept = Sweep(key, decisions_of(at), ttl=None, as_recorded=False)
    every, ten = np.arange(100), np.full(100, 10)
    swept.offer(Rows(every, ten + 5, ten, every), newest_to_come=10)
    assert swept.needs(0, 10)
    swept.offer(Rows(every, ten, ten, every + 100), newest_to_come=9)
    assert not swept.needs(0, 9)
    assert swept.answers().number.tolist() == [*range(100, 200), *range(100)]


def test_questions_in_another_order_or_of_many_instants_are_searched_for():
    few = np.repeat(np.array([10, 20]), 100)
    assert isinstance(decisions_of(few), Decisions)
    for instant in (few[::-1].copy(), np.arange(200), np.repeat([NEVER, 20], 100), few[:0]):
        assert isinstance(decisions_of(instant), Instants)
