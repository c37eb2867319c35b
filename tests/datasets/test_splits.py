from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ingestion.base.columns import INSTANT
from ingestion.base.errors import InputError
from ingestion.base.instants import to_micros
from ingestion.datasets.sample_weights import return_weights, uniqueness
from ingestion.datasets.splits import CombinatorialPurged, LabelSpans, PurgedKFold, WalkForward

US = timedelta(microseconds=1)

rows = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 12)).map(lambda row: (row[0], sum(row))),
    min_size=2,
    max_size=40,
)
embargoes = st.integers(0, 6)


def spans_of(rows) -> LabelSpans:
    return LabelSpans([decided for decided, _ in rows], [end for _, end in rows])


def overlap(one, other) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def may_train(row, tests, embargo: int) -> bool:
    """The definition: no label in common with a test, and not decided soon after one's end."""
    return not any(overlap(row, test) or test[1] < row[0] <= test[1] + embargo for test in tests)


def groups_of(rows, count: int) -> list[list[int]]:
    """The groups that the splitter itself tests; what they must be is another test's."""
    edges = spans_of(rows).cut(count)
    order = sorted(range(len(rows)), key=lambda n: rows[n][0])
    return [order[a:b] for a, b in pairwise(edges)]


def found(splitter, rows) -> list[tuple[list[int], list[int]]]:
    """All splits; a case of one without a row that may train is not of interest."""
    try:
        splits = list(splitter.split(np.zeros((len(rows), 3))))
    except InputError as error:
        assume("may train" not in str(error))
        raise
    assert len(splits) == splitter.get_n_splits()
    return [(train.tolist(), test.tolist()) for train, test in splits]


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 6))
def test_groups_are_in_time_apart_and_of_about_one_size(rows, count):
    instants = Counter(decided for decided, _ in rows)
    if count > len(instants):
        with pytest.raises(InputError, match=f"{count} groups cannot be made"):
            spans_of(rows).cut(count)
        return
    groups = groups_of(rows, count)
    assert sorted(n for group in groups for n in group) == list(range(len(rows)))
    decided = [[rows[n][0] for n in group] for group in groups]
    assert all(max(one) < min(other) for one, other in pairwise(decided))
    if set(instants.values()) == {1}:
        assert max(map(len, groups)) - min(map(len, groups)) <= 1


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(2, 5), embargoes)
def test_purged_folds_train_on_what_the_definition_allows(rows, count, embargo):
    assume(count <= len({decided for decided, _ in rows}))
    splits = found(PurgedKFold(spans_of(rows), count, embargo=embargo * US), rows)
    for (train, test), group in zip(splits, groups_of(rows, count), strict=True):
        assert test == sorted(group)
        tests = [rows[n] for n in test]
        expected = [n for n, row in enumerate(rows) if may_train(row, tests, embargo)]
        assert train == expected


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 5), st.none() | st.integers(1, 15))
def test_walking_forward_trains_on_the_past_that_the_definition_allows(rows, count, window):
    assume(count < len({decided for decided, _ in rows}))
    splitter = WalkForward(spans_of(rows), count, window=None if window is None else window * US)
    splits = found(splitter, rows)
    for (train, test), group in zip(splits, groups_of(rows, count + 1)[1:], strict=True):
        assert test == sorted(group)
        first = min(rows[n][0] for n in test)
        begin = -1 if window is None else first - window
        assert train == [
            n
            for n, row in enumerate(rows)
            if begin <= row[0] < first and may_train(row, [rows[n] for n in test], 0)
        ]


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(2, 5), st.integers(1, 3), embargoes)
def test_combinatorial_splits_train_on_what_the_definition_allows(rows, count, tested, embargo):
    assume(tested < count <= len({decided for decided, _ in rows}))
    splitter = CombinatorialPurged(spans_of(rows), count, tested, embargo=embargo * US)
    splits = found(splitter, rows)
    choices = combinations(groups_of(rows, count), tested)
    for (train, test), groups in zip(splits, choices, strict=True):
        assert test == sorted(n for group in groups for n in group)
        tests = [rows[n] for n in test]
        assert train == [n for n, row in enumerate(rows) if may_train(row, tests, embargo)]


@pytest.mark.parametrize(("groups", "tested", "paths"), [(4, 2, 3), (6, 2, 5), (5, 1, 1)])
def test_each_path_has_every_group_once_and_no_test_is_in_two(groups, tested, paths):
    cv = CombinatorialPurged(LabelSpans(range(9), range(9)), groups, tested)
    found = cv.paths()
    assert len(found) == paths
    chosen = [*combinations(range(groups), tested)]
    for path in found:
        assert len(path) == groups
        assert all(group in chosen[split] for group, split in enumerate(path))
    tests = [(group, split) for path in found for group, split in enumerate(path)]
    assert len(set(tests)) == len(tests) == groups * paths


def concurrent(rows, series) -> list[float]:
    """Uniqueness by its definition, an instant at a time."""
    unique = []
    for (decided, end), name in zip(rows, series, strict=True):
        own = [row for row, other in zip(rows, series, strict=True) if other == name]
        instants = {row[0] for row in own if decided <= row[0] <= end}
        shares = [1 / sum(a <= at <= b for a, b in own) for at in instants]
        unique.append(sum(shares) / len(shares))
    return unique


@settings(max_examples=60, deadline=None)
@given(rows, st.data())
def test_uniqueness_is_that_of_the_definition_in_each_series(rows, data):
    series = data.draw(st.lists(st.sampled_from("AB"), min_size=len(rows), max_size=len(rows)))
    form = data.draw(st.sampled_from([list, np.array, lambda some: pa.chunked_array([some])]))
    assert uniqueness(spans_of(rows), form(series)) == pytest.approx(concurrent(rows, series))
    assert uniqueness(spans_of(rows)) == pytest.approx(concurrent(rows, ["A"] * len(rows)))


def test_weights_by_return_are_those_of_hand():
    spans = LabelSpans([0, 10, 20], [9, 20, 25])  # unique by 1, 3/4 and 1/2
    weights = return_weights(spans, [0.01, -0.04, 0.0])
    assert weights == pytest.approx([0.75, 2.25, 0.0])


MONDAY = datetime(2021, 4, 12, 20, tzinfo=UTC)


def test_spans_are_taken_from_a_training_set():
    ends = [MONDAY + timedelta(days=n) for n in (1, 2)]
    table = pa.table(
        {
            "event_timestamp": pa.array([MONDAY] * 2, INSTANT),
            "label_end_timestamp": pa.array(ends, pa.timestamp("ms", "UTC")),
        }
    )
    assert LabelSpans.of(table).ends.tolist() == [*map(to_micros, ends)]
    for broken, told in (
        (table.drop_columns(["label_end_timestamp"]), "no column label_end_timestamp"),
        (table.set_column(1, "label_end_timestamp", pa.array([1, 2])), "must be a timestamp"),
        (table.set_column(1, "label_end_timestamp", pa.nulls(2, INSTANT)), "null in 2 rows"),
    ):
        with pytest.raises(InputError, match=told):
            LabelSpans.of(broken)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: LabelSpans([5], [4]), "row 0: its label ends before"),
        (lambda: LabelSpans([5], [6, 7]), "shape"),
        (lambda: PurgedKFold(LabelSpans([1, 2], [1, 2]), 1), "n_splits is 1"),
        (lambda: PurgedKFold(LabelSpans([1, 2], [1, 2]), 2, embargo=-US), "embargo"),
        (lambda: CombinatorialPurged(LabelSpans([1, 2], [1, 2]), 2, 2), "n_groups is 2"),
        (lambda: WalkForward(LabelSpans([1, 2], [1, 2]), 0), "n_splits is 0"),
        (lambda: next(WalkForward(LabelSpans([1, 2], [2, 2]), 1).split()), "no row that may train"),
        (lambda: next(WalkForward(LabelSpans([1, 2], [1, 2]), 1).split([0])), "1 rows cannot"),
        (lambda: uniqueness(LabelSpans([1, 2], [1, 2]), ["A"]), "1 series"),
        (lambda: return_weights(LabelSpans([1], [1]), [np.nan]), "row 0"),
        (lambda: return_weights(LabelSpans([1], [1]), [0.0]), "all returns are 0"),
        (lambda: return_weights(LabelSpans([1], [1]), [0.0, 1.0]), "2 returns"),
    ],
)
def test_what_cannot_be_split_or_weighed_is_refused(make, told):
    with pytest.raises(InputError, match=told):
        make()
