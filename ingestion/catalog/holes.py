"""Sessions that a market had and the lakehouse has not."""

from __future__ import annotations

from dataclasses import replace

from ingestion.catalog.model import (
    CREATED_TIMESTAMP,
    EVENT_TIMESTAMP,
    SYMBOL,
    TIMESTAMP,
    Column,
    Dataset,
    Dtype,
)

ACCEPTED_HOLES = Dataset(
    name="accepted_holes",
    meaning="sessions without bars that somebody has accepted: values over them are computed",
    storage="accepted_holes",
    columns=(
        TIMESTAMP,
        Column("market", Dtype.STRING, "exchange code, as in its symbols", nullable=False),
        Column("session", Dtype.STRING, "local date of the session, ISO 8601", nullable=False),
        Column("reason", Dtype.STRING, "why there are no bars, and who says so", nullable=False),
        replace(EVENT_TIMESTAMP, meaning="close of the session"),
        replace(CREATED_TIMESTAMP, meaning="when it was accepted"),
    ),
    key=("market", "timestamp"),
)

MISSED_BARS = Dataset(
    name="missed_bars",
    meaning="bars that the scanner's previous close proves and the lakehouse has not",
    storage="missed_bars",
    columns=(
        TIMESTAMP,
        SYMBOL,
        Column(
            "previous_close",
            Dtype.DOUBLE,
            "close of the missed bar, as the scanner has it",
            "price",
            low=0,
            nullable=False,
        ),
        replace(EVENT_TIMESTAMP, meaning="close of the session before the scanner's bar"),
        CREATED_TIMESTAMP,
    ),
)
