"""OKX: daily bars of spot pairs and perpetual contracts, through ccxt."""

from collections.abc import Iterator

from ingestion.catalog import BarRequest, BarSource, BarTable


def tables(want: BarRequest) -> Iterator[BarTable]:
    """Yield the bars of the symbol."""
    from ingestion.sources import exchanges  # here: every command loads this file

    return exchanges.tables("okx", want)


SOURCE = BarSource(
    "okx",
    "OKX's daily candles of UTC days, through ccxt",
    tables,
    times="opens",
    exchanges=["OKX"],
    budget=2_000,
)
