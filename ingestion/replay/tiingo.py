"""Tiingo's end-of-day prices over recorded bars.

In the form of https://www.tiingo.com/documentation/end-of-day, which has an example of an answer.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from ingestion.base import clock
from ingestion.replay.vendor import Reply, Vendor
from ingestion.replay.yahoo import Series


class ReplayTiingo(Vendor):
    """Tiingo on loopback: set ``TVFEAST_TIINGO_URL`` to its ``url``.

    Parameters
    ----------
    series
        By Tiingo's ticker.
    key
        The key that it takes; it keeps its hash alone.
    now
        Its clock: sessions that have not closed by then are not there.
    allocation
        Requests until its limit is spent; no limit if None.
    """

    def __init__(
        self,
        series: Mapping[str, Series],
        key: str,
        now: Callable[[], datetime] = clock.now,
        allocation: int | None = None,
    ) -> None:
        super().__init__()
        self.series, self.now, self.allocation = dict(series), now, allocation
        self._key = _hash(key)

    def answer_to(
        self, path: str, parameters: Mapping[str, str], headers: Mapping[str, str]
    ) -> Reply:
        """Answer as Tiingo does: the key comes first, then the limit, then the ticker."""
        kind, _, key = headers.get("Authorization", "").partition(" ")
        if kind != "Token" or not hmac.compare_digest(_hash(key), self._key):
            return Reply({"detail": "Invalid token."}, 401)
        if self.allocation is not None:
            if not self.allocation:
                told = "Error: You have run over your hourly request allocation."
                return Reply({"detail": told}, 429)
            self.allocation -= 1
        return self.reply(path, parameters)

    def reply(self, path: str, parameters: Mapping[str, str]) -> Reply:
        """Answer a question whose key is right."""
        name = path.removeprefix("/tiingo/daily/").removesuffix("/prices")
        series = self.series.get(name)
        if series is None:
            return Reply({"detail": f"Error: Ticker '{name}' not found"}, 404)
        first, last = (date.fromisoformat(parameters[each]) for each in ("startDate", "endDate"))
        splits = {day: new / old for day, new, old in series.splits}
        paid = dict(series.dividends)
        zone, now = ZoneInfo(series.zone), self.now()
        rows = [
            _row(day, values, splits.get(day, 1.0), paid.get(day, 0.0))
            for day, *values in series.bars
            if first <= day <= last and datetime.combine(day, time(16), zone) <= now
        ]
        return Reply(rows)


def _row(day: date, values: list[Any], split: float, paid: float) -> dict[str, Any]:
    names = ("open", "high", "low", "close", "volume")
    row: dict[str, Any] = {"date": f"{day}T00:00:00.000Z"} | dict(zip(names, values, strict=True))
    # What the project does not take: here of no meaning.
    row |= {f"adj{name.capitalize()}": 1.0 for name in names}
    return row | {"divCash": paid, "splitFactor": split}


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
