"""Fundamentals of stocks, with the period, the release and the currency that they are of.

The scanner shows the latest period alone and restates silently. So ``fiscal_period_end_*`` and
``earnings_release_date`` are labels: of a column that is as the company has reported it (no price
and no exchange rate in it), a value that changes while no label does is counted as a restatement,
in the flow's line and in the receipt. All amounts are in ``fundamental_currency_code``, to which
the scanner converts what was reported in another one: such columns count as no report.

Bounds rest on recorded rows: P/E is null on losses, P/B, ROE and debt to equity on negative equity,
margins are unbounded below (-1350 %), capital expenditure is negative. There is no limit on nulls:
of an unsorted page of 100 US rows 70 lack P/E and 36 the market value (2026-04-06); of funds,
currencies and coins all of it is null.
"""

from ingestion.catalog import Column, FeatureGroup, PerColumn, Quality, Scanner


def labels() -> list[Column]:
    """Return what the other columns are of."""
    return [
        Column("fiscal_period_end_fq", "timestamp", "end of the last quarter", label=True),
        # The next two are known since 2026.
        Column("fiscal_period_end_fy", "timestamp", "end of its year", label=True, optional=True),
        Column(
            "fiscal_period_end_current", "timestamp", "end of the running period", optional=True
        ),
        Column("earnings_release_date", "timestamp", "last release", label=True),
        Column("fundamental_currency_code", "string", "currency of the amounts", label=True),
    ]


def reported() -> list[Column]:
    """Return ratios of what was reported."""
    percent = {
        "return_on_equity": "net income ÷ equity",
        "return_on_assets": "net income ÷ assets",
        "return_on_invested_capital": "income ÷ invested capital",
        "gross_margin_ttm": "gross profit ÷ revenue, of twelve months",
        "operating_margin_ttm": "operating income ÷ revenue, of twelve months",
        "net_margin_ttm": "net income ÷ revenue, of twelve months",
        "free_cash_flow_margin_ttm": "free cash flow ÷ revenue, of twelve months",
        "total_revenue_yoy_growth_ttm": "growth of revenue of twelve months in a year",
        "earnings_per_share_diluted_yoy_growth_ttm": "growth of diluted earnings in a year",
        "dividend_payout_ratio_ttm": "dividends ÷ earnings, of twelve months",
    }
    ratio = {
        "debt_to_equity": "debt ÷ equity",
        "current_ratio": "current assets ÷ current liabilities",
        "quick_ratio": "current assets without inventory ÷ current liabilities",
    }
    return [
        *(Column(name, meaning=what, unit="%", reported=True) for name, what in percent.items()),
        *(Column(name, meaning=what, reported=True) for name, what in ratio.items()),
    ]


def amounts() -> list[Column]:
    """Return amounts, converted to one currency."""
    money = {
        "market_cap_basic": "market value",
        "total_revenue_ttm": "revenue of twelve months",
        "net_income_ttm": "net income of twelve months",
        "ebitda_ttm": "earnings before interest, taxes and depreciation, of twelve months",
        "free_cash_flow_ttm": "free cash flow of twelve months",
        "total_debt_fq": "debt at the quarter's end",
        "net_debt": "debt − cash",
        "earnings_per_share_basic_ttm": "basic earnings per share of twelve months",
        "earnings_per_share_diluted_ttm": "diluted earnings per share of twelve months",
    }
    return [Column(name, meaning=what, unit="money") for name, what in money.items()]


def valuations() -> list[Column]:
    """Return what has the price in it."""
    priced = {
        "price_earnings_ttm": "price ÷ earnings of twelve months; null on losses",
        "price_book_fq": "price ÷ book value; null on negative equity",
        "price_sales_current": "price ÷ revenue",
        "price_free_cash_flow_ttm": "price ÷ free cash flow of twelve months",
        "price_earnings_growth_ttm": "price ÷ earnings ÷ their growth",
        "enterprise_value_ebitda_ttm": "enterprise value ÷ EBITDA of twelve months",
        "beta_1_year": "beta of a year",
    }
    return [
        *(Column(name, meaning=what) for name, what in priced.items()),
        Column("dividends_yield_current", meaning="dividends ÷ price", unit="%", low=0),
    ]


GROUP = FeatureGroup(
    name="tv_fundamentals_1d",
    meaning="fundamentals of the latest period, from when they were seen",
    source=Scanner(),
    ttl="4d",
    features=[
        *labels(),
        *reported(),
        *amounts(),
        *valuations(),
        Column("float_shares_outstanding", meaning="shares that are traded freely", low=0),
        Column("number_of_employees", meaning="employees", low=0),
    ],
    quality=Quality(
        # What a company has reported stays until it reports again.
        max_still_share=PerColumn(None),
    ),
    by_choice=True,
    cadence="daily",
)
