"""Other rules for the votes of the ratings: earlier ones of TradingView's, and made ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ingestion.formulas import Bars, oscillators
from ingestion.formulas.windows import Matrix, shift, smas

Sides = tuple[np.ndarray, np.ndarray]
"""Where a rule says buy, and where it says sell."""


class OtherRule(NamedTuple):
    """How a vote could be cast instead."""

    vote: str
    rule: Callable[[Bars], Sides]


def cast(bars: Bars, other: OtherRule) -> np.ndarray:
    """Return the vote by another rule: 1, 0 or -1; shape (bars, symbols)."""
    buy, sell = other.rule(bars)
    return buy.astype(int) - sell.astype(int)


def _crosses(one: Matrix, other: Matrix) -> np.ndarray:
    return (one > other) & (shift(one, 1) <= shift(other, 1))


def _rsi(bars: Bars, low: float, high: float) -> Sides:
    rsi = oscillators.rsi(bars)
    before = shift(rsi, 1)
    return (rsi < low) & (rsi > before), (rsi > high) & (rsi < before)


def _rsi_leaves(bars: Bars) -> Sides:
    rsi = oscillators.rsi(bars)
    before = shift(rsi, 1)
    return (rsi > 30) & (before <= 30), (rsi < 70) & (before >= 70)


def _stochastic(bars: Bars, length: int, low: float, *, cross: bool = False) -> Sides:
    k, d = oscillators.smoothed_stochastic(bars.close, bars.high, bars.low, length)
    up, down = (_crosses(k, d), _crosses(d, k)) if cross else (k > d, k < d)
    return (k < low) & (d < low) & up, (k > 100 - low) & (d > 100 - low) & down


def _cci(bars: Bars, limit: float, *, turning: bool) -> Sides:
    cci = oscillators.cci(bars)
    before = shift(cci, 1)
    return (cci < -limit) & ((cci > before) | (not turning)), (cci > limit) & (
        (cci < before) | (not turning)
    )


def _adx(bars: Bars, limit: float, *, cross: bool = False, rising: bool = True) -> Sides:
    adx, (plus, minus) = oscillators.directional_index(bars), oscillators.directions(bars)
    up, down = (
        (_crosses(plus, minus), _crosses(minus, plus)) if cross else (plus > minus, plus < minus)
    )
    trending = (adx > limit) & ((adx > shift(adx, 1)) | (not rising))
    return trending & up, trending & down


def _awesome(bars: Bars, *, cross: bool) -> Sides:
    ao = oscillators.awesome(bars)
    if not cross:
        return ao > 0, ao < 0
    before = shift(ao, 1)
    return (ao > 0) & (before <= 0), (ao < 0) & (before >= 0)


def _momentum_falls(bars: Bars) -> Sides:
    momentum = oscillators.momentum(bars.close)
    before = shift(momentum, 1)
    return momentum < before, momentum > before


def _macd_crosses(bars: Bars) -> Sides:
    macd, signal = oscillators.macd(bars), oscillators.macd_signal(bars)
    return _crosses(macd, signal), _crosses(signal, macd)


def _stochastic_rsi(bars: Bars, *, cross: bool, trend: bool) -> Sides:
    k, d = oscillators.stochastic_rsi(oscillators.rsi(bars))
    average = oscillators.exponential_averages(bars)[50]
    up, down = (_crosses(k, d), _crosses(d, k)) if cross else (k > d, k < d)
    falling, rising = bars.close < average, bars.close > average
    return (
        (k < 20) & (d < 20) & up & (falling | (not trend)),
        (k > 80) & (d > 80) & down & (rising | (not trend)),
    )


def _williams(bars: Bars, limit: float, *, turning: bool) -> Sides:
    r = oscillators.williams_r(bars.close, bars.high, bars.low)
    before = shift(r, 1)
    return (r < -100 + limit) & ((r > before) | (not turning)), (r > -limit) & (
        (r < before) | (not turning)
    )


def _bull_bear_without_trend(bars: Bars) -> Sides:
    average = oscillators.exponential_averages(bars)[13]
    bull, bear = bars.high - average, bars.low - average
    return (bear < 0) & (bear > shift(bear, 1)), (bull > 0) & (bull < shift(bull, 1))


def _ultimate(bars: Bars, limit: float) -> Sides:
    uo = oscillators.ultimate(bars.close, bars.low, oscillators.true_ranges(bars))
    return uo > limit, uo < 100 - limit


def _against_sma(bars: Bars, length: int) -> Sides:
    (average,) = smas(bars.close, (length,))
    return bars.close > average, bars.close < average


def _against_ema(bars: Bars, length: int) -> Sides:
    average = oscillators.exponential_averages(bars)[length]
    return bars.close > average, bars.close < average


OTHER_RULES: Mapping[str, OtherRule] = {
    "RSI at 35 and 65": OtherRule("RSI", lambda bars: _rsi(bars, 35, 65)),
    "RSI leaves its zone": OtherRule("RSI", _rsi_leaves),
    "Stoch crosses": OtherRule("Stoch", lambda bars: _stochastic(bars, 8, 20, cross=True)),
    "Stoch at 25": OtherRule("Stoch", lambda bars: _stochastic(bars, 8, 25)),
    "Stoch of 14": OtherRule("Stoch", lambda bars: _stochastic(bars, 14, 20)),
    "CCI beyond 100": OtherRule("CCI20", lambda bars: _cci(bars, 100, turning=False)),
    "CCI at 150": OtherRule("CCI20", lambda bars: _cci(bars, 150, turning=True)),
    "ADX crosses": OtherRule("ADX", lambda bars: _adx(bars, 20, cross=True, rising=False)),
    "ADX at 25": OtherRule("ADX", lambda bars: _adx(bars, 25)),
    "ADX falling too": OtherRule("ADX", lambda bars: _adx(bars, 20, rising=False)),
    "AO without saucer": OtherRule("AO", lambda bars: _awesome(bars, cross=True)),
    "AO by its sign": OtherRule("AO", lambda bars: _awesome(bars, cross=False)),
    "Mom reversed": OtherRule("Mom", _momentum_falls),
    "MACD crosses": OtherRule("MACD", _macd_crosses),
    "Stoch.RSI crosses": OtherRule(
        "Stoch.RSI", lambda bars: _stochastic_rsi(bars, cross=True, trend=True)
    ),
    "Stoch.RSI without trend": OtherRule(
        "Stoch.RSI", lambda bars: _stochastic_rsi(bars, cross=False, trend=False)
    ),
    "W.R beyond 20": OtherRule("W.R", lambda bars: _williams(bars, 20, turning=False)),
    "W.R at 10": OtherRule("W.R", lambda bars: _williams(bars, 10, turning=True)),
    "BBPower without trend": OtherRule("BBPower", _bull_bear_without_trend),
    "UO at 65": OtherRule("UO", lambda bars: _ultimate(bars, 65)),
    "SMA10 of 12": OtherRule("SMA10", lambda bars: _against_sma(bars, 12)),
    "SMA10 of 20": OtherRule("SMA10", lambda bars: _against_sma(bars, 20)),
    "SMA200 of 150": OtherRule("SMA200", lambda bars: _against_sma(bars, 150)),
    "SMA50 exponential": OtherRule("SMA50", lambda bars: _against_ema(bars, 50)),
    "EMA10 simple": OtherRule("EMA10", lambda bars: _against_sma(bars, 10)),
    "EMA200 simple": OtherRule("EMA200", lambda bars: _against_sma(bars, 200)),
    "HullMA9 simple": OtherRule("HullMA9", lambda bars: _against_sma(bars, 10)),
    "VWMA simple": OtherRule("VWMA", lambda bars: _against_sma(bars, 20)),
}
"""By what is other; those of 2021 and 2024 among them: momentum reversed, RSI, AO, and the cross
of the stochastic, the directional and the stochastic RSI's vote."""
