"""Closed daily bars, as traded: what formulas are computed from."""

from __future__ import annotations

from dataclasses import replace

from ingestion.catalog.feeds import UPDATE_MODE
from ingestion.catalog.model import (
    BAR_TIMESTAMP,
    CREATED_TIMESTAMP,
    EVENT_TIMESTAMP,
    SYMBOL,
    TIMESTAMP,
    Column,
    Dataset,
    Dtype,
)


def _price(name: str) -> Column:
    return Column(
        name, Dtype.DOUBLE, f"{name}, as traded", "price", low=0, nullable=False, scanner=name
    )


OHLCV_1D = Dataset(
    name="ohlcv_1d",
    meaning="closed daily bars, adjusted for neither splits nor dividends",
    storage="ohlcv_1d",
    columns=(
        replace(TIMESTAMP, meaning="open of the bar"),
        SYMBOL,
        *(_price(name) for name in ("open", "high", "low", "close")),
        Column("volume", Dtype.DOUBLE, "units traded", low=0, nullable=False, scanner="volume"),
        Column(
            "split_ratio",
            Dtype.DOUBLE,
            "new shares for an old one on an ex-date, 1 on other days",
            low=0,
            nullable=False,
        ),
        replace(EVENT_TIMESTAMP, meaning="close of the bar: when it became knowable"),
        CREATED_TIMESTAMP,
        Column(
            "source",
            Dtype.STRING,
            "where the bar comes from; `withdrawn;` and a reason: there is no such bar",
            nullable=False,
        ),
    ),
)

WITHDRAWN = "withdrawn;"
"""Begins the source of a version of a row that takes the bar back; the reason follows."""

SCANNED_BAR = (
    *OHLCV_1D.scanned,
    replace(BAR_TIMESTAMP, scanner="time"),
    Column(
        "bar_update_timestamp",
        Dtype.TIMESTAMP,
        "last tick in that bar",
        scanner="last_bar_update_time",
    ),
    UPDATE_MODE,
    Column("change", Dtype.DOUBLE, "change against the previous close", "%", scanner="change"),
)
"""What is asked of the scanner to know a bar: its values, and what tells whether they are final."""

HELD_BARS = Dataset(
    name="held_bars",
    meaning="closed bars that wait for a split to be recorded; one that is in ohlcv_1d waits no "
    "longer",
    storage="held_bars",
    columns=(
        *OHLCV_1D.columns,
        Column(
            "previous_close",
            Dtype.DOUBLE,
            "close of the bar before, in this bar's money, as the scanner has it",
            "price",
            low=0,
        ),
    ),
)

SPLITS = Dataset(
    name="splits",
    meaning="splits that were recorded before their bar came, and ratios of 1: no split that day",
    storage="splits",
    columns=(
        TIMESTAMP,
        SYMBOL,
        Column(
            "split_ratio",
            Dtype.DOUBLE,
            "new shares for an old one from this session on",
            low=0,
            nullable=False,
        ),
        replace(EVENT_TIMESTAMP, meaning="close of the ex-date's session"),
        CREATED_TIMESTAMP,
        Column("source", Dtype.STRING, "where the split comes from", nullable=False),
    ),
)
