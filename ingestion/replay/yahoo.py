"""Yahoo's chart endpoint over recorded bars: it adjusts for splits as Yahoo does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from ingestion.base import clock
from ingestion.replay.vendor import Reply, Vendor

NEW_YORK = "America/New_York"


@dataclass(frozen=True)
class Series:
    """What a vendor has of one symbol, as traded.

    Attributes
    ----------
    bars
        One per session in their order: date, open, high, low, close and volume.
    splits
        Ex-date, new shares and old shares.
    """

    bars: Sequence[tuple[Any, ...]]
    splits: Sequence[tuple[date, float, float]] = ()
    dividends: Sequence[tuple[date, float]] = ()
    """Ex-date, and amount per share as it traded then."""
    zone: str = NEW_YORK
    opens: time = time(9, 30)
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What the answer's ``meta`` says otherwise, such as another ``symbol``."""


class ReplayYahoo(Vendor):
    """Yahoo on loopback: set ``TVFEAST_YAHOO_URL`` to its ``url``.

    Parameters
    ----------
    series
        By Yahoo's ticker.
    now
        Its clock: later sessions are not there.
    running
        Whether a session that runs comes twice, as a bar and as its last trade.
    unadjusted
        Tickers whose splits are listed and not applied to the prices, as Yahoo does at times.
    """

    def __init__(
        self,
        series: Mapping[str, Series],
        now: Callable[[], datetime] = clock.now,
        *,
        running: bool = False,
        unadjusted: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.series, self.now = dict(series), now
        self.running, self.unadjusted = running, frozenset(unadjusted)

    def reply(self, path: str, parameters: Mapping[str, str]) -> Reply:
        """Answer as Yahoo does."""
        name = path.removeprefix("/v8/finance/chart/")
        series = self.series.get(name)
        if series is None:
            return _error("Not Found", "No data found, symbol may be delisted", 404)
        first, last = int(parameters["period1"]), int(parameters["period2"])
        if first > last:
            return _error("Bad Request", "Invalid input - start date after end date", 400)
        zone, now = ZoneInfo(series.zone), int(self.now().timestamp())
        last = min(last, now)
        factors = () if name in self.unadjusted else series.splits
        rows = []
        for day, *values in series.bars:
            opened = int(datetime.combine(day, series.opens, zone).timestamp())
            if first <= opened <= last:
                rows.append((opened, *_adjusted(day, values, factors)))
        if self.running and rows:
            rows.append((now, *rows[-1][1:]))
        stamps, *columns = zip(*rows, strict=True) if rows else [()] * 6
        names = ("open", "high", "low", "close", "volume")
        quote = {each: list(column) for each, column in zip(names, columns, strict=True)}
        meta = {
            "symbol": name,
            "currency": "USD",
            "exchangeTimezoneName": series.zone,
            "dataGranularity": parameters["interval"],
            **series.extra,
        }
        splits, dividends = {}, {}
        for day, new, old in series.splits:
            at = int(datetime.combine(day, series.opens, zone).timestamp())
            if first <= at <= last:
                event = {"date": at, "numerator": new, "denominator": old}
                splits[str(at)] = event | {"splitRatio": f"{new:g}:{old:g}"}
        for day, amount in series.dividends:
            at = int(datetime.combine(day, series.opens, zone).timestamp())
            if first <= at <= last:
                adjusted = round(amount / _factor(day, factors), 6)
                dividends[str(at)] = {"amount": adjusted, "date": at}
        result: dict[str, Any] = {"meta": meta, "indicators": {"quote": [quote if rows else {}]}}
        if rows:
            result["timestamp"] = list(stamps)
        events = {"dividends": dividends, "splits": splits}
        if any(events.values()):
            result["events"] = {name: each for name, each in events.items() if each}
        return Reply({"chart": {"result": [result], "error": None}})


def _adjusted(
    day: date, values: Sequence[Any], splits: Sequence[tuple[date, float, float]]
) -> list[Any]:
    factor = _factor(day, splits)
    *prices, volume = values
    adjusted = [None if price is None else price / factor for price in prices]
    return [*adjusted, None if volume is None else round(volume * factor)]


def _factor(day: date, splits: Sequence[tuple[date, float, float]]) -> float:
    """Return the product of the ratios of the splits after a date."""
    factor = 1.0
    for ex_date, new, old in splits:
        if day < ex_date:
            factor *= new / old
    return factor


def _error(code: str, description: str, status: int) -> Reply:
    error = {"code": code, "description": description}
    return Reply({"chart": {"result": None, "error": error}}, status)
