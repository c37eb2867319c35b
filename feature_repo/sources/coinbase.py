"""Coinbase Exchange: daily bars of spot pairs, through ccxt."""

from collections.abc import Iterator

from ingestion.catalog import BarRequest, BarSource, BarTable


def tables(want: BarRequest) -> Iterator[BarTable]:
    """Yield the bars of the symbol."""
    from ingestion.sources import exchanges  # here: every command loads this file

    return exchanges.tables("coinbase", want)


SOURCE = BarSource(
    "coinbase",
    "Coinbase's daily candles, through ccxt",
    tables,
    times="opens",
    exchanges=["COINBASE"],
    budget=2_000,
)
