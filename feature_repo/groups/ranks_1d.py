"""Where each member of a universe stands among the others, at the last close of each day.

An example, and a start for your own: `us_large` has members as soon as
`tvfeast flow-data --universe us_large` has asked for them, or dated membership was imported.
"""

from ingestion.catalog import CrossSection, FeatureGroup

GROUP = FeatureGroup(
    name="ranks_1d",
    meaning="momentum and volatility of a company among the 500 largest",
    source=CrossSection(
        of=["local_1d:momentum_60d", "local_1d:volatility_20d"],
        by=["percentile", "zscore", "neutralised"],
        against=["sector"],
        universe="us_large",
        at="close",
    ),
    ttl="4d",
    by_choice=True,
)
