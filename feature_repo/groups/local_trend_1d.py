"""Averages, bands and performance recomputed from the lakehouse's own daily bars.

These are the columns of ``tv_trend_1d`` that have a published formula: all but ``volume``, which is
a column of the bars themselves.
"""

from ingestion.catalog import FeatureGroup, FromBars, PerColumn, Quality

STILL = (("price_52_week_high", None), ("price_52_week_low", None))
"""A symbol's highest and lowest price of a year stay for months."""

GROUP = FeatureGroup(
    name="local_trend_1d",
    meaning="averages, bands and performance of closed daily bars, by TradingView's formulas",
    source=FromBars(twin="tv_trend_1d"),
    # The longest pause of a large exchange, Lunar New Year, is 11 days.
    ttl="12d",
    features=[
        "SMA20",
        "SMA50",
        "SMA100",
        "SMA200",
        "EMA20",
        "EMA50",
        "EMA200",
        "ATR",
        "BB.upper",
        "BB.lower",
        "VWAP",
        "W.R",
        "Mom",
        "UO",
        "P.SAR",
        "relative_volume_10d_calc",
        "average_volume_10d_calc",
        "change",
        "price_52_week_high",
        "price_52_week_low",
        "Perf.3M",
        "Perf.6M",
        "Perf.YTD",
        "Perf.Y",
        "Volatility.W",
        "Volatility.M",
    ],
    quality=Quality(max_still_share=PerColumn(0.9, STILL)),
    by_choice=True,
)
