"""The datasets of the lakehouse beside the feature groups: bars, splits, dividends, symbols, ….

Bars are closed daily bars, as traded: what formulas are computed from.
"""

from __future__ import annotations

from dataclasses import replace

from ingestion.catalog.model import (
    BAR_TIMESTAMP,
    CREATED_TIMESTAMP,
    EVENT_TIMESTAMP,
    SYMBOL,
    TIMESTAMP,
    Column,
    Dataset,
    Dtype,
)


def _price(name: str) -> Column:
    return Column(
        name, Dtype.DOUBLE, f"{name}, as traded", "price", low=0, nullable=False, scanner=name
    )


def _text(name: str, meaning: str) -> Column:
    return Column(name, Dtype.STRING, meaning, scanner=name, optional=True)


def _whole(name: str, meaning: str) -> Column:
    return Column(name, Dtype.INT64, meaning, scanner=name, optional=True)


UPDATE_MODE = Column(
    "update_mode", Dtype.STRING, "whether the feed is delayed", scanner="update_mode"
)

FEEDS = Dataset(
    name="feeds",
    meaning="delays of the scanner's feeds, one row per observed change; a symbol without one has "
    "what is usual for its exchange",
    storage="feeds",
    columns=(
        SYMBOL,
        UPDATE_MODE,
        Column("observed_at", Dtype.TIMESTAMP, "the snapshot's instant", nullable=False),
    ),
    key=("symbol", "observed_at"),
    event="observed_at",
)

OHLCV_1D = Dataset(
    name="ohlcv_1d",
    meaning="closed daily bars, adjusted for neither splits nor dividends",
    storage="ohlcv_1d",
    columns=(
        replace(TIMESTAMP, meaning="open of the bar"),
        SYMBOL,
        *(_price(name) for name in ("open", "high", "low", "close")),
        Column(
            "volume",
            Dtype.DOUBLE,
            "units traded; at 0, markets that never close have no bar for formulas",
            low=0,
            nullable=False,
            scanner="volume",
        ),
        Column(
            "split_ratio",
            Dtype.DOUBLE,
            "new shares for an old one on an ex-date, 1 on other days",
            low=0,
            nullable=False,
        ),
        replace(EVENT_TIMESTAMP, meaning="close of the bar: when it became knowable"),
        CREATED_TIMESTAMP,
        Column(
            "source",
            Dtype.STRING,
            "where the bar comes from; `withdrawn;` and a reason: there is no such bar",
            nullable=False,
        ),
    ),
)

WITHDRAWN = "withdrawn;"
"""Begins the source of a version of a row that takes the bar back; the reason follows."""

SCANNED_BAR = (
    *OHLCV_1D.scanned,
    replace(BAR_TIMESTAMP, scanner="time"),
    Column(
        "bar_update_timestamp",
        Dtype.TIMESTAMP,
        "last tick in that bar",
        scanner="last_bar_update_time",
    ),
    UPDATE_MODE,
    Column("change", Dtype.DOUBLE, "change against the previous close", "%", scanner="change"),
)
"""What is asked of the scanner to know a bar: its values, and what shows whether they are final."""

HELD_BARS = Dataset(
    name="held_bars",
    meaning="closed bars that wait for a split to be recorded; one that is in ohlcv_1d waits no "
    "longer",
    storage="held_bars",
    columns=(
        *OHLCV_1D.columns,
        Column(
            "previous_close",
            Dtype.DOUBLE,
            "close of the bar before, in this bar's money, as the scanner has it",
            "price",
            low=0,
        ),
    ),
)

OTHER_BARS = Dataset(
    name="other_bars",
    meaning="bars of sessions of which ohlcv_1d has the bar of a source that stands before theirs; "
    "of one source the last version counts",
    storage="other_bars",
    columns=OHLCV_1D.columns,
    key=("symbol", "timestamp", "source"),
)

SPLITS = Dataset(
    name="splits",
    meaning="splits that were recorded before their bar came, and ratios of 1: no split that day",
    storage="splits",
    columns=(
        TIMESTAMP,
        SYMBOL,
        Column(
            "split_ratio",
            Dtype.DOUBLE,
            "new shares for an old one from this session on",
            low=0,
            nullable=False,
        ),
        replace(EVENT_TIMESTAMP, meaning="close of the ex-date's session"),
        CREATED_TIMESTAMP,
        Column("source", Dtype.STRING, "where the split comes from", nullable=False),
    ),
)

DIVIDENDS = Dataset(
    name="dividends",
    meaning="what a share was paid, as traded at its ex-date: not adjusted for later splits",
    storage="dividends",
    columns=(
        TIMESTAMP,
        SYMBOL,
        Column("ex_date", Dtype.STRING, "local date of the ex-date, ISO 8601", nullable=False),
        Column(
            "amount",
            Dtype.DOUBLE,
            "paid per share as it trades on the ex-date; 0: there was no dividend",
            "price",
            low=0,
            nullable=False,
        ),
        Column("currency", Dtype.STRING, "currency of the amount; null: that of the price"),
        replace(EVENT_TIMESTAMP, meaning="close of the ex-date's session"),
        CREATED_TIMESTAMP,
        Column("source", Dtype.STRING, "where the dividend comes from", nullable=False),
    ),
)

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

ACCEPTED_HOLES = Dataset(
    name="accepted_holes",
    meaning="sessions without bars that somebody has accepted: values over them are computed",
    storage="accepted_holes",
    columns=(
        TIMESTAMP,
        Column("market", Dtype.STRING, "exchange code, as in its symbols", nullable=False),
        Column("session", Dtype.STRING, "local date of the session, ISO 8601", nullable=False),
        Column("reason", Dtype.STRING, "why there are no bars, and who says so", nullable=False),
        replace(EVENT_TIMESTAMP, meaning="close of the session"),
        replace(CREATED_TIMESTAMP, meaning="when it was accepted"),
    ),
    key=("market", "timestamp"),
)

MISSED_BARS = Dataset(
    name="missed_bars",
    meaning="bars that the scanner's previous close proves and the lakehouse has not",
    storage="missed_bars",
    columns=(
        TIMESTAMP,
        SYMBOL,
        Column(
            "previous_close",
            Dtype.DOUBLE,
            "close of the missed bar, as the scanner has it",
            "price",
            low=0,
            nullable=False,
        ),
        replace(EVENT_TIMESTAMP, meaning="close of the session before the scanner's bar"),
        CREATED_TIMESTAMP,
    ),
)

ABSENT_BARS = Dataset(
    name="absent_bars",
    meaning="sessions of which a bar source gave no good bar, however often it was asked: they are "
    "not asked for any more",
    storage="absent_bars",
    columns=(
        TIMESTAMP,
        SYMBOL,
        Column("session", Dtype.STRING, "local date of the session, ISO 8601", nullable=False),
        replace(EVENT_TIMESTAMP, meaning="close of the session"),
        replace(CREATED_TIMESTAMP, meaning="when this was recorded"),
        Column("source", Dtype.STRING, "the bar source that was asked", nullable=False),
    ),
)

UNIVERSE_MEMBERS = Dataset(
    name="universe_members",
    meaning="who was in a universe, as it was known: of each complete answer one row per member, "
    "and dated membership that was imported",
    storage="universe_members",
    columns=(
        Column("universe", Dtype.STRING, "name of the universe", nullable=False),
        SYMBOL,
        Column("valid_from", Dtype.TIMESTAMP, "from when on it is in", nullable=False),
        Column(
            "valid_until",
            Dtype.TIMESTAMP,
            "from when on it is not, or not known to be; null: still in; `valid_from`: it never "
            "was, a correction. A later complete answer ends a row of an earlier one",
        ),
        replace(EVENT_TIMESTAMP, meaning="when this was known"),
        CREATED_TIMESTAMP,
        Column(
            "source",
            Dtype.STRING,
            "`import`, or what was asked: `scan`, `symbolset`, `symbols`",
            nullable=False,
        ),
    ),
    key=("universe", "symbol", "valid_from", "source"),
)

DATASETS: tuple[Dataset, ...] = (
    *(OHLCV_1D, SYMBOLS, SPLITS, HELD_BARS, ABSENCES, FEEDS, MISSED_BARS, ACCEPTED_HOLES),
    *(UNIVERSE_MEMBERS, DIVIDENDS, ABSENT_BARS, OTHER_BARS),
)
"""What the lakehouse contains beside the groups."""
