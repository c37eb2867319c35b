"""What is known of the symbols themselves, and since when."""

from __future__ import annotations

from ingestion.catalog.model import SYMBOL, Column, Dataset, Dtype


def _text(name: str, meaning: str) -> Column:
    return Column(name, Dtype.STRING, meaning, scanner=name, optional=True)


def _whole(name: str, meaning: str) -> Column:
    return Column(name, Dtype.INT64, meaning, scanner=name, optional=True)


SYMBOLS = Dataset(
    name="symbols",
    meaning="the symbols' metadata, one row per observed change; a row is valid until its symbol's "
    "next",
    storage="symbols",
    columns=(
        SYMBOL,
        _text("exchange", "exchange, as TradingView calls it"),
        _text("type", "stock, fund, spot, …"),
        _text("sector", "sector; of stocks and funds only"),
        _text("industry", "industry; of stocks and funds only"),
        _text("currency", "currency of the prices"),
        _text("description", "name of the company or instrument"),
        _whole("pricescale", "prices are multiples of minmov ÷ this"),
        _whole("minmov", "smallest step of a price × pricescale"),
        _text("timezone", "time zone of the exchange"),
        Column("active", Dtype.BOOL, "whether the scanner knows the symbol", nullable=False),
        Column("valid_from", Dtype.TIMESTAMP, "when this was observed", nullable=False),
    ),
    key=("symbol", "valid_from"),
    event="valid_from",
)

ABSENCES = Dataset(
    name="absences",
    meaning="days in a row on which the scanner did not know a symbol that it used to know",
    storage="absences",
    columns=(
        SYMBOL,
        Column("days", Dtype.INT64, "UTC days up to this one; 0 if it was seen", nullable=False),
        Column("observed_at", Dtype.TIMESTAMP, "when the answer had come", nullable=False),
    ),
    key=("symbol", "observed_at"),
    event="observed_at",
)
