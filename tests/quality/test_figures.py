from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from quality_rows import good_rows, spoiled, technicals

from ingestion.formulas import compute_local_features
from ingestion.lakehouse import Lakehouse, append_part, arrow_schema, open_lakehouse
from ingestion.quality import history
from ingestion.quality.figures import Figure, Skipped, against_history
from ingestion.quality.history import History, newest_rows, read_history
from ingestion.quality.rules import violations
from tests.conftest import SAMPLE
from tests.declared import LOCAL_1D, TV_TECHNICALS_1D
from tests.lakehouse.in_a_bucket import placed

GROUP = TV_TECHNICALS_1D
DAY = timedelta(days=1)


FEATURES = [column.name for column in LOCAL_1D.features]


@pytest.fixture(scope="module")
def days() -> list[pa.Table]:
    """The sample's features of each day on which its stocks traded, in the group's schema."""
    features = compute_local_features(pq.read_table(SAMPLE / "bars.parquet"))
    schema = arrow_schema(LOCAL_1D)
    opens = pc.cast(pc.multiply(features["timestamp"], 1_000_000), pa.timestamp("us", "UTC"))
    instants = {"event_timestamp": opens, "created_timestamp": opens, "bar_timestamp": opens}
    for name, values in instants.items():
        features = features.append_column(name, values)
    features = features.select(schema.names).cast(schema)
    day = pc.divide(features["timestamp"], 86_400)
    found = [features.filter(pc.equal(day, each)) for each in sorted(pc.unique(day).to_pylist())]
    return [each for each in found if each.num_rows >= 50]


def judged(rows: pa.Table, before: pa.Table) -> dict[str, Figure]:
    found = against_history(LOCAL_1D, rows, History(before))
    return {each.check: each for each in found if isinstance(each, Figure)}


def planted(rows: pa.Table, change: Callable[[str], pa.ChunkedArray]) -> pa.Table:
    """The same rows with other values in every feature."""
    for name in FEATURES:
        index = rows.schema.get_field_index(name)
        rows = rows.set_column(index, rows.schema.field(index), change(name))
    return rows


def passed(rows: pa.Table, before: pa.Table) -> list[str]:
    """The features for which alone the rows would be published: by figures and by bounds."""
    outside = {check for check, each in judged(rows, before).items() if not each.is_inside}
    most = LOCAL_1D.quality.max_quarantined_share * rows.num_rows
    outside |= {check for check, mask in violations(LOCAL_1D, rows).items() if mask.sum() > most}
    kinds = ("same share", "still share", "unit", "bounds")
    return [name for name in FEATURES if not outside & {f"{name} {kind}" for kind in kinds}]


def some(days: list[pa.Table]) -> list[tuple[pa.Table, pa.Table]]:
    """Pairs of days on which every feature has its values; 20 of them are of the crash."""
    return [*list(pairwise(days))[60::20], *list(pairwise(days))[165:185]]


def test_no_day_of_the_sample_is_refused(days: list[pa.Table]):
    """The crash of March 2020 is among them."""
    assert len(days) == 455
    seen: dict[str, list[float]] = defaultdict(list)
    for before, rows in pairwise(days):
        for check, figure in judged(rows, before).items():
            assert figure.is_inside, (rows["timestamp"][0], check, figure)
            seen[check.rpartition(" ")[2] if check.endswith("unit") else check[-11:]].append(
                figure.value
            )
    assert len(seen["unit"]) > 7_000
    # What docs/reference/quality.md says of the distance to the limits.
    assert 0.33 < min(seen["unit"]) < 0.34
    assert 4.7 < max(seen["unit"]) < 4.8
    assert max(seen["still share"]) == pytest.approx(43 / 60)
    assert max(seen[" same share"]) == pytest.approx(52 / 60)


def test_another_unit_is_refused_on_every_day(days: list[pa.Table]):
    for before, rows in some(days):
        for factor in (100.0, 0.01, 1000.0, 0.001):
            spoilt = planted(rows, lambda name: pc.multiply(rows[name], factor))  # noqa: B023
            assert passed(spoilt, before) == [], (rows["timestamp"][0], factor)


def test_a_column_that_stands_still_or_is_one_constant_is_refused_on_every_day(
    days: list[pa.Table],
):
    for before, rows in some(days):
        place = pc.index_in(rows["symbol"], before["symbol"].combine_chunks())
        still = planted(rows, lambda name: before[name].take(place))  # noqa: B023
        assert passed(still, before) == []
        for value in (0.0, 0.5, 50.0):
            constant = pa.chunked_array([[value] * rows.num_rows])
            assert passed(planted(rows, lambda _: constant), before) == []  # noqa: B023


SWAPPED = {
    "RSI": "MACD.macd",
    "ADX": "CCI20",
    "Stoch.K": "AO",
    "Recommend.All": "Stoch.D",
    "returns_1d": "Perf.1M",
    "volatility_20d": "Volatility.D",
}


def test_two_columns_of_other_units_that_are_swapped_are_refused(days: list[pa.Table]):
    pairs = SWAPPED | {other: one for one, other in SWAPPED.items()}
    for before, rows in some(days):
        spoilt = planted(rows, lambda name: rows[pairs.get(name, name)])  # noqa: B023
        unseen = passed(spoilt, before)
        assert not [pair for pair in SWAPPED.items() if {*pair} <= {*unseen}]


def test_a_bar_that_is_shown_again_may_have_its_values_again():
    rows = technicals(60)
    shown = against_history(GROUP, rows, History(rows))
    assert Skipped("RSI still share", "0 new bars, judged from 50") in list(shown)


def test_columns_are_compared_over_the_symbols_that_have_both_values():
    before, rows = technicals(60), technicals(60, seed=1)
    few = spoiled(rows, {"RSI": dict.fromkeys(range(11))})
    told = {each.check: each for each in against_history(GROUP, few, History(before))}
    assert told["RSI unit"] == Skipped("RSI unit", "49 values, judged from 50")
    assert isinstance(told["ADX unit"], Figure)
    zeros = spoiled(before, {"AO": dict.fromkeys(range(46), 0.0)})
    told = {each.check: each for each in against_history(GROUP, rows, History(zeros))}
    assert told["AO unit"] == Skipped("AO unit", "three quarters of the previous values are 0")


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
        history = History(before)
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
        found = against_history(LOCAL_1D, good_rows(LOCAL_1D, 30), History(before))
        assert "unmoved share" not in {each.check for each in found}


class TestHistory:
    EVENING = datetime(2021, 4, 12, 21, 30, tzinfo=UTC)

    @pytest.fixture
    def lakehouse(self, tmp_path: Path) -> Lakehouse:
        return open_lakehouse(placed(tmp_path))

    def test_it_is_of_the_batchs_symbols_and_earlier_than_their_rows(self, lakehouse):
        for back in range(25, 0, -1):
            append_part(lakehouse, GROUP, technicals(4, at=self.EVENING - back * DAY), "run")
        earlier_today = technicals(4, at=self.EVENING - timedelta(hours=3), seed=1)
        later = technicals(4, at=self.EVENING + timedelta(hours=1))
        for rows in (earlier_today, later):
            append_part(lakehouse, GROUP, rows, "run")
        batch = technicals(2, at=self.EVENING)
        told = read_history(lakehouse, GROUP, batch)
        assert told.previous["symbol"].to_pylist() == batch["symbol"].to_pylist()
        assert told.previous["RSI"].to_pylist() == earlier_today["RSI"].to_pylist()[:2]

    def test_a_symbol_of_before_the_last_date_is_found_among_the_dates_compared(self, lakehouse):
        for back, symbols in ((21, 4), (20, 3), (2, 2), (1, 1)):
            append_part(lakehouse, GROUP, technicals(symbols, at=self.EVENING - back * DAY), "run")
        told = read_history(lakehouse, GROUP, technicals(4, at=self.EVENING))
        seconds = [int((self.EVENING - back * DAY).timestamp()) for back in (1, 2, 20, 21)]
        assert told.previous["timestamp"].to_pylist() == seconds
        for back in range(3, 20):
            append_part(lakehouse, GROUP, technicals(1, at=self.EVENING - back * DAY), "run")
        told = read_history(lakehouse, GROUP, technicals(4, at=self.EVENING))
        assert told.previous["timestamp"].to_pylist() == seconds[:3]

    def test_the_last_version_of_a_restated_row_is_the_previous_one(self, lakehouse):
        first = technicals(3, at=self.EVENING - DAY)
        again = spoiled(
            technicals(3, at=self.EVENING - DAY, seed=5),
            {"created_timestamp": dict.fromkeys(range(3), self.EVENING)},
        )
        for rows in (again, first):  # whatever the order of the parts
            append_part(lakehouse, GROUP, rows, "run")
        told = read_history(lakehouse, GROUP, technicals(3, at=self.EVENING))
        assert told.previous["RSI"].to_pylist() == again["RSI"].to_pylist()

    def test_an_empty_lakehouse_has_none(self, lakehouse):
        told = read_history(lakehouse, GROUP, technicals(3))
        assert told.previous.num_rows == 0

    def test_the_newest_row_of_each_symbol_is_what_would_be_served(self, lakehouse):
        ttl = GROUP.ttl
        append_part(lakehouse, GROUP, technicals(4, at=self.EVENING - ttl - DAY), "run")
        append_part(lakehouse, GROUP, technicals(3, at=self.EVENING - ttl), "run")
        append_part(lakehouse, GROUP, technicals(1, at=self.EVENING), "run")
        append_part(lakehouse, GROUP, technicals(1, at=self.EVENING + DAY), "run")
        rows, parts = newest_rows(lakehouse, GROUP, self.EVENING)
        assert [part.date for part in parts] == [(self.EVENING - ttl).date(), self.EVENING.date()]
        assert rows.schema == arrow_schema(GROUP)
        assert list(
            zip(rows["symbol"].to_pylist(), rows["event_timestamp"].to_pylist(), strict=True)
        ) == [
            ("NASDAQ:S00000", self.EVENING),
            ("NASDAQ:S00001", self.EVENING - ttl),
            ("NASDAQ:S00002", self.EVENING - ttl),
        ]
        assert newest_rows(lakehouse, GROUP, self.EVENING - 30 * DAY).rows.num_rows == 0

    def test_a_part_that_is_merged_while_it_is_read_is_read_as_another(
        self, lakehouse, tmp_path, monkeypatch
    ):
        append_part(lakehouse, GROUP, technicals(4, at=self.EVENING - DAY), "run")
        looked = history.days_back
        moved: list[str] = []

        def moved_once(*asked):
            for day, parts in looked(*asked):
                if not moved:
                    path = tmp_path / parts[0].key
                    moved.append(parts[0].key)
                    path.rename(path.with_name(f"part-{parts[0].number + 1}.parquet"))
                yield day, parts

        monkeypatch.setattr(history, "days_back", moved_once)
        batch = technicals(4, at=self.EVENING)
        assert read_history(lakehouse, GROUP, batch).previous.num_rows == 4
        moved.clear()
        assert newest_rows(lakehouse, GROUP, self.EVENING).rows.num_rows == 4
        assert moved
