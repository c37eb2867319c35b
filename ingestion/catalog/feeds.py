"""How far the scanner's feed of each symbol lags its exchange, and since when."""

from __future__ import annotations

from ingestion.catalog.model import SYMBOL, Column, Dataset, Dtype

UPDATE_MODE = Column(
    "update_mode", Dtype.STRING, "whether the feed is delayed", scanner="update_mode"
)

FEEDS = Dataset(
    name="feeds",
    meaning="delays of the scanner's feeds, one row per observed change; a symbol without one has "
    "what is usual for its exchange",
    storage="feeds",
    columns=(
        SYMBOL,
        UPDATE_MODE,
        Column("observed_at", Dtype.TIMESTAMP, "the snapshot's instant", nullable=False),
    ),
    key=("symbol", "observed_at"),
    event="observed_at",
)
