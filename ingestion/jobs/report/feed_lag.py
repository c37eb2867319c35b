"""How far the feed was behind, measured from the last tick that the scanner shows of a bar."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ingestion.jobs.report.stored_rows import Ints, StoredRows
from ingestion.markets.hours import bar_closes
from ingestion.report.contents import Axis, Kind, Note, Plot, Row, Section, Table
from ingestion.report.formats import count, counted, figure

_HOUR = 3600
_STEPS = (1.0, 5.0, 20.0, 60.0)
_PALETTE = ("m0", "m1", "m2", "m3", "m4")
_LEGEND = ("under 1 min", "under 5 min", "under 20 min", "under 1 h", "1 h or more")


def feed_lag_section(found: Mapping[str, StoredRows]) -> Section:
    """Return the lag by exchange and hour of the day: of snapshots of the last year.

    While a session runs, it is measured to the snapshot; after its close, to the close.
    """
    lags: dict[tuple[str, int], list[float]] = {}
    for stored in found.values():
        for exchange, (events, opens, updates) in stored.updates.items():
            minutes = _minutes(exchange, events, opens, updates)
            for hour in np.unique(events // _HOUR % 24).tolist():
                own = minutes[events // _HOUR % 24 == hour]
                lags.setdefault((exchange, int(hour)), []).extend(own.tolist())
    if not lags:
        note = Note("No snapshot of daily bars shows when its bar last ticked.")
        return Section("lag", "Lag of the feed", "There is nothing to measure it from.", [note])
    medians = {key: float(np.median(values)) for key, values in lags.items()}
    exchanges = sorted({exchange for exchange, _ in lags})
    worst = max(medians, key=lambda key: medians[key])
    lead = (
        f"No lag: in each of {counted(len(exchanges), 'market')}, the bars of half of the rows and "
        "more had ticked to the end."
        if not medians[worst]
        else f"Half of the rows of {worst[0]} between {worst[1]:02}:00 and {worst[1]:02}:59 UTC "
        f"were {figure(medians[worst])} min behind or more; that is the longest of "
        f"{counted(len(exchanges), 'market')}."
    )
    cells = sorted(lags)
    plot = Plot(
        key="lag-by-hour",
        title="Median lag by market and hour of the snapshot",
        kind=Kind.MATRIX,
        x=Axis("hour of the snapshot", "UTC, 0 to 23"),
        y=Axis("market", "TradingView code"),
        columns={
            "x": [hour for _, hour in cells],
            "y": [exchange for exchange, _ in cells],
            "value": [medians[key] for key in cells],
            "note": [
                f"median {figure(medians[key])} min of {len(lags[key]):,} rows" for key in cells
            ],
        },
        colour=Axis("median lag", "min"),
        steps=_STEPS,
        palette=_PALETTE,
        names=_LEGEND,
        note="From the last tick of a row's bar to the snapshot, or to the close if that was "
        "earlier. A market without trades shows a lag, too.",
    )
    rows: list[Row] = [
        [
            exchange,
            f"{hour:02}",
            count(len(lags[exchange, hour])),
            *(figure(float(np.quantile(lags[exchange, hour], q))) for q in (0.5, 0.95)),
            figure(max(lags[exchange, hour])),
        ]
        for exchange, hour in sorted(cells, key=lambda key: -medians[key])[:15]
    ]
    head = ("market", "hour (UTC)", "rows", "median (min)", "95 % within (min)", "longest (min)")
    table = Table("The longest lags", head, rows, frozenset({1, 2, 3, 4, 5}))
    return Section("lag", "Lag of the feed", lead, [plot, table], "tvfeast explain SYMBOL FEATURE")


def _minutes(exchange: str, events: Ints, opens: Ints, updates: Ints) -> np.ndarray:
    different, place = np.unique(opens, return_inverse=True)
    closes = bar_closes(f"{exchange}:X", different)[place]
    return np.maximum(np.minimum(events, closes) - updates, 0) / 60
