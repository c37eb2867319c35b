"""Which exchange keeps which hours: tables, and nothing else.

How a bar's close follows from them is in :mod:`ingestion.markets.hours`.
"""

from __future__ import annotations

from datetime import date
from types import MappingProxyType

# The calendar must not close before the exchange does: an early stamp leaks, a late one only waits.
# Hence FWB is not XFRA, which has Xetra's hours: Frankfurt's floor trades until 22:00 like
# Stuttgart's. Hence also no MOEX (its bar includes an evening session that XMOS does not know) and
# no futures (the trading day of a US holiday may end on the next date).
CALENDARS = MappingProxyType(
    {
        "AMEX": "XNYS",
        "ASX": "XASX",
        "ATHEX": "ASEX",
        "BCBA": "XBUE",
        "BCS": "XSGO",
        "BET": "XBUD",
        "BIST": "XIST",
        "BME": "XMAD",
        "BMFBOVESPA": "BVMF",
        "BMV": "XMEX",
        "BSE": "XBOM",
        "BVB": "XBSE",
        "BVL": "XLIM",
        "CBOE": "XNYS",
        "CSE": "XTSE",
        "DUS": "XDUS",
        "EURONEXT": "XPAR",
        "FWB": "XSTU",
        "GPW": "XWAR",
        "HAM": "XHAM",
        "HKEX": "XHKG",
        "IDX": "XIDX",
        "JSE": "XJSE",
        "KRX": "XKRX",
        "LSE": "XLON",
        "LSIN": "XLON",
        "LUXSE": "XLUX",
        "MIL": "XMIL",
        "MYX": "XKLS",
        "NASDAQ": "XNYS",
        "NEO": "XTSE",
        "NSE": "XBOM",
        "NYSE": "XNYS",
        "NZX": "XNZE",
        "OMXCOP": "XCSE",
        "OMXHEX": "XHEL",
        "OMXICE": "XICE",
        "OMXRSE": "XRIS",
        "OMXSTO": "XSTO",
        "OMXTSE": "XTAL",
        "OMXVSE": "XLIT",
        "OSL": "XOSL",
        "OTC": "XNYS",
        "PSE": "XPHS",
        "PSECZ": "XPRA",
        "PSX": "XKAR",
        "SET": "XBKK",
        "SGX": "XSES",
        "SIX": "XSWX",
        "SSE": "XSHG",
        "SWB": "XSTU",
        "SZSE": "XSHG",
        "TADAWUL": "XSAU",
        "TASE": "XTAE",
        "TPEX": "XTAI",
        "TSE": "XTKS",
        "TSX": "XTSE",
        "TSXV": "XTSE",
        "TWSE": "XTAI",
        "VIE": "XWBO",
        "XETR": "XETR",
    }
)
"""TradingView exchange code → name of a calendar in ``exchange_calendars``."""

HOLIDAYS_KNOWN_UNTIL = MappingProxyType(
    {
        "XBKK": date(2029, 12, 31),
        "XIDX": date(2025, 12, 31),
        "XKAR": date(2025, 12, 31),
        "XKLS": date(2029, 12, 31),
        "XPHS": date(2027, 12, 31),
    }
)
"""Calendars of ``exchange_calendars`` that go on after their last announced lunar holidays.

Later years have those of a fixed date alone, so every other session there is assumed.
"""

FX_VENUES = frozenset(
    {
        "CAPITALCOM",
        "EIGHTCAP",
        "FOREXCOM",
        "FX",
        "FXCM",
        "FX_IDC",
        "ICMARKETS",
        "OANDA",
        "PEPPERSTONE",
        "SAXO",
    }
)
"""TradingView codes of currency and CFD dealers, whose trading day rolls at 17:00 New York."""

# Korean venues are left to the 24-hour rule: not all of them count days in UTC.
ROUND_THE_CLOCK_VENUES = frozenset(
    {
        "BINANCE",
        "BINANCEUS",
        "BINGX",
        "BITFINEX",
        "BITGET",
        "BITMEX",
        "BITSTAMP",
        "BYBIT",
        "COINBASE",
        "COINEX",
        "CRYPTO",
        "CRYPTOCAP",
        "CRYPTOCOM",
        "DERIBIT",
        "GATE",
        "GATEIO",
        "GEMINI",
        "HTX",
        "HUOBI",
        "KRAKEN",
        "KUCOIN",
        "MEXC",
        "OKCOIN",
        "OKX",
        "PHEMEX",
        "POLONIEX",
        "WHITEBIT",
    }
)
"""TradingView codes of venues that never close and count days in UTC."""

ROUND_THE_CLOCK_SYMBOLS = frozenset({"INDEX:BTCUSD", "INDEX:ETHUSD"})
"""Symbols that never close on an exchange code that also has others.

``INDEX`` mixes crypto indices with market breadth and national stock indices, so it has no rule.
"""

INDEX_CODES = frozenset({"DJ", "ECONOMICS", "FRED", "INDEX", "SP", "TVC"})
"""Codes whose symbols are indices, yields and totals: they have no splits."""
KNOWN_EXCHANGES = CALENDARS.keys() | FX_VENUES | ROUND_THE_CLOCK_VENUES
"""Codes of exchanges whose hours are known."""
QUOTES = frozenset(
    {
        *("USD", "USDT", "USDC", "BUSD", "TUSD", "FDUSD", "DAI", "EUR", "GBP", "JPY", "AUD", "CAD"),
        *(
            "CHF",
            "CNY",
            "CNH",
            "HKD",
            "NZD",
            "SEK",
            "NOK",
            "DKK",
            "SGD",
            "KRW",
            "INR",
            "BRL",
            "TRY",
        ),
        *(
            "ZAR",
            "MXN",
            "PLN",
            "HUF",
            "CZK",
            "ILS",
            "THB",
            "RUB",
            "UAH",
            "BTC",
            "XBT",
            "ETH",
            "BNB",
        ),
    }
)
"""Currencies that pairs are quoted in."""
