"""Features recomputed from the lakehouse's own daily bars."""

from ingestion.catalog import FeatureGroup, FromBars, Identity, Quality

GROUP = FeatureGroup(
    name="local_1d",
    meaning="features of closed daily bars, recomputed by TradingView's published formulas",
    source=FromBars(twin="tv_technicals_1d"),
    # The longest pause of a large exchange, Lunar New Year, is 11 days.
    ttl="12d",
    features=[
        "returns_1d",
        "volatility_20d",
        "momentum_60d",
        "Recommend.All",
        "Recommend.MA",
        "Recommend.Other",
        "RSI",
        "ADX",
        "AO",
        "CCI20",
        "Stoch.K",
        "Stoch.D",
        "MACD.macd",
        "MACD.signal",
        "Volatility.D",
        "Perf.W",
        "Perf.1M",
    ],
    quality=Quality(
        identities=(Identity("Recommend.All", (("Recommend.MA", 0.5), ("Recommend.Other", 0.5))),),
        # No limit on nulls: where bars are gathered day by day, they end only with the window.
    ),
)
