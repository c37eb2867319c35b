"""Values of which there is neither a formula nor a recording of many symbols: drawn from ranges.

They are made up, the same for a symbol and its day or quarter each time, and fit together as real
rows do: a total is the sum of its counts, a rating the mean of two, a target's average between its
low and its high. The ranges are those of recorded rows (2019 to 2026-04, see :data:`RANGES`); of
what was never recorded, :data:`UNRECORDED`, those of its definition.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any

RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        # Technicals: AAPL on nine frames and a month (2022, 2026), CMP (2019).
        "RSI": (47.8, 76.0),
        "ADX": (19.1, 38.7),
        "Stoch.K": (50.0, 92.0),
        "CCI20": (18.0, 188.0),
        # Analysts: 7 rows; surprises: 222 rows of a calendar.
        "recommendation_buy": (1, 26),
        "recommendation_over": (0, 11),
        "recommendation_hold": (0, 14),
        "recommendation_under": (0, 1),
        "recommendation_sell": (0, 2),
        "target": (0.97, 2.8),
        "eps_surprise_percent_fq": (-60.0, 60.0),
        "earnings_per_share_forecast_fq": (0.02, 5.0),
        "revenue_forecast_fq": (1e6, 1e11),
        "revenue_surprise_percent_fq": (-20.0, 20.0),
        # Fundamentals: 8 rows.
        "return_on_equity": (-157.0, 40.0),
        "return_on_assets": (-30.0, 30.0),
        "return_on_invested_capital": (-36.0, 30.0),
        "gross_margin_ttm": (15.0, 72.5),
        "operating_margin_ttm": (-60.0, 45.7),
        "net_margin_ttm": (-70.0, 31.7),
        "free_cash_flow_margin_ttm": (-90.0, 28.0),
        "total_revenue_yoy_growth_ttm": (3.9, 30.2),
        "earnings_per_share_diluted_yoy_growth_ttm": (-3.2, 36.3),
        "dividend_payout_ratio_ttm": (0.0, 60.0),
        "debt_to_equity": (0.02, 1.7),
        "current_ratio": (0.9, 10.0),
        "quick_ratio": (0.8, 9.5),
        "market_cap_basic": (1.6e9, 4.3e12),
        "total_revenue_ttm": (1.9e7, 4.2e11),
        "ebitda_ttm": (2.2e7, 7.7e10),
        "total_debt_fq": (5.5e7, 1.3e11),
        "net_debt": (-2.4e11, 5.5e10),
        "price_earnings_ttm": (12.6, 36.1),
        "price_book_fq": (1.4, 10.2),
        "price_sales_current": (2.8, 85.7),
        "price_free_cash_flow_ttm": (21.2, 44.5),
        "price_earnings_growth_ttm": (-1.8, 3.4),
        "enterprise_value_ebitda_ttm": (9.5, 1161.0),
        "beta_1_year": (0.18, 3.2),
        "dividends_yield_current": (0.0, 2.5),
        "float_shares_outstanding": (6.9e7, 1.5e10),
        "number_of_employees": (500, 320_000),
        # Coins: six rows.
        "socialdominance": (0.05, 4.05),
        "24h_vol_cmc": (1e8, 6e10),
        "24h_vol_to_market_cap": (0.005, 0.3),
    }
)
UNRECORDED: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "sentiment": (0, 100),
        "galaxyscore": (0, 100),
        "altrank": (1, 3_500),
        "social_volume_24h": (0, 100_000),
        "interactions": (0, 1e8),
        "tweets": (0, 100_000),
        "contributorsactive": (0, 100_000),
        "contributorscreated": (0, 10_000),
        "postsactive": (0, 100_000),
        "postscreated": (0, 10_000),
        "addresses_active": (0, 1e6),
        "txs_count": (0, 1e6),
    }
)
_QUARTER_TO_RELEASE = timedelta(days=29, hours=20, minutes=5)


def _draws(*seed: object) -> random.Random:
    """Return draws that are the same for the same symbol and time, in every process."""
    return random.Random(" ".join(map(str, seed)))  # noqa: S311 - no secret is drawn


def drawn_technicals(symbol: str, frame: str, opened: int, close: float) -> dict[str, Any]:
    """Return a row of technicals of a bar, by the names without the frame.

    Examples
    --------
    >>> row = drawn_technicals("NASDAQ:AAPL", "1h", 1_600_000_000, 100.0)
    >>> row["Recommend.All"] == (row["Recommend.MA"] + row["Recommend.Other"]) / 2
    True
    """
    now, before = (_draws(symbol, frame, at) for at in (opened, opened - 1))
    average, other = now.randrange(-7, 8) * 2 / 15, now.randrange(-4, 5) / 11
    momentum = close * now.uniform(-0.02, 0.02)
    return {
        "Recommend.MA": average,
        "Recommend.Other": other,
        "Recommend.All": (average + other) / 2,
        "AO": momentum,
        "MACD.macd": momentum / 2,
        "MACD.signal": momentum / 3,
        "ADX": now.uniform(*RANGES["ADX"]),
        "AO[1]": momentum * 0.9,
        **{name: now.uniform(*RANGES[name]) for name in ("RSI", "CCI20")},
        **{name: now.uniform(*RANGES["Stoch.K"]) for name in ("Stoch.K", "Stoch.D")},
        **{f"{name}[1]": before.uniform(*RANGES[name]) for name in ("RSI", "CCI20")},
        **{f"{name}[1]": before.uniform(*RANGES["Stoch.K"]) for name in ("Stoch.K", "Stoch.D")},
    }


def drawn_company(symbol: str, currency: str, at: int, close: float) -> dict[str, Any]:
    """Return what analysts say of a company and what it has reported, as of an instant.

    It changes with each release, a month after each quarter's end, and the targets with the price.
    """
    ended = _quarter_before(at - int(_QUARTER_TO_RELEASE.total_seconds()))
    draws = _draws(symbol, ended)
    end = datetime(ended.year, ended.month, ended.day, tzinfo=UTC)
    released, following = end + _QUARTER_TO_RELEASE, end + timedelta(days=121, hours=12)
    counts = {
        name: draws.randint(*map(int, RANGES[f"recommendation_{name}"]))
        for name in ("buy", "over", "hold", "under", "sell")
    }
    total = sum(counts.values())
    weights = dict(zip(counts, (1, 1.5, 2, 2.5, 3), strict=True))
    average = close * draws.uniform(*RANGES["target"])
    names = [
        *("return_on_equity", "return_on_assets", "return_on_invested_capital"),
        *("gross_margin_ttm", "operating_margin_ttm", "net_margin_ttm"),
        *("free_cash_flow_margin_ttm", "total_revenue_yoy_growth_ttm"),
        *("earnings_per_share_diluted_yoy_growth_ttm", "dividend_payout_ratio_ttm"),
        *("debt_to_equity", "current_ratio", "quick_ratio", "market_cap_basic"),
        *("total_revenue_ttm", "ebitda_ttm", "total_debt_fq", "net_debt", "price_book_fq"),
        *("price_sales_current", "price_free_cash_flow_ttm", "price_earnings_growth_ttm"),
        *("enterprise_value_ebitda_ttm", "beta_1_year", "dividends_yield_current"),
        *("float_shares_outstanding", "number_of_employees"),
    ]
    values = {name: draws.uniform(*RANGES[name]) for name in names}
    ratio = draws.uniform(*RANGES["price_earnings_ttm"])
    return {
        **values,
        "number_of_employees": math.floor(values["number_of_employees"]),
        "net_income_ttm": values["total_revenue_ttm"] * values["net_margin_ttm"] / 100,
        "free_cash_flow_ttm": values["total_revenue_ttm"]
        * values["free_cash_flow_margin_ttm"]
        / 100,
        # Null on losses, as the scanner has it.
        "price_earnings_ttm": ratio if values["net_margin_ttm"] > 0 else None,
        "earnings_per_share_basic_ttm": close / ratio,
        "earnings_per_share_diluted_ttm": close / ratio * 0.99,
        **_surprise("earnings_per_share", "eps", draws),
        **_surprise("revenue", "revenue", draws),
        **{f"recommendation_{name}": count for name, count in counts.items()},
        "recommendation_total": total,
        "recommendation_mark": sum(weights[name] * counts[name] for name in counts) / total,
        "price_target_average": average,
        "price_target_median": average * draws.uniform(0.97, 1.03),
        "price_target_low": average * draws.uniform(0.5, 0.9),
        "price_target_high": average * draws.uniform(1.1, 1.5),
        "fundamental_currency_code": currency,
        "fiscal_period_end_fq": int(end.timestamp()),
        "fiscal_period_end_fy": int(datetime(ended.year - 1, 12, 31, tzinfo=UTC).timestamp()),
        "fiscal_period_end_current": int((end + timedelta(days=91)).timestamp()),
        "earnings_release_date": int(released.timestamp()),
        "earnings_release_next_date": int(following.timestamp()),
        "earnings_release_time": 1,
        "earnings_release_next_time": 0,
        "earnings_release_calendar_date": int(end.timestamp()),
    }


def drawn_coin(symbol: str, at: int) -> dict[str, Any]:
    """Return what is said of a coin on a day; what nobody has ever shown is null."""
    draws = _draws(symbol, at // 86_400)
    recorded = ("socialdominance", "24h_vol_cmc", "24h_vol_to_market_cap")
    found: dict[str, Any] = {name: draws.uniform(*RANGES[name]) for name in recorded}
    whole = {"sentiment", "galaxyscore"}
    for name, (low, high) in UNRECORDED.items():
        found[name] = (
            draws.uniform(low, high) if name in whole else draws.randint(int(low), int(high))
        )
    return found


def _surprise(value: str, name: str, draws: random.Random) -> dict[str, float]:
    expected = draws.uniform(*RANGES[f"{value}_forecast_fq"])
    share = draws.uniform(*RANGES[f"{name}_surprise_percent_fq"])
    return {
        f"{value}_forecast_fq": expected,
        f"{value}_forecast_next_fq": expected * draws.uniform(0.9, 1.1),
        f"{value}_fq": expected * (1 + share / 100),
        f"{name}_surprise_fq": expected * share / 100,
        f"{name}_surprise_percent_fq": share,
    }


def _quarter_before(at: int) -> date:
    """Return the end of the last quarter that had ended by an instant."""
    day = datetime.fromtimestamp(at, UTC).date()
    first = date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
    return first - timedelta(days=1)
