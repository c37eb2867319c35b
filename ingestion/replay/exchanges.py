"""Crypto exchanges on loopback, over recorded bars: markets, and daily candles page by page.

Each speaks as its public documentation and the answers quoted in ccxt's source have it; limits and
paging are the exchange's. The day that runs is served as it stands at noon: opened, half traded.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

from ingestion.base import clock
from ingestion.replay.vendor import Reply, Vendor

DAY = 86_400
Candle = tuple[int, float, float, float, float, float]
"""Unix seconds of the open, prices and volume."""


@dataclass(frozen=True)
class Pair:
    """A market of an exchange, with its bars: date, open, high, low, close and volume."""

    base: str
    quote: str
    bars: Sequence[tuple[Any, ...]]
    perpetual: bool = False
    trades: bool = True


class ReplayExchange(Vendor):
    """An exchange on loopback: set ``TVFEAST_BINANCE_URL``, or its like, to its ``url``.

    Parameters
    ----------
    pairs
        Its markets.
    now
        Its clock: later days are not there.

    Attributes
    ----------
    pages
        What becomes of the candles of the next answers, one after the other; then all is well.
    """

    def __init__(self, pairs: Sequence[Pair], now: Callable[[], datetime] = clock.now) -> None:
        super().__init__()
        self.pairs, self.now = list(pairs), now
        self.pages: deque[Callable[[list[list[Any]]], list[list[Any]]]] = deque()

    def pair(self, name: str | None) -> Pair | None:
        """Return the market of an exchange's own name."""
        return next((each for each in self.pairs if self.name(each) == name), None)

    @abstractmethod
    def name(self, pair: Pair) -> str:
        """Return the exchange's own name of a market."""

    def candles(self, pair: Pair) -> list[Candle]:
        """Return all candles that are there now, in their order."""
        now, found = int(self.now().timestamp()), []
        for day, opened, high, low, close, volume in pair.bars:
            at = int(datetime.combine(day, time(), UTC).timestamp())
            if at + DAY <= now:
                found.append((at, opened, high, low, close, volume))
            elif at <= now:
                found.append((at, opened, opened, opened, opened, volume / 2))
        return found

    def paged(self, rows: list[list[Any]]) -> list[list[Any]]:
        """Return the rows of an answer, changed where a test has planned it."""
        return self.pages.popleft()(rows) if self.pages else rows


class ReplayBinance(ReplayExchange):
    """Binance's spot (``/api/v3``) and perpetual contracts in a stable coin (``/fapi/v1``).

    Documented in github.com/binance/binance-spot-api-docs, ``rest-api.md``: ``klines`` answers with
    the first candles from ``startTime`` on, 500 unless ``limit`` says otherwise, 1,000 at most.
    """

    def name(self, pair: Pair) -> str:
        """Return a name such as ``BTCUSDT``; a contract has the name of its pair."""
        return f"{pair.base}{pair.quote}"

    def reply(self, path: str, parameters: Mapping[str, str]) -> Reply:
        """Answer as Binance does."""
        contracts = path.startswith("/fapi/v1/")
        pairs = [each for each in self.pairs if each.perpetual == contracts]
        question = path.rpartition("/")[2]
        if question == "exchangeInfo":
            kind = _contract if contracts else _spot
            symbols = [kind(self.name(each), each) for each in pairs]
            at = int(self.now().timestamp() * 1_000)
            return Reply({"timezone": "UTC", "serverTime": at, "symbols": symbols})
        if question != "klines" or parameters.get("interval") != "1d":
            return Reply({"code": -1120, "msg": "Invalid interval."}, 400)
        found = [each for each in pairs if self.name(each) == parameters.get("symbol")]
        if not found:
            return Reply({"code": -1121, "msg": "Invalid symbol."}, 400)
        first = int(parameters.get("startTime", 0))
        size = min(int(parameters.get("limit", 500)), 1_000)
        rows = [_kline(each) for each in self.candles(found[0]) if each[0] * 1_000 >= first]
        return Reply(self.paged(rows[:size]))


def _kline(candle: Candle) -> list[Any]:
    at, *prices, volume = candle
    return [
        *(at * 1_000, *(f"{price:.8f}" for price in prices), f"{volume:.8f}"),
        *((at + DAY) * 1_000 - 1, f"{volume * prices[3]:.8f}", 100 if volume else 0),
        *(f"{volume / 2:.8f}", f"{volume * prices[3] / 2:.8f}", "0"),
    ]


def _spot(name: str, pair: Pair) -> dict[str, Any]:
    return {
        "symbol": name,
        "status": "TRADING" if pair.trades else "BREAK",
        "baseAsset": pair.base,
        "baseAssetPrecision": 8,
        "quoteAsset": pair.quote,
        "quotePrecision": 8,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.00000001",
                "maxPrice": "1000000.00000000",
                "tickSize": "0.00000001",
            }
        ],
        "permissions": ["SPOT"],
    }


def _contract(name: str, pair: Pair) -> dict[str, Any]:
    return {
        "symbol": name,
        "pair": name,
        "contractType": "PERPETUAL",
        "deliveryDate": 4_133_404_800_000,
        "onboardDate": 1_569_398_400_000,
        "status": "TRADING" if pair.trades else "SETTLING",
        "baseAsset": pair.base,
        "quoteAsset": pair.quote,
        "marginAsset": pair.quote,
        "pricePrecision": 2,
        "quantityPrecision": 3,
        "filters": [],
    }


def bars_of(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Return rows of ``ohlcv_1d``'s columns as the bars of a :class:`Pair`."""
    names = ("open", "high", "low", "close", "volume")
    return [
        (
            datetime.fromtimestamp(row["timestamp"], UTC).date(),
            *(float(row[name]) for name in names),
        )
        for row in rows
    ]
