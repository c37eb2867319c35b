"""What analysts say of stocks: ratings, price targets, surprises, and the dates of releases.

A rating, a target and an estimate have no date of their own in the scanner: ``event_timestamp``,
when we saw them, is the only honest stamp. Whoever trains on them knows them from then on, and not
from when an analyst wrote them.

Bounds and what is said of them rest on recorded answers: ``recommendation_mark`` is 1 (buy) to 3
(sell), (buy + 1.5 over + 2 neutral + 2.5 under + 3 sell) ÷ total, in 7 of 7 rows; surprises
have been -737 to 580 % (2026-04-06, 222 rows, 39 % without one), so they have no bounds. There is
no limit on nulls: of funds, currencies and coins all of it is null.
"""

from ingestion.catalog import Column, Excess, FeatureGroup, PerColumn, Quality, Scanner

SAYS = {
    "buy": "buy",
    "over": "overweight",
    "hold": "neither",
    "under": "underweight",
    "sell": "sell",
    "total": "any of these",
}


def ratings() -> list[Column]:
    """Return the counts of analysts."""
    return [
        Column(f"recommendation_{name}", "int64", f"analysts who say {said}", low=0)
        for name, said in SAYS.items()
    ]


def targets() -> list[Column]:
    """Return the price targets of a year."""
    return [
        Column(
            f"price_target_{name}", meaning=f"{name} price target of a year", unit="price", low=0
        )
        for name in ("average", "high", "low", "median")
    ]


def surprises(name: str, what: str) -> list[Column]:
    """Return what was reported and expected of the last quarter, and is expected of the next."""
    value = {"eps": "earnings_per_share", "revenue": "revenue"}[name]
    money = "money per share" if name == "eps" else "money"
    return [
        Column(f"{value}_fq", meaning=f"{what} of the last quarter", unit=money),
        Column(f"{value}_forecast_fq", meaning=f"{what} expected of it", unit=money),
        Column(f"{value}_forecast_next_fq", meaning=f"{what} expected of the next", unit=money),
        Column(f"{name}_surprise_fq", meaning=f"{what}: reported − expected", unit=money),
        Column(f"{name}_surprise_percent_fq", meaning="the same ÷ |expected|", unit="%"),
    ]


GROUP = FeatureGroup(
    name="tv_analyst_1d",
    meaning="analysts' ratings, price targets and surprises, from when they were seen",
    source=Scanner(),
    ttl="4d",
    features=[
        *ratings(),
        Column("recommendation_mark", meaning="mean rating: 1 is buy, 3 is sell", low=1, high=3),
        *targets(),
        Column("close", meaning="close of the same answer", unit="price"),
        Column("currency", "string", "currency of the prices"),
        Column("fundamental_currency_code", "string", "currency of targets, earnings and revenue"),
        Column(
            "target_upside",
            meaning="average target against that close, where both currencies are one",
            unit="%",
            low=-100,
            derived=Excess(
                "price_target_average", "close", same=("currency", "fundamental_currency_code")
            ),
        ),
        *surprises("eps", "earnings per share"),
        *surprises("revenue", "revenue"),
        Column("earnings_release_date", "timestamp", "last release, to the minute"),
        Column("earnings_release_next_date", "timestamp", "next release; 12:00 UTC if not known"),
        Column("earnings_release_time", "int64", "-1 before the open, 1 after the close, else 0"),
        Column("earnings_release_next_time", "int64", "the same of the next release"),
        Column(
            "earnings_release_calendar_date",
            "timestamp",
            "end of the fiscal period: no release, whatever its name says",
        ),
    ],
    quality=Quality(
        # They stay as they are for weeks: a value that stands still is no fault.
        max_still_share=PerColumn(None),
    ),
    by_choice=True,
    cadence="daily",
)
