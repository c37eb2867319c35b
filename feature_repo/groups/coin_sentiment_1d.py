"""Attention, use and positioning of the candidates' coins, from the scanner's market of coins.

Pairs have these columns only where they are quoted in US dollars, so the coin itself is asked: a
pair and its coin have one ``base_currency_id``. A pair without an id, of two coins or of none has
no row, and is counted.

What the columns rest on: the names and types of recorded ``metainfo`` (2025-06, 2026-08). Values
were recorded of ``socialdominance`` (0.06 to 4.04, one of six null) and of the volume of 24 hours;
of the others none, so they may be null and have the bounds of their definition alone. Those of
which no client has ever shown a value, and those that came in 2026, are optional. Percentages of
change have no sane upper bound here: 5.87e26 was recorded of a pair.
"""

from ingestion.catalog import Column, FeatureGroup, PerColumn, Quality, Scanner


def counts(optional: bool = False, **meanings: str) -> list[Column]:
    """Return columns that are counts or amounts, never below 0."""
    return [Column(name, meaning=what, low=0, optional=optional) for name, what in meanings.items()]


def shares(optional: bool = False, **meanings: str) -> list[Column]:
    """Return columns that are percentages of a whole."""
    return [
        Column(name, meaning=what, unit="%", low=0, high=100, optional=optional)
        for name, what in meanings.items()
    ]


SOCIAL = [
    *shares(
        sentiment="positive share of the social activity",
        socialdominance="share of all coins' social activity",
    ),
    Column("galaxyscore", meaning="composite score of the coin", low=0, high=100),
    Column("altrank", meaning="rank of the coin, 1 is best", low=1),
    *counts(
        social_volume_24h="mentions of 24 hours",
        interactions="likes, views and comments",
        tweets="posts on X",
        contributorsactive="authors who are active",
        contributorscreated="new authors",
        postsactive="posts that are active",
        postscreated="new posts",
    ),
    *counts(
        optional=True,
        twitter_positive="positive posts on Twitter",
        twitter_negative="negative posts on Twitter",
        telegram_positive="positive posts on Telegram",
        telegram_negative="negative posts on Telegram",
        telegram_members="members on Telegram",
        github_commits="commits on GitHub",
    ),
]

ON_CHAIN = [
    *counts(
        addresses_active="active addresses of a day",
        addresses_new="new addresses of a day",
        total_addresses_with_balance="addresses with a balance",
        txs_count="transactions of a day",
        txs_volume_usd="their volume, US dollars",
        large_tx_count="large transactions of a day",
        tvl="value locked in contracts, US dollars",
        nvt="market value ÷ volume of transactions",
        velocity="volume of transactions ÷ market value",
    ),
    Column("vol_24h_cmc", meaning="volume of 24 hours", low=0, scanner="24h_vol_cmc"),
    Column(
        "vol_24h_change_cmc", meaning="its change", unit="%", low=-100, scanner="24h_vol_change_cmc"
    ),
    Column(
        "vol_24h_to_market_cap",
        meaning="volume of 24 hours ÷ market value",
        low=0,
        scanner="24h_vol_to_market_cap",
    ),
    *shares(
        optional=True,
        in_the_money_addresses_percentage="addresses that bought below the price",
        at_the_money_addresses_percentage="addresses that bought at the price",
        out_the_money_addresses_percentage="addresses that bought above the price",
    ),
]

POSITIONS = [
    Column("funding_rate", meaning="funding rate of perpetual swaps", optional=True),
    *counts(
        optional=True,
        open_interest="open interest of derivatives",
        open_interest_to_volume_24h="open interest ÷ volume of 24 hours",
        liquidations_volume_24h="liquidations of 24 hours",
        long_liquidations_volume_24h="liquidations of long positions",
        short_liquidations_volume_24h="liquidations of short positions",
    ),
    Column(
        "open_interest_change_percent_24h",
        meaning="change of open interest in 24 hours",
        unit="%",
        low=-100,
        optional=True,
    ),
]

GROUP = FeatureGroup(
    name="coin_sentiment_1d",
    meaning="attention, use and positioning of the candidates' coins",
    source=Scanner(market="coin", joined_by="base_currency_id"),
    # Twice the rhythm of a daily flow: these markets never close.
    ttl="2d",
    features=[*SOCIAL, *ON_CHAIN, *POSITIONS],
    quality=Quality(
        # A provider that ended leaves a column of zeros, or of yesterday's values; attention and
        # liquidations change by orders of magnitude in a day.
        max_same_share=1.0,
        max_still_share=PerColumn(None),
        max_unit_factor=1_000.0,
        max_lost_share=0.5,
    ),
    by_choice=True,
)
