"""TradingView's daily technical columns, as the scanner gave them."""

from ingestion.catalog import (
    Column,
    FeatureGroup,
    Identity,
    ParityLimits,
    PerColumn,
    Quality,
    Scanner,
)
from ingestion.catalog.formula import beyond_limits
from ingestion.formulas import SHIPPED

RATING = Identity("Recommend.All", (("Recommend.MA", 0.5), ("Recommend.Other", 0.5)))

GROUP = FeatureGroup(
    name="tv_technicals_1d",
    meaning="TradingView's daily technicals and ratings, one snapshot a run, as it was known",
    source=Scanner(),
    # Friday's close to Tuesday's open after a Monday holiday is 3 d 17.5 h.
    ttl="4d",
    features=[
        Column("Recommend.All", meaning="technical rating, mean of the next two", low=-1, high=1),
        Column(
            "Recommend.MA", meaning="moving-average rating, mean of up to 15 votes", low=-1, high=1
        ),
        Column(
            "Recommend.Other", meaning="oscillator rating, mean of up to 11 votes", low=-1, high=1
        ),
        Column("RSI", meaning="relative strength index, 14 bars", low=0, high=100),
        Column("ADX", meaning="average directional index, 14 bars", low=0, high=100),
        Column("AO", meaning="awesome oscillator, 5 and 34 bars", unit="price"),
        Column("CCI20", meaning="commodity channel index of hlc3, 20 bars"),
        Column("Stoch.K", meaning="stochastic %K 14, 3", unit="%", low=0, high=100),
        Column("Stoch.D", meaning="stochastic %D 14, 3, 3", unit="%", low=0, high=100),
        Column("MACD.macd", meaning="EMA 12 − EMA 26 of close", unit="price"),
        Column("MACD.signal", meaning="EMA 9 of MACD.macd", unit="price"),
        Column("Volatility.D", meaning="today's true range ÷ low", unit="%", low=0),
        Column("Perf.W", meaning="change since the open of the bar 7 days ago", unit="%", low=-100),
        Column(
            "Perf.1M", meaning="change since the open of the bar 30 days ago", unit="%", low=-100
        ),
    ],
    quality=Quality(
        identities=(RATING,),
        # Young listings lack the long averages, bonds all technicals.
        max_null_share=PerColumn(0.25),
        # Halted and illiquid symbols do not trade every day; a feed that stands still moves none.
        max_unmoved_share=0.5,
        parity=ParityLimits(beyond_limits(SHIPPED.values(), 0.05)),
    ),
)
