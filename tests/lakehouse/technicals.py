"""Rows of ``tv_technicals_1d`` to write."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from ingestion.lakehouse import arrow_schema
from tests.declared import TV_TECHNICALS_1D

EVENING = datetime(2026, 1, 16, 21, 30, tzinfo=UTC)


def technicals(
    symbols: Sequence[str],
    known_at: datetime = EVENING,
    created: datetime | None = None,
    **features: Sequence[float | None],
) -> pa.Table:
    """One row a symbol; features not given are their position."""
    size = len(symbols)
    columns = {
        "timestamp": [int(known_at.timestamp())] * size,
        "symbol": list(symbols),
        "event_timestamp": [known_at] * size,
        "created_timestamp": [created or known_at] * size,
        "bar_timestamp": [known_at - timedelta(hours=7)] * size,
        "bar_update_timestamp": [None] * size,
    }
    for column in TV_TECHNICALS_1D.features:
        columns[column.name] = features.get(column.name, [float(i) for i in range(size)])
    schema = arrow_schema(TV_TECHNICALS_1D)
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
