"""Features recomputed from the lakehouse's own daily bars."""

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
from ingestion.catalog.quality import Quality
from ingestion.catalog.tv_technicals_1d import RATING, STAMP, TECHNICALS

BAR_FEATURES = (
    Column("returns_1d", Dtype.DOUBLE, "close ÷ previous close − 1", low=-1),
    Column(
        "volatility_20d",
        Dtype.DOUBLE,
        "sample standard deviation of the last 20 `returns_1d`",
        low=0,
    ),
    Column("momentum_60d", Dtype.DOUBLE, "close ÷ close 60 bars ago − 1", low=-1),
)
"""The columns that TradingView does not have."""

_FEATURES = (*BAR_FEATURES, *(replace(column, scanner=None) for column in TECHNICALS))

LOCAL_1D = FeatureGroup(
    name="local_1d",
    meaning="features of closed daily bars, recomputed by TradingView's published formulas",
    storage="features/local_1d",
    schema_version=1,
    columns=(
        TIMESTAMP,
        SYMBOL,
        *_FEATURES,
        replace(EVENT_TIMESTAMP, meaning="close of the bar: when its values became knowable"),
        CREATED_TIMESTAMP,
        replace(BAR_TIMESTAMP, nullable=False),
    ),
    # The longest pause of a large exchange, Lunar New Year, is 11 days.
    ttl=timedelta(days=12),
    features=_FEATURES,
    quality=Quality(
        identities=(RATING, STAMP),
        order=(("bar_timestamp", "event_timestamp"),),
        # No limit on nulls: where bars are gathered day by day, they end only with the window.
        max_age=timedelta(days=12),
    ),
)
