"""Yahoo Finance: daily bars of stocks and funds, as traded, with their splits."""

from collections.abc import Iterator

from ingestion.catalog import BarRequest, BarSource, BarTable


def tables(want: BarRequest) -> Iterator[BarTable]:
    """Yield the splits of the symbol, and its bars."""
    from ingestion.sources import yahoo  # here: every command loads this file

    return yahoo.tables(want)


SOURCE = BarSource(
    "yahoo",
    "Yahoo Finance's daily chart (unofficial)",
    tables,
    times="dates",
    adjusted=True,
    exchanges=[
        *("NASDAQ", "NYSE", "AMEX", "ASX", "BME", "BMFBOVESPA", "BSE", "HKEX", "KRX", "LSE", "MIL"),
        *("NSE", "OMXCOP", "OMXHEX", "OMXSTO", "SIX", "SSE", "SZSE", "TSE", "TSX", "TSXV", "XETR"),
    ],
    pause=0.5,
    delay=1_800,  # the last trade of a session is corrected for some minutes
    budget=2_000,
)
