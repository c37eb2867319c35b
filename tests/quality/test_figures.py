from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from statistics import quantiles

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from quality_rows import good_rows, spoiled, technicals

from ingestion.catalog import LOCAL_1D, TV_TECHNICALS_1D
from ingestion.lakehouse import append_part, arrow_schema
from ingestion.quality import history
from ingestion.quality.figures import Figure, Skipped, against_history, stability_index
from ingestion.quality.history import History, newest_rows, read_history

GROUP = TV_TECHNICALS_1D
DAY = timedelta(days=1)


def stability_by_hand(values: list[float], reference: list[float]) -> float:
    """The formula over counted bins, in plain Python."""
    edges = sorted(set(quantiles(reference, n=10, method="inclusive")))
    p, q = (Counter(bisect_left(edges, each) for each in side) for side in (values, reference))
    total = 0.0
    for place in range(len(edges) + 1):
        a = max(p[place] / len(values), 0.001)
        b = max(q[place] / len(reference), 0.001)
        total += (a - b) * math.log(a / b)
    return total


NUMBERS = st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=60)


@given(values=NUMBERS, reference=NUMBERS)
@settings(max_examples=200, deadline=None)
def test_the_stability_index_is_the_formula(values: list[float], reference: list[float]):
    # On an edge between two reference values it is rounding that decides, in either computation.
    between = set(quantiles(map(Fraction, reference), n=10, method="inclusive")) - {*reference}
    assume(not between.intersection(values))
    index = stability_index(np.array(values), np.array(reference))
    assert index == pytest.approx(stability_by_hand(values, reference), abs=1e-9)


def test_the_stability_index_of_a_textbook_case():
    """Tenths of 1 to 100; the values all in the first: 0.9 ln 10 + 9 × 0.099 ln 100."""
    reference = np.arange(1.0, 101)
    assert stability_index(reference, reference) == 0
    index = stability_index(np.full(50, 1.0), reference)
    assert index == pytest.approx(0.9 * math.log(10) + 9 * 0.099 * math.log(100))
    assert index == pytest.approx(6.175, abs=1e-3)


class TestUnmoved:
    """Monday's bar shown again on Tuesday: who had a session in between?"""

    MONDAY = datetime(2021, 4, 12, 21, 30, tzinfo=UTC)
    OPEN = datetime(2021, 4, 12, 13, 30, tzinfo=UTC)

    def rows(
        self, symbols: list[str], at: datetime, bars: list[datetime | None] | datetime
    ) -> pa.Table:
        rows = technicals(len(symbols), at=at, symbols=symbols)
        bars = bars if isinstance(bars, list) else [bars] * len(symbols)
        return spoiled(rows, {"bar_timestamp": dict(enumerate(bars))})

    def judge(self, symbols: list[str], at: datetime, bars: list[datetime | None] | datetime):
        before = self.rows(symbols, self.MONDAY, self.OPEN)
        history = History(before, before, 1)
        found = against_history(GROUP, self.rows(symbols, at, bars), history)
        return next(each for each in found if each.check == "unmoved share")

    def stocks(self, count: int, exchange: str = "NASDAQ") -> list[str]:
        return [f"{exchange}:S{number}" for number in range(count)]

    def test_a_bar_that_stays_over_a_session_counts(self):
        tuesday = self.MONDAY + DAY
        bars = [self.OPEN] * 10 + [self.OPEN + DAY] * 30
        assert self.judge(self.stocks(40), tuesday, bars) == Figure("unmoved share", 0.25, high=0.5)

    def test_a_session_counts_once_its_values_are_published(self):
        """New York closes at 20:00 UTC; the delayed feed is final 20 minutes later."""
        published = datetime(2021, 4, 13, 20, 20, tzinfo=UTC)
        at_last = self.judge(self.stocks(20), published, self.OPEN)
        assert at_last == Figure("unmoved share", 1.0, high=0.5)
        before = self.judge(self.stocks(20), published - timedelta(seconds=1), self.OPEN)
        assert before == Skipped("unmoved share", "0 rows, judged from 20")

    def test_the_weekend_moves_no_stock_and_every_coin(self):
        self.MONDAY, self.OPEN = self.MONDAY + 4 * DAY, self.OPEN + 4 * DAY  # a Friday
        sunday = self.MONDAY + 2 * DAY
        stocks, coins = self.stocks(20), self.stocks(20, "BINANCE")
        assert self.judge(stocks, sunday, self.OPEN) == Skipped(
            "unmoved share", "0 rows, judged from 20"
        )
        assert self.judge(stocks + coins, sunday, self.OPEN) == Figure(
            "unmoved share", 1.0, high=0.5
        )

    def test_a_holiday_moves_nothing(self):
        """Good Friday of 2021."""
        self.MONDAY, self.OPEN = (each - timedelta(days=11) for each in (self.MONDAY, self.OPEN))
        assert isinstance(self.judge(self.stocks(20), self.MONDAY + DAY, self.OPEN), Skipped)

    def test_symbols_of_unknown_hours_or_without_a_bar_do_not_count(self):
        tuesday = self.MONDAY + DAY
        unknown = self.stocks(20, "NOWHERE")
        assert isinstance(self.judge(unknown, tuesday, self.OPEN), Skipped)
        assert isinstance(self.judge(self.stocks(20), tuesday, [None] * 20), Skipped)

    def test_a_first_snapshot_has_nothing_to_compare(self):
        found = list(against_history(GROUP, technicals(30), None))
        assert all(isinstance(each, Skipped) for each in found)

    def test_a_group_whose_rows_are_bars_is_not_judged_by_it(self):
        before = good_rows(LOCAL_1D, 30, self.MONDAY)
        found = against_history(LOCAL_1D, good_rows(LOCAL_1D, 30), History(before, before, 1))
        assert "unmoved share" not in {each.check for each in found}


class TestHistory:
    EVENING = datetime(2021, 4, 12, 21, 30, tzinfo=UTC)

    def test_it_is_of_the_batchs_symbols_and_earlier_than_their_rows(self, tmp_path):
        for back in range(25, 0, -1):
            append_part(tmp_path, GROUP, technicals(4, at=self.EVENING - back * DAY), "run")
        earlier_today = technicals(4, at=self.EVENING - timedelta(hours=3), seed=1)
        later = technicals(4, at=self.EVENING + timedelta(hours=1))
        for rows in (earlier_today, later):
            append_part(tmp_path, GROUP, rows, "run")
        batch = technicals(2, at=self.EVENING)
        told = read_history(tmp_path, GROUP, batch)
        assert told.days == 20
        assert told.trailing.num_rows == 20 * 2
        assert set(told.trailing["symbol"].to_pylist()) == set(batch["symbol"].to_pylist())
        assert told.previous["RSI"].to_pylist() == earlier_today["RSI"].to_pylist()[:2]

    def test_the_last_version_of_a_restated_row_is_the_previous_one(self, tmp_path):
        first = technicals(3, at=self.EVENING - DAY)
        again = spoiled(
            technicals(3, at=self.EVENING - DAY, seed=5),
            {"created_timestamp": dict.fromkeys(range(3), self.EVENING)},
        )
        for rows in (again, first):  # whatever the order of the parts
            append_part(tmp_path, GROUP, rows, "run")
        told = read_history(tmp_path, GROUP, technicals(3, at=self.EVENING))
        assert told.previous["RSI"].to_pylist() == again["RSI"].to_pylist()

    def test_an_empty_lakehouse_has_none(self, tmp_path):
        told = read_history(tmp_path, GROUP, technicals(3))
        assert (told.previous.num_rows, told.trailing.num_rows, told.days) == (0, 0, 0)

    def test_the_newest_row_of_each_symbol_is_what_would_be_served(self, tmp_path):
        ttl = GROUP.ttl
        append_part(tmp_path, GROUP, technicals(4, at=self.EVENING - ttl - DAY), "run")
        append_part(tmp_path, GROUP, technicals(3, at=self.EVENING - ttl), "run")
        append_part(tmp_path, GROUP, technicals(1, at=self.EVENING), "run")
        append_part(tmp_path, GROUP, technicals(1, at=self.EVENING + DAY), "run")
        rows = newest_rows(tmp_path, GROUP, self.EVENING)
        assert rows.schema == arrow_schema(GROUP)
        assert list(
            zip(rows["symbol"].to_pylist(), rows["event_timestamp"].to_pylist(), strict=True)
        ) == [
            ("NASDAQ:S00000", self.EVENING),
            ("NASDAQ:S00001", self.EVENING - ttl),
            ("NASDAQ:S00002", self.EVENING - ttl),
        ]
        assert newest_rows(tmp_path, GROUP, self.EVENING - 30 * DAY).num_rows == 0

    def test_a_part_that_is_merged_while_it_is_read_is_read_as_another(self, tmp_path, monkeypatch):
        append_part(tmp_path, GROUP, technicals(4, at=self.EVENING - DAY), "run")
        listed = history.list_parts

        def moved_once(root, group):
            parts = listed(root, group)
            if parts[0].number == 0:
                parts[0].path.rename(parts[0].path.with_name("part-1.parquet"))
            return parts

        def name_again():
            (part,) = listed(tmp_path, GROUP)
            part.path.rename(part.path.with_name("part-0.parquet"))

        monkeypatch.setattr(history, "list_parts", moved_once)
        batch = technicals(4, at=self.EVENING)
        assert read_history(tmp_path, GROUP, batch).trailing.num_rows == 4
        name_again()
        assert newest_rows(tmp_path, GROUP, self.EVENING).num_rows == 4
