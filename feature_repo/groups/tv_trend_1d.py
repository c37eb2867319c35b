"""TradingView's daily averages, bands, volume and performance: the most asked for after ratings.

Percentages have no upper bound: ``change`` of recorded crypto pairs reaches 5.87e26 (2026-04-06).
Prices have no lower one: futures have been negative. The share of nulls is that of
``tv_technicals_1d``: ``SMA200`` and ``EMA200`` need ten months of bars; of 100 recorded US rows
``Recommend.All``, which needs a few bars, lacks 2. ``VWAP`` is null where nothing was traded.
"""

from ingestion.catalog import Column, FeatureGroup, ParityLimits, PerColumn, Quality, Scanner
from ingestion.catalog.formula import beyond_limits
from ingestion.formulas import SHIPPED


def averages(kind: str, meaning: str, lengths: tuple[int, ...]) -> list[Column]:
    """Return the averages of the close."""
    return [Column(f"{kind}{n}", meaning=f"{meaning} of {n} closes", unit="price") for n in lengths]


def performances(**windows: str) -> list[Column]:
    """Return changes of the close."""
    return [
        Column(f"Perf.{name}", meaning=f"change since the open of {since}", unit="%", low=-100)
        for name, since in windows.items()
    ]


STILL = (("price_52_week_high", None), ("price_52_week_low", None))
"""A symbol's highest and lowest price of a year stay for months."""

GROUP = FeatureGroup(
    name="tv_trend_1d",
    meaning="TradingView's daily averages, bands, volume and performance, as they were known",
    source=Scanner(),
    ttl="4d",
    features=[
        *averages("SMA", "simple moving average", (20, 50, 100, 200)),
        *averages("EMA", "exponential moving average", (20, 50, 200)),
        Column("ATR", meaning="average true range, 14 bars", unit="price", low=0),
        Column("BB.upper", meaning="upper Bollinger band, 20 bars, 2 deviations", unit="price"),
        Column("BB.lower", meaning="lower Bollinger band, 20 bars, 2 deviations", unit="price"),
        Column("VWAP", meaning="volume-weighted average price of the bar", unit="price"),
        Column("W.R", meaning="Williams %R, 14 bars", unit="%", low=-100, high=0),
        Column("Mom", meaning="close − close 10 bars ago", unit="price"),
        Column("UO", meaning="ultimate oscillator, 7, 14 and 28 bars", low=0, high=100),
        Column("P.SAR", meaning="parabolic stop and reverse, 0.02, 0.02, 0.2", unit="price"),
        Column("relative_volume_10d_calc", meaning="volume ÷ mean volume of 10 bars before", low=0),
        Column("average_volume_10d_calc", meaning="mean volume of 10 bars", unit="units", low=0),
        Column("volume", meaning="volume of the bar until now", unit="units", low=0),
        Column("change", meaning="change since the previous close", unit="%", low=-100),
        Column("price_52_week_high", meaning="highest price of 52 weeks", unit="price"),
        Column("price_52_week_low", meaning="lowest price of 52 weeks", unit="price"),
        *performances(
            **{
                "3M": "the bar 90 days ago",
                "6M": "the bar 180 days ago",
                "YTD": "the year's first bar",
                "Y": "the bar 365 days ago",
            }
        ),
        Column("Volatility.W", meaning="mean range ÷ low of the bars of 7 days", unit="%", low=0),
        Column("Volatility.M", meaning="mean range ÷ low of the bars of 30 days", unit="%", low=0),
    ],
    quality=Quality(
        max_null_share=PerColumn(0.25),
        max_unmoved_share=0.5,
        max_still_share=PerColumn(0.9, STILL),
        parity=ParityLimits(beyond_limits(SHIPPED.values(), 0.05)),
    ),
    by_choice=True,
)
