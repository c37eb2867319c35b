"""What is asked for together."""

from ingestion.catalog import Service

SERVICES = [
    Service(
        "selection_v1",
        [
            "tv_technicals_1d",
            "local_1d:returns_1d",
            "local_1d:volatility_20d",
            "local_1d:momentum_60d",
        ],
        meaning="today's features of the candidates, by the names that models are trained on",
        default_for=["selection"],
        rank_by="Recommend.All",
        shown=["RSI", "ADX", "Perf.W"],
    ),
    Service(
        "training_v1",
        ["local_1d"],
        meaning="features of all history, recomputed from bars",
        default_for=["target"],
        rank_by="Recommend.All",
        shown=["RSI", "ADX", "Perf.W"],
    ),
    Service(
        "served_history_v1",
        ["tv_technicals_1d"],
        meaning="the features as they were served, for training on snapshots",
        default_for=["labels"],
    ),
    Service(
        "parity_v1",
        ["tv_technicals_1d", "local_1d"],
        meaning="served beside recomputed; read with full_feature_names=True",
    ),
    # Those below are there where all their groups run.
    Service(
        "technicals_v1",
        [
            "tv_technicals_1h",
            "tv_technicals_4h",
            "tv_technicals_1d",
            "tv_technicals_1w",
            "tv_technicals_1mo",
        ],
        meaning="technicals of every frame; read with full_feature_names=True",
    ),
    Service(
        "agreement_v1",
        [
            "tv_technicals_1h:Recommend.All",
            "tv_technicals_4h:Recommend.All",
            "tv_technicals_1d:Recommend.All",
            "tv_technicals_1w:Recommend.All",
        ],
        meaning="whether the frames' ratings agree; read with full_feature_names=True",
    ),
    Service(
        "trend_v1",
        ["tv_trend_1d"],
        meaning="averages, bands, volume and performance, as they were served",
        rank_by="Perf.3M",
        shown=["Perf.Y", "ATR", "relative_volume_10d_calc"],
    ),
    Service(
        "trend_history_v1",
        ["local_trend_1d"],
        meaning="the same of all history, recomputed from bars",
        rank_by="Perf.3M",
        shown=["Perf.Y", "ATR", "relative_volume_10d_calc"],
    ),
    Service(
        "analyst_v1",
        ["tv_analyst_1d"],
        meaning="what analysts say, from when it was seen",
        rank_by="target_upside",
        shown=["recommendation_mark", "recommendation_total", "eps_surprise_percent_fq"],
    ),
    Service(
        "fundamentals_v1",
        ["tv_fundamentals_1d"],
        meaning="fundamentals of the latest period, from when they were seen",
        rank_by="market_cap_basic",
        shown=["price_earnings_ttm", "return_on_equity", "debt_to_equity"],
    ),
    Service(
        "coin_sentiment_v1",
        ["coin_sentiment_1d"],
        meaning="attention, use and positioning of the candidates' coins",
        rank_by="galaxyscore",
        shown=["sentiment", "socialdominance", "funding_rate"],
    ),
]
