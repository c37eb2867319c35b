"""TradingView's technicals on other frames than the daily one: four groups of the same columns.

``Perf.*`` and ``Volatility.D`` are daily only. ``RSI[1]`` and its like are of the bar before the
one that ``bar_timestamp`` names: a closed bar, where the row's own bar may still run. Of ratings,
``ADX`` and ``MACD`` the scanner has none.

Bounds are the definitions' own, and recorded values keep them: RSI of AAPL on nine frames
(2026-04-06) lies between 47.9 and 62.0; its monthly answer of 2022-01-10, and 680 ratings, lie
inside them. No recorded answer has many symbols on one frame, so the share of nulls is derived:
``MACD.signal`` and ``AO`` need 34 bars, which a listing has after 34 bars of the frame.
"""

from ingestion.catalog import Column, FeatureGroup, Identity, PerColumn, Quality, Scanner

RATING = Identity("Recommend.All", (("Recommend.MA", 0.5), ("Recommend.Other", 0.5)))

COLUMNS = [
    Column("Recommend.All", meaning="technical rating, mean of the next two", low=-1, high=1),
    Column("Recommend.MA", meaning="moving-average rating, mean of up to 15 votes", low=-1, high=1),
    Column("Recommend.Other", meaning="oscillator rating, mean of up to 11 votes", low=-1, high=1),
    Column("RSI", meaning="relative strength index, 14 bars", low=0, high=100),
    Column("ADX", meaning="average directional index, 14 bars", low=0, high=100),
    Column("AO", meaning="awesome oscillator, 5 and 34 bars", unit="price"),
    Column("CCI20", meaning="commodity channel index of hlc3, 20 bars"),
    Column("Stoch.K", meaning="stochastic %K 14, 3", unit="%", low=0, high=100),
    Column("Stoch.D", meaning="stochastic %D 14, 3, 3", unit="%", low=0, high=100),
    Column("MACD.macd", meaning="EMA 12 − EMA 26 of close", unit="price"),
    Column("MACD.signal", meaning="EMA 9 of MACD.macd", unit="price"),
    Column("RSI[1]", meaning="RSI of the bar before, which is closed", low=0, high=100),
    Column("AO[1]", meaning="AO of the bar before, which is closed", unit="price"),
    Column("CCI20[1]", meaning="CCI20 of the bar before, which is closed"),
    Column(
        "Stoch.K[1]", meaning="%K of the bar before, which is closed", unit="%", low=0, high=100
    ),
    Column(
        "Stoch.D[1]", meaning="%D of the bar before, which is closed", unit="%", low=0, high=100
    ),
]

NULLS = {"1h": 0.25, "4h": 0.25, "1w": 0.4, "1mo": 0.6}
"""Of the rows, by frame: 34 weeks of listing are eight months, 34 months nearly three years."""

GROUPS = [
    FeatureGroup(
        name=f"tv_technicals_{frame}",
        meaning=f"TradingView's technicals and ratings on bars of {frame}, as they were known",
        source=Scanner(frame=frame),
        # Asked daily or oftener: a row is current as long as a daily one.
        ttl="4d",
        features=COLUMNS,
        quality=Quality(
            identities=(RATING,),
            max_null_share=PerColumn(nulls),
        ),
        by_choice=True,
    )
    for frame, nulls in NULLS.items()
]
