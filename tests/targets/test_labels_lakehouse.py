"""Labels that need more than a symbol's own later bars: what is read of the lakehouse for them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from target_bars import DAY, bar_table, sample_bars
from test_targets_lakehouse import WRITTEN, settings_in, write

from ingestion.base.errors import InputError
from ingestion.catalog import DIVIDENDS, SYMBOLS
from ingestion.datasets import DropReason, labels_of, make_labels
from ingestion.jobs.serve.targets import LABEL_COLUMNS, label_spans, training_labels
from ingestion.lakehouse import append_rows
from ingestion.project import Project

OWN = ("NASDAQ:AAPL", "NASDAQ:TSLA", "NYSE:NEE")
FIRST, LAST = date(2020, 12, 14), date(2021, 1, 15)
TEXTS = (
    "scaled_fwd_return_5d excess_fwd_return_5d,benchmark=NYSE:NEE "
    "barrier_5d,profit=1sd,loss=3% quantile_fwd_return_5d,classes=2"
)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The sample's bars of three stocks around a new year; only to be read."""
    project = settings_in(tmp_path_factory.mktemp("labels"))
    write(project, around())
    return project


def around() -> pa.Table:
    bars = sample_bars(*OWN)
    closed = bars["event_timestamp"].cast(pa.date32())
    return bars.filter(
        pc.and_(
            pc.greater_equal(closed, date(2020, 10, 1)), pc.less_equal(closed, date(2021, 2, 15))
        )
    )


def dividend(symbol: str, day: datetime, amount: float, created: datetime, currency=None) -> dict:
    return {
        "timestamp": int(day.timestamp()),
        "symbol": symbol,
        "ex_date": day.date().isoformat(),
        "amount": amount,
        "currency": currency,
        "event_timestamp": day,
        "created_timestamp": created,
        "source": "test",
    }


def test_labels_of_two_years_are_those_of_all_bars_at_once(stocked: Project):
    """A volatility of January is of December's bars, which another slice is read for."""
    bars = around().drop_columns(["close_timestamp"])
    newest = pc.max(bars["event_timestamp"]).as_py()
    whole = make_labels(bars, labels_of(TEXTS), first=FIRST, last=LAST, newest=newest)
    made = training_labels(stocked, TEXTS, FIRST, LAST)
    assert made.labels.table.equals(whole.table)
    assert made.labels.missing == whole.missing
    assert not sum(made.labels.dropped.values())
    assert made.symbols == 3


def test_a_benchmark_is_read_and_not_labelled_where_others_are_asked_for(stocked: Project):
    text = "excess_fwd_return_5d,benchmark=NYSE:NEE"
    of_all = training_labels(stocked, text, FIRST, LAST).labels.table
    made = training_labels(stocked, text, FIRST, LAST, symbols=OWN[:2])
    assert made.labels.table.equals(of_all.filter(pc.is_in(of_all["symbol"], pa.array(OWN[:2]))))
    assert made.symbols == 2
    itself = of_all.filter(pc.equal(of_all["symbol"], OWN[2]))
    assert set(itself["excess_fwd_return_5d"].to_pylist()) == {0.0}


def test_a_benchmark_without_bars_is_refused_by_name(stocked: Project):
    with pytest.raises(InputError, match=r"benchmark AMEX:SPY has no bar in .* import-bars"):
        training_labels(stocked, "excess_fwd_return_5d,benchmark=AMEX:SPY", FIRST, LAST)


def test_a_total_return_without_dividends_is_refused_and_not_a_return_of_the_price(stocked):
    with pytest.raises(InputError, match=r"needs dividends.*import-bars --dividends FILE"):
        training_labels(stocked, "total_return_5d", FIRST, LAST)


def three_days(symbols: tuple[str, ...]) -> pa.Table:
    start = int(datetime(2021, 1, 4, 14, 30, tzinfo=UTC).timestamp())
    return bar_table(
        [
            {
                "symbol": symbol,
                "opened": start + day * DAY,
                "closed": start + day * DAY + 23_400,
                "open": 100.0,
                "close": 100.0,
            }
            for symbol in symbols
            for day in range(4)
        ]
    )


def test_dividends_are_those_that_were_known(tmp_path: Path):
    project = settings_in(tmp_path)
    write(project, three_days(("NYSE:A", "NYSE:B")))
    paid = datetime(2021, 1, 6, 21, tzinfo=UTC)
    later = WRITTEN + timedelta(days=1)
    append_rows(project.lakehouse, DIVIDENDS, [dividend("NYSE:A", paid, 1.0, WRITTEN)], "one")
    append_rows(project.lakehouse, DIVIDENDS, [dividend("NYSE:A", paid, 3.0, later)], "two")
    span = date(2021, 1, 4), date(2021, 1, 4)
    for known_at, value in ((None, 0.03), (WRITTEN, 0.01), (later, 0.03)):
        made = training_labels(project, "total_return_2d", *span, known_at=known_at)
        values = made.labels.table["total_return_2d"].to_pylist()
        assert values == [pytest.approx(value), 0.0]
        (none,) = [each for each in made.warnings if each.startswith("dividends:")]
        assert "1 symbol has none recorded" in none
        assert "NYSE:B" in none
    with pytest.raises(InputError, match=r"before .* had any"):
        training_labels(
            project, "total_return_2d", *span, known_at=WRITTEN - timedelta(microseconds=1)
        )


def test_a_dividend_in_another_currency_drops_the_labels_over_it(tmp_path: Path):
    project = settings_in(tmp_path)
    write(project, three_days(("NYSE:A",)))
    paid = datetime(2021, 1, 7, 21, tzinfo=UTC)
    row = dividend("NYSE:A", paid, 1.0, WRITTEN, "EUR")
    append_rows(project.lakehouse, DIVIDENDS, [row], "one")
    symbol = {"symbol": "NYSE:A", "currency": "USD", "active": True, "valid_from": WRITTEN}
    append_rows(project.lakehouse, SYMBOLS, [symbol], "symbols")
    span = date(2021, 1, 4), date(2021, 1, 7)
    made = training_labels(project, "total_return_2d", *span)
    assert made.labels.table["total_return_2d"].to_pylist() == [0.0]
    assert made.labels.dropped[DropReason.DIVIDEND_CURRENCY] == 1
    assert any("in another currency than the price" in each for each in made.warnings)


def test_what_labels_are_made_of_is_what_is_read():
    first, last = date(2021, 1, 4), date(2021, 1, 8)
    ((dataset, begin, end),) = label_spans("fwd_return_5d", first, last)
    assert (dataset.name, begin, end) == ("ohlcv_1d", first, last + timedelta(days=60))
    found = label_spans("scaled_total_return_5d,volatility=10 barrier_2d,loss=1%", first, last)
    assert [each[0].name for each in found] == ["ohlcv_1d", "dividends", "symbols"]
    assert found[0][1:] == (first - timedelta(days=120), last + timedelta(days=60))
    assert label_spans("fwd_return_9999d", date.min, date.max)[0][1:] == (date.min, date.max)


def test_highs_and_lows_are_read_where_a_label_needs_them(stocked: Project):
    made = training_labels(stocked, "barrier_5d,profit=5%,loss=5%", FIRST, LAST)
    assert np.isin(made.labels.table["barrier_5d"].to_numpy(), [-1, 0, 1]).all()
    assert not {"high", "low"} & set(LABEL_COLUMNS)
