"""TradingView's daily technical columns, as the scanner gave them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ingestion.catalog.model import (
    BAR_TIMESTAMP,
    CREATED_TIMESTAMP,
    EVENT_TIMESTAMP,
    SYMBOL,
    TIMESTAMP,
    Column,
    Dtype,
    FeatureGroup,
)
from ingestion.catalog.quality import Identity, ParityLimits, PerColumn, Quality


def _feature(
    name: str, meaning: str, unit: str = "", low: float | None = None, high: float | None = None
) -> Column:
    """Declare a number that the scanner serves under the feature's own name."""
    return Column(name, Dtype.DOUBLE, meaning, unit, low, high, scanner=name)


TECHNICALS = (
    _feature("Recommend.All", "technical rating, mean of the next two", low=-1, high=1),
    _feature("Recommend.MA", "moving-average rating, mean of up to 15 votes", low=-1, high=1),
    _feature("Recommend.Other", "oscillator rating, mean of up to 11 votes", low=-1, high=1),
    _feature("RSI", "relative strength index, 14 bars", low=0, high=100),
    _feature("ADX", "average directional index, 14 bars", low=0, high=100),
    _feature("AO", "awesome oscillator, 5 and 34 bars", "price"),
    _feature("CCI20", "commodity channel index of hlc3, 20 bars"),
    _feature("Stoch.K", "stochastic %K 14, 3", "%", low=0, high=100),
    _feature("Stoch.D", "stochastic %D 14, 3, 3", "%", low=0, high=100),
    _feature("MACD.macd", "EMA 12 − EMA 26 of close", "price"),
    _feature("MACD.signal", "EMA 9 of MACD.macd", "price"),
    _feature("Volatility.D", "today's true range ÷ low", "%", low=0),
    _feature("Perf.W", "change since the open of the bar 7 days ago", "%", low=-100),
    _feature("Perf.1M", "change since the open of the bar 30 days ago", "%", low=-100),
)
"""The fourteen technical columns, under TradingView's own names."""

RATING = Identity("Recommend.All", (("Recommend.MA", 0.5), ("Recommend.Other", 0.5)))
STAMP = Identity("timestamp", (("event_timestamp", 1.0),))

_BAR_TIMES = (
    replace(BAR_TIMESTAMP, scanner="time"),
    Column(
        "bar_update_timestamp",
        Dtype.TIMESTAMP,
        "last tick in that bar",
        scanner="last_bar_update_time",
    ),
)

TV_TECHNICALS_1D = FeatureGroup(
    name="tv_technicals_1d",
    meaning="TradingView's daily technicals and ratings, one snapshot a run, as it was known",
    storage="features/tv_technicals_1d",
    schema_version=1,
    columns=(TIMESTAMP, SYMBOL, *TECHNICALS, EVENT_TIMESTAMP, CREATED_TIMESTAMP, *_BAR_TIMES),
    # Friday's close to Tuesday's open after a Monday holiday is 3 d 17.5 h.
    ttl=timedelta(days=4),
    features=TECHNICALS,
    served_times=_BAR_TIMES,
    quality=Quality(
        identities=(RATING, STAMP),
        # Young listings lack the long averages, bonds all technicals.
        max_null_share=PerColumn(0.25),
        # Halted and illiquid symbols do not trade every day; a feed that stands still moves none.
        max_unmoved_share=0.5,
        max_age=timedelta(days=4),
        # They move with TradingView's clock, and so does the bar that they are measured from.
        parity=ParityLimits(PerColumn(0.05, (("Perf.W", 0.2), ("Perf.1M", 0.2)))),
    ),
)
