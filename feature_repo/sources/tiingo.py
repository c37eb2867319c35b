"""Tiingo: daily bars of American stocks and funds, as traded, with splits and dividends."""

from collections.abc import Iterator

from ingestion.catalog import BarRequest, BarSource, BarTable


def tables(want: BarRequest) -> Iterator[BarTable]:
    """Yield the dividends of the symbol, and its bars."""
    from ingestion.sources import tiingo  # here: every command loads this file

    return tiingo.tables(want)


SOURCE = BarSource(
    "tiingo",
    "Tiingo's end-of-day prices (a key in TVFEAST_TIINGO_KEY)",
    tables,
    times="dates",
    exchanges=["NASDAQ", "NYSE", "AMEX"],
    pause=0.2,
    delay=14_400,  # exchanges send corrections for four hours
    budget=50,  # requests an hour of the free plan
    key="TVFEAST_TIINGO_KEY",
    priority=40,  # of those that need no key the bars stay
)
