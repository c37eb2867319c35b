"""Of several rows of one session one is kept, by a rule, or none; it is told how often."""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np
import pytest
from bars_tools import HEADER, Import, Rows, Write, day_of
from hypothesis import given
from hypothesis import strategies as st

from ingestion.bars.arrays import Bars, in_order
from ingestion.bars.duplicates import Duplicates, one_per_session
from ingestion.bars.refusals import Reason
from ingestion.base.errors import InputError

MONDAY, TUESDAY = "2021-03-01", "2021-03-02"
REVISED, DISAGREE = "duplicates_with_another_volume", "duplicates_that_disagree"


def test_of_rows_that_differ_in_nothing_but_volume_the_later_one_is_taken(
    run: Import, write: Write, stored: Rows
) -> None:
    rows = day_of("NYSE:A", MONDAY, volume=100), day_of("NYSE:A", TUESDAY, volume=7)
    later = day_of("NYSE:A", MONDAY, volume=50)
    result = run(write("v.csv", HEADER + "".join(rows) + later))
    assert [row["volume"] for row in stored()] == [50.0, 7.0]
    (counts,) = result.files
    assert (counts.read, counts.accepted, counts.repeated, counts.refused) == (3, 2, 1, 0)
    (finding,) = result.findings
    assert (finding.name, finding.count) == (REVISED, 1)
    assert finding.examples == ["NYSE:A 2021-03-01 (v.csv, row 3)"]


def test_later_means_the_later_file_and_then_the_later_row(
    run: Import, write: Write, stored: Rows
) -> None:
    first = write("z.csv", HEADER + "".join(day_of("NYSE:A", MONDAY, volume=v) for v in (1, 2)))
    second = write("a.csv", HEADER + "".join(day_of("NYSE:A", MONDAY, volume=v) for v in (3, 4)))
    result = run(first, second)
    assert [(row["volume"], row["source"]) for row in stored()] == [(4.0, "import:a.csv")]
    assert [(each.accepted, each.repeated) for each in result.files] == [(0, 2), (1, 1)]
    assert [finding.count for finding in result.findings] == [1]


def test_a_label_and_an_instant_of_one_session_are_duplicates(
    run: Import, write: Write, stored: Rows
) -> None:
    label = day_of("NYSE:A", MONDAY, volume=1)
    instant = day_of("NYSE:A", f"{MONDAY}T14:30:00Z", volume=2)
    assert run(write("v.csv", HEADER + label + instant)).written == 1
    assert [row["volume"] for row in stored()] == [2.0]


@pytest.mark.parametrize("difference", [1e-12, 9e-10])
def test_the_last_digits_of_a_price_are_no_disagreement(
    difference: float, run: Import, write: Write, stored: Rows
) -> None:
    rows = [f"{MONDAY},NYSE:A,10,11,9,{close!r},5\n" for close in (10.0, 10 * (1 + difference))]
    assert run(write("v.csv", HEADER + "".join(rows))).refused == 0
    assert [row["close"] for row in stored()] == [10 * (1 + difference)]


@pytest.mark.parametrize("close", [10.00001, 10.5])
def test_rows_that_disagree_in_a_price_are_refused(
    close: float, run: Import, write: Write, stored: Rows
) -> None:
    rows = day_of("NYSE:A", MONDAY), day_of("NYSE:A", MONDAY, close), day_of("NYSE:A", TUESDAY)
    result = run(write("v.csv", HEADER + "".join(rows)))
    assert [(each.row, each.reason) for each in result.refusals] == [
        (1, Reason.DUPLICATE),
        (2, Reason.DUPLICATE),
    ]
    assert len(stored()) == 1
    assert not result.findings


@pytest.mark.parametrize(("rule", "close"), [(Duplicates.FIRST, 10.0), (Duplicates.LAST, 10.2)])
def test_or_the_first_or_last_is_taken_where_one_says_so(
    rule: Duplicates, close: float, run: Import, write: Write, stored: Rows
) -> None:
    closes = (10.0, 10.1, 10.2)
    files = [
        write(f"{n}.csv", HEADER + day_of("NYSE:A", MONDAY, each)) for n, each in enumerate(closes)
    ]
    result = run(*files, duplicates=rule)
    assert [row["close"] for row in stored()] == [close]
    assert (result.accepted, result.refused) == (1, 0)
    (finding,) = result.findings
    assert (finding.name, finding.count) == (DISAGREE, 1)
    assert f"the {rule} row is taken, as --duplicates says" in str(finding)


def test_two_that_agree_do_not_outvote_a_third(run: Import, write: Write) -> None:
    rows = [day_of("NYSE:A", MONDAY, close) for close in (10.0, 10.0, 11.0)]
    good = day_of("NYSE:A", TUESDAY)
    result = run(write("v.csv", HEADER + "".join(rows) + good))
    assert [each.row for each in result.refusals] == [1, 2, 3]


@pytest.mark.parametrize("empty", ["", "null", "nan"])
def test_a_row_without_prices_or_volume_is_refused_alone_and_the_full_one_stays(
    empty: str, run: Import, write: Write, stored: Rows
) -> None:
    full = day_of("NYSE:A", MONDAY, volume=8)
    priceless = f"{MONDAY},NYSE:A,{empty},{empty},{empty},{empty},8\n"
    volumeless = f"{MONDAY},NYSE:A,10,10.1,9.9,10,{empty}\n"
    result = run(write("v.csv", HEADER + full + priceless + volumeless))
    assert [(each.row, each.reason) for each in result.refusals] == [
        (2, Reason.NUMBER),
        (3, Reason.VOLUME),
    ]
    assert [row["volume"] for row in stored()] == [8.0]


def test_a_ratio_that_one_row_tells_stays_whichever_row_is_taken(
    run: Import, write: Write, stored: Rows
) -> None:
    told = write(
        "a.csv",
        HEADER.replace("\n", ",split_ratio\n")
        + day_of("NYSE:A", MONDAY, 40.0).replace("\n", ",1\n")
        + day_of("NYSE:A", TUESDAY).replace("\n", ",4\n"),
    )
    untold = write("b.csv", HEADER + day_of("NYSE:A", TUESDAY, volume=9))
    run(told, untold)
    assert [(row["volume"], row["split_ratio"]) for row in stored()] == [(100.0, 1.0), (9.0, 4.0)]


def test_ratios_that_disagree_are_a_disagreement(run: Import, write: Write) -> None:
    header = HEADER.replace("\n", ",split_ratio\n")
    rows = [day_of("NYSE:A", MONDAY).replace("\n", f",{ratio}\n") for ratio in (1, 4)]
    with pytest.raises(InputError, match=r"not one of 2 rows .*duplicates that disagree"):
        run(write("v.csv", header + "".join(rows)))


def test_a_second_import_of_duplicates_changes_nothing(run: Import, write: Write) -> None:
    rows = [day_of("NYSE:A", MONDAY, volume=volume) for volume in (1, 2, 1)]
    path = write("v.csv", HEADER + "".join(rows))
    assert [run(path).written for _ in range(2)] == [1, 0]


ROWS = st.lists(
    st.tuples(
        st.integers(0, 1),  # symbol
        st.integers(0, 2),  # close time
        st.sampled_from([10.0, 10.0 * (1 + 1e-12), 11.0]),
        st.sampled_from([1.0, 2.0]),
        st.sampled_from([math.nan, 1.0, 4.0]),
    ),
    max_size=9,
)


@given(rows=ROWS, rule=st.sampled_from(list(Duplicates)))
def test_it_agrees_with_a_look_at_each_session(
    rows: list[tuple[int, int, float, float, float]], rule: Duplicates
) -> None:
    bars = Bars(
        file=np.zeros(len(rows), dtype=np.int32),
        row=np.arange(len(rows), dtype=np.int64),
        symbol=np.array([row[0] for row in rows], dtype=np.int32),
        timestamp=np.zeros(len(rows), dtype=np.int64),
        event=np.array([row[1] for row in rows], dtype=np.int64),
        **{name: np.array([row[2] for row in rows]) for name in ("open", "high", "low", "close")},
        volume=np.array([row[3] for row in rows]),
        split_ratio=np.array([row[4] for row in rows]),
    )
    kept, refused, revised, chosen = set(), set(), set(), set()
    ratios = {}
    numbered = sorted(range(len(rows)), key=lambda n: (*rows[n][:2], n))
    for _, members in groupby(numbered, key=lambda n: rows[n][:2]):
        several = list(members)
        known = [rows[n][4] for n in several if not math.isnan(rows[n][4])]
        agree = len({round(rows[n][2]) for n in several}) == 1 and len(set(known)) <= 1
        if not agree and rule is Duplicates.REFUSE:
            refused |= set(several)
            continue
        stays = several[0] if not agree and rule is Duplicates.FIRST else several[-1]
        kept.add(stays)
        ratios[stays] = rows[stays][4]
        if math.isnan(ratios[stays]) and known:
            ratios[stays] = known[-1]
        if not agree:
            chosen.add(stays)
        elif len({rows[n][3] for n in several}) > 1:
            revised.add(stays)
    bars = in_order(bars)
    found = one_per_session(bars, bars.event, rule)
    masks = (found.kept, found.refused, found.revised, found.chosen)
    assert [set(bars.row[mask].tolist()) for mask in masks] == [kept, refused, revised, chosen]
    told = dict(zip(bars.row.tolist(), bars.split_ratio.tolist(), strict=True))
    assert all(
        told[n] == ratio or (math.isnan(told[n]) and math.isnan(ratio))
        for n, ratio in ratios.items()
    )
