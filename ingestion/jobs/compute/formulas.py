"""Which formula each recomputed feature comes from, as its function tells."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from ingestion.formulas import directional, oscillators, ratings, returns

FORMULAS: MappingProxyType[str, Callable[..., Any]] = MappingProxyType(
    {
        "returns_1d": returns.simple_return,
        "volatility_20d": returns.sample_deviation,
        "momentum_60d": returns.simple_return,
        "Recommend.All": ratings.rating,
        "Recommend.MA": ratings.rating,
        "Recommend.Other": ratings.rating,
        "RSI": oscillators.rsi,
        "ADX": directional.adx,
        "AO": oscillators.awesome,
        "CCI20": oscillators.cci,
        "Stoch.K": oscillators.smoothed_stochastic,
        "Stoch.D": oscillators.smoothed_stochastic,
        "MACD.macd": oscillators.macd,
        "MACD.signal": oscillators.macd,
        "Volatility.D": returns.daily_volatility,
        "Perf.W": returns.performance,
        "Perf.1M": returns.performance,
    }
)
"""The function whose result, or whose result's part, the feature is."""


def formula_of(feature: str) -> str:
    """Return where a recomputed feature comes from: function, and what its docstring says.

    Its first paragraphs, up to the sections on parameters and results.
    """
    function = FORMULAS[feature]
    text = inspect.getdoc(function) or ""
    prose = text.partition("\nParameters\n")[0].partition("\nReturns\n")[0]
    return f"{function.__module__}.{function.__name__}: {' '.join(prose.split())}"
