"""The Feast entity."""

from __future__ import annotations

from feast import Entity, ValueType

symbol = Entity(
    name="symbol",
    join_keys=["symbol"],
    value_type=ValueType.STRING,
    description="An instrument as TradingView names it: EXCHANGE:TICKER",
)
