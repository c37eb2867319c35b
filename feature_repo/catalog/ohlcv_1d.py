"""Closed daily bars, as traded: what ``local_1d`` is computed from."""

from __future__ import annotations

from dataclasses import replace

from feature_repo.catalog.model import (
    CREATED_TIMESTAMP,
    EVENT_TIMESTAMP,
    SYMBOL,
    TIMESTAMP,
    Column,
    Dataset,
    Dtype,
)


def _price(name: str) -> Column:
    return Column(name, Dtype.DOUBLE, f"{name}, as traded", "price", low=0, nullable=False)


OHLCV_1D = Dataset(
    name="ohlcv_1d",
    meaning="closed daily bars, adjusted for neither splits nor dividends",
    storage="ohlcv_1d",
    schema_version=1,
    columns=(
        replace(TIMESTAMP, meaning="open of the bar"),
        SYMBOL,
        *(_price(name) for name in ("open", "high", "low", "close")),
        Column("volume", Dtype.DOUBLE, "units traded", low=0, nullable=False),
        Column(
            "split_ratio",
            Dtype.DOUBLE,
            "new shares for an old one on an ex-date, 1 on other days",
            low=0,
            nullable=False,
        ),
        replace(EVENT_TIMESTAMP, meaning="close of the bar: when it became knowable"),
        CREATED_TIMESTAMP,
        Column("source", Dtype.STRING, "where the bar comes from", nullable=False),
    ),
)
