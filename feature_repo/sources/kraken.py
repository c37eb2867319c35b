"""Kraken: the last 720 daily bars of spot pairs, through ccxt."""

from collections.abc import Iterator

from ingestion.catalog import BarRequest, BarSource, BarTable


def tables(want: BarRequest) -> Iterator[BarTable]:
    """Yield the bars of the symbol."""
    from ingestion.sources import exchanges  # here: every command loads this file

    return exchanges.tables("kraken", want)


SOURCE = BarSource(
    "kraken",
    "Kraken's daily candles, the last 720 alone, through ccxt",
    tables,
    times="opens",
    exchanges=["KRAKEN"],
    budget=2_000,
    days_back=720,
)
