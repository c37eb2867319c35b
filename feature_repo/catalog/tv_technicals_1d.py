"""TradingView's daily technical columns, as the scanner gave them."""

from __future__ import annotations

from datetime import timedelta

from feature_repo.catalog.model import Column, Dtype, FeatureGroup


def _feature(
    name: str, meaning: str, unit: str = "", low: float | None = None, high: float | None = None
) -> Column:
    """Declare a number that the scanner serves under the feature's own name."""
    return Column(name, Dtype.DOUBLE, meaning, unit, low, high, scanner=name)


TV_TECHNICALS_1D = FeatureGroup(
    name="tv_technicals_1d",
    meaning="TradingView's daily technicals and ratings, one snapshot a run, as it was known",
    storage="features/tv_technicals_1d",
    # Friday's close to Tuesday's open after a Monday holiday is 3 d 17.5 h.
    ttl=timedelta(days=4),
    schema_version=1,
    features=(
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
    ),
    served_times=(
        Column(
            "bar_timestamp",
            Dtype.TIMESTAMP,
            "open of the daily bar that the values describe",
            scanner="time",
        ),
        Column(
            "bar_update_timestamp",
            Dtype.TIMESTAMP,
            "last tick in that bar",
            scanner="last_bar_update_time",
        ),
    ),
)
