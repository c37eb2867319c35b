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
        What becomes of the candles of the next answers that have any, one after the other; then all
        is well.
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
        return self.pages.popleft()(rows) if rows and self.pages else rows


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


class ReplayCoinbase(ReplayExchange):
    """Coinbase Exchange: ``/products`` and ``/products/NAME/candles``, the newest candle first.

    Documented at docs.cdp.coinbase.com/exchange: at most 300 candles of the times from ``start`` to
    ``end``; intervals without a trade have none.
    """

    def name(self, pair: Pair) -> str:
        """Return a name such as ``BTC-USDT``."""
        return f"{pair.base}-{pair.quote}"

    def reply(self, path: str, parameters: Mapping[str, str]) -> Reply:
        """Answer as Coinbase does."""
        if path == "/products":
            return Reply([_product(self.name(each), each) for each in self.pairs])
        pair = self.pair(path.removeprefix("/products/").removesuffix("/candles"))
        if pair is None:
            return Reply({"message": "NotFound"}, 404)
        if parameters.get("granularity") != str(DAY):
            return Reply({"message": "Unsupported granularity"}, 400)
        first, last = (
            datetime.fromisoformat(parameters[each]).timestamp() for each in ("start", "end")
        )
        if (last - first) // DAY + 1 > 300:
            return Reply({"message": "Count of aggregations requested exceeds 300"}, 400)
        rows: list[list[Any]] = [
            [at, low, high, opened, close, volume]
            for at, opened, high, low, close, volume in self.candles(pair)
            if first <= at <= last and volume
        ]
        return Reply(self.paged(rows[::-1]))


_KRAKENS = {"BTC": ("XXBT", "XBT"), "ETH": ("XETH", "ETH"), "USD": ("ZUSD", "USD")}
"""Kraken's names of currencies: of assets, and in pairs."""


class ReplayKraken(ReplayExchange):
    """Kraken: ``/0/public/AssetPairs`` and ``/0/public/OHLC``.

    Documented at docs.kraken.com/api: the last 720 candles, whatever ``since`` says, and always the
    one that runs. Errors come with the status of success.
    """

    def name(self, pair: Pair) -> str:
        """Return a name such as ``XBTUSDT``."""
        return "".join(_KRAKENS.get(each, (each, each))[1] for each in (pair.base, pair.quote))

    def reply(self, path: str, parameters: Mapping[str, str]) -> Reply:
        """Answer as Kraken does."""
        if path == "/0/public/AssetPairs":
            pairs = {self.name(each): self._pair(each) for each in self.pairs}
            return Reply({"error": [], "result": pairs})
        pair = self.pair(parameters.get("pair"))
        if pair is None:
            return Reply({"error": ["EQuery:Unknown asset pair"]})
        if parameters.get("interval") != "1440":
            return Reply({"error": ["EGeneral:Invalid arguments"]})
        first, candles = int(parameters.get("since", 0)), self.candles(pair)[-720:]
        rows: list[list[Any]] = [
            [at, *map(str, prices), str(prices[3]), str(volume), 100 if volume else 0]
            for at, *prices, volume in candles
            if at > first or at == candles[-1][0]
        ]
        last = candles[-2][0] if len(candles) > 1 else 0
        return Reply({"error": [], "result": {self.name(pair): self.paged(rows), "last": last}})

    def _pair(self, pair: Pair) -> dict[str, Any]:
        base, quote = (_KRAKENS.get(each, (each, each)) for each in (pair.base, pair.quote))
        return {
            "altname": self.name(pair),
            "wsname": f"{base[1]}/{quote[1]}",
            "aclass_base": "currency",
            "base": base[0],
            "aclass_quote": "currency",
            "quote": quote[0],
            "lot": "unit",
            "pair_decimals": 5,
            "lot_decimals": 8,
            "lot_multiplier": 1,
            "leverage_buy": [],
            "leverage_sell": [],
            "fees": [[0, 0.26]],
            "fees_maker": [[0, 0.16]],
            "ordermin": "0.0001",
            "costmin": "0.5",
            "status": "online" if pair.trades else "cancel_only",
        }


class ReplayOkx(ReplayExchange):
    """OKX: ``/api/v5/public/instruments``, ``market/candles`` and ``history-candles``.

    Documented at okx.com/docs-v5: the newest candle first, later than ``before`` and earlier than
    ``after``, 100 unless ``limit`` says otherwise, 300 at most; ``candles`` has the last 1,440
    alone. Days of ``1D`` begin at 16:00 UTC, those of ``1Dutc`` at 00:00.
    """

    def name(self, pair: Pair) -> str:
        """Return a name such as ``BTC-USDT`` or ``BTC-USDT-SWAP``."""
        return f"{pair.base}-{pair.quote}{'-SWAP' if pair.perpetual else ''}"

    def reply(self, path: str, parameters: Mapping[str, str]) -> Reply:
        """Answer as OKX does."""
        if path == "/api/v5/public/instruments":
            is_swap = parameters["instType"] == "SWAP"
            own = [each for each in self.pairs if each.perpetual == is_swap]
            return _okx([_instrument(self.name(each), each) for each in own])
        pair = self.pair(parameters.get("instId"))
        if pair is None:
            return _okx([], "51001", "Instrument ID doesn't exist.")
        shift = {"1Dutc": 0, "1D": 8 * 3_600}.get(parameters.get("bar", ""))
        if shift is None:
            return _okx([], "51000", "Parameter bar error")
        candles = self.candles(pair)
        if path == "/api/v5/market/candles":
            candles = candles[-1_440:]
        later, earlier = (int(parameters.get(each) or 0) for each in ("before", "after"))
        now, rows = int(self.now().timestamp()), list[list[Any]]()
        for at, *prices, volume in reversed(candles):
            stamp = (at - shift) * 1_000
            if later < stamp and (not earlier or stamp < earlier):
                money = volume * prices[3]
                volumes = (
                    (volume * 100, volume, money) if pair.perpetual else (volume, money, money)
                )
                done = "1" if at + DAY <= now else "0"
                rows.append([str(stamp), *map(str, prices), *map(str, volumes), done])
        return _okx(self.paged(rows[: min(int(parameters.get("limit", 100)), 300)]))


def _okx(data: list[Any], code: str = "0", message: str = "") -> Reply:
    return Reply({"code": code, "msg": message, "data": data})


def _instrument(name: str, pair: Pair) -> dict[str, Any]:
    contract = {
        "baseCcy": "",
        "quoteCcy": "",
        "settleCcy": pair.quote,
        "ctType": "linear",
        "ctVal": "0.01",
        "ctValCcy": pair.base,
        "uly": f"{pair.base}-{pair.quote}",
    }
    spot = {"baseCcy": pair.base, "quoteCcy": pair.quote, "settleCcy": "", "ctType": "", "uly": ""}
    return {
        "instId": name,
        "instType": "SWAP" if pair.perpetual else "SPOT",
        **(contract if pair.perpetual else spot),
        "lever": "",
        "listTime": "1548133413000",
        "lotSz": "0.00000001",
        "minSz": "0.00001",
        "tickSz": "0.1",
        "state": "live" if pair.trades else "suspend",
    }


def _product(name: str, pair: Pair) -> dict[str, Any]:
    return {
        "id": name,
        "base_currency": pair.base,
        "quote_currency": pair.quote,
        "quote_increment": "0.01",
        "base_increment": "0.00000001",
        "display_name": f"{pair.base}/{pair.quote}",
        "min_market_funds": "1",
        "margin_enabled": False,
        "status": "online" if pair.trades else "delisted",
        "trading_disabled": not pair.trades,
    }


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
