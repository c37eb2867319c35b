"""The same seventeen features, bar by bar, in plain Python: slow, obvious, and written apart.

Lists hold one symbol's bars, ``None`` is "undefined". Every average is summed anew from its own
bars with ``math.fsum``, and every vote is spelled out as the protocol's brief words it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Value = float | None
Series = list[Value]

DAY = 86_400


def window(x: Sequence[Value], t: int, n: int) -> list[float] | None:
    """The last n values up to t, or None if one of them is missing."""
    if t - n + 1 < 0:
        return None
    values = [v for v in x[t - n + 1 : t + 1] if v is not None]
    return values if len(values) == n else None


def rolling(x: Sequence[Value], n: int, of: Callable[[list[float]], Value]) -> Series:
    return [of(w) if (w := window(x, t, n)) is not None else None for t in range(len(x))]


def mean(values: Sequence[float]) -> float:
    if min(values) == max(values):
        return values[0]
    return math.fsum(values) / len(values)


def over(a: Value, b: Value) -> Value:
    return None if a is None or b is None or b == 0 else a / b


def minus(a: Sequence[Value], b: Sequence[Value]) -> Series:
    return [None if p is None or q is None else p - q for p, q in zip(a, b, strict=True)]


def back(x: Sequence[Value], n: int) -> Series:
    return [x[t - n] if t >= n else None for t in range(len(x))]


def smoothed(x: Sequence[Value], n: int, alpha: float) -> Series:
    """Recursion seeded with the mean of the first n defined values."""
    out: Series = []
    seen: list[float] = []
    for value in x:
        if value is None:
            out.append(None)
            continue
        seen.append(value)
        if len(seen) < n:
            out.append(None)
        elif len(seen) == n:
            out.append(mean(seen))
        else:
            out.append(out[-1] + alpha * (value - out[-1]))
    return out


def ema(x: Sequence[Value], n: int) -> Series:
    return smoothed(x, n, 2 / (n + 1))


def rma(x: Sequence[Value], n: int) -> Series:
    return smoothed(x, n, 1 / n)


def sma(x: Sequence[Value], n: int) -> Series:
    return rolling(x, n, mean)


def wma(x: Sequence[Value], n: int) -> Series:
    def weighted(values: list[float]) -> float:
        if min(values) == max(values):
            return values[0]
        return math.fsum((i + 1) * v for i, v in enumerate(values)) / sum(range(1, n + 1))

    return rolling(x, n, weighted)


def hma(x: Sequence[Value], n: int) -> Series:
    half, full = wma(x, n // 2), wma(x, n)
    inner = [None if a is None or b is None else 2 * a - b for a, b in zip(half, full, strict=True)]
    return wma(inner, math.isqrt(n))


def vwma(price: Sequence[float], volume: Sequence[float], n: int) -> Series:
    out: Series = []
    for t in range(len(price)):
        p, v = window(price, t, n), window(volume, t, n)
        if p is None or v is None or sum(v) == 0:
            out.append(None)
        elif min(p) == max(p):
            out.append(p[0])
        else:
            out.append(math.fsum(a * b for a, b in zip(p, v, strict=True)) / math.fsum(v))
    return out


def rsi(close: Sequence[float], n: int = 14) -> Series:
    change = minus(close, back(close, 1))
    ups = rma([None if c is None else max(c, 0.0) for c in change], n)
    downs = rma([None if c is None else max(-c, 0.0) for c in change], n)
    out: Series = []
    for up, down in zip(ups, downs, strict=True):
        if up is None or down is None:
            out.append(None)
        elif down == 0:
            out.append(100.0)
        elif up == 0:
            out.append(0.0)
        else:
            out.append(100 * up / (up + down))
    return out


def stoch(close: Sequence[Value], high: Sequence[Value], low: Sequence[Value], n: int) -> Series:
    out: Series = []
    for t in range(len(close)):
        highs, lows, last = window(high, t, n), window(low, t, n), close[t]
        if highs is None or lows is None or last is None or max(highs) == min(lows):
            out.append(None)
        else:
            # The quotient first: at the edge of the range it is exactly 1, and %K ties with %D.
            out.append(100 * ((last - min(lows)) / (max(highs) - min(lows))))
    return out


def cci(x: Sequence[float], n: int = 20) -> Series:
    def index(values: list[float]) -> Value:
        m = mean(values)
        return over(values[-1] - m, 0.015 * math.fsum(abs(v - m) for v in values) / n)

    return rolling(x, n, index)


def williams(
    close: Sequence[float], high: Sequence[float], low: Sequence[float], n: int = 14
) -> Series:
    return [None if s is None else s - 100 for s in stoch(close, high, low, n)]


def true_ranges(high: Sequence[float], low: Sequence[float], close: Sequence[float]) -> Series:
    return [
        None if t == 0 else max(high[t], close[t - 1]) - min(low[t], close[t - 1])
        for t in range(len(close))
    ]


def directional(
    high: Sequence[float], low: Sequence[float], close: Sequence[float], n: int = 14
) -> tuple[Series, Series, Series]:
    plus_moves: Series = [None]
    minus_moves: Series = [None]
    for t in range(1, len(close)):
        up, down = high[t] - high[t - 1], low[t - 1] - low[t]
        plus_moves.append(up if up > down and up > 0 else 0.0)
        minus_moves.append(down if down > up and down > 0 else 0.0)
    ranges = rma(true_ranges(high, low, close), n)

    def line(moves: Series) -> Series:
        out: Series = []
        for move, ranged in zip(rma(moves, n), ranges, strict=True):
            value = over(move, ranged)
            out.append(100 * value if value is not None else (out[-1] if out else None))
        return out

    plus, minus_ = line(plus_moves[: len(close)]), line(minus_moves[: len(close)])
    dx: Series = [
        None if p is None or m is None else abs(p - m) / (p + m if p + m != 0 else 1)
        for p, m in zip(plus, minus_, strict=True)
    ]
    return plus, minus_, [None if v is None else 100 * v for v in rma(dx, n)]


def ultimate(close: Sequence[float], low: Sequence[float], ranges: Sequence[Value]) -> Series:
    pressure = [c - (min(low[t], close[t - 1]) if t else low[t]) for t, c in enumerate(close)]
    out: Series = []
    for t in range(len(close)):
        parts = []
        for n in (7, 14, 28):
            r, p = window(ranges, t, n), window(pressure, t, n)
            parts.append(None if r is None or p is None else over(math.fsum(p), math.fsum(r)))
        if any(part is None for part in parts):
            out.append(None)
        else:
            a, b, c = parts
            out.append(100 * (4 * a + 2 * b + c) / 7)
    return out


def average_votes(
    close: Sequence[float], high: Sequence[float], low: Sequence[float], volume: Sequence[float]
) -> list[Series]:
    averages = [f(close, n) for f in (sma, ema) for n in (10, 20, 30, 50, 100, 200)]
    averages += [hma(close, 9), vwma(close, volume, 20)]
    votes: list[Series] = [
        [None if m is None else float((c > m) - (c < m)) for c, m in zip(close, a, strict=True)]
        for a in averages
    ]

    def donchian(n: int) -> Series:
        highs, lows = rolling(high, n, max), rolling(low, n, min)
        return [
            None if h is None or lo is None else (h + lo) / 2
            for h, lo in zip(highs, lows, strict=True)
        ]

    ichimoku: Series = []
    for t, (conv, base, lead2) in enumerate(
        zip(donchian(9), donchian(26), donchian(52), strict=True)
    ):
        if conv is None or base is None or lead2 is None:
            ichimoku.append(None)
            continue
        lead1 = (conv + base) / 2
        c, before = close[t], close[t - 1]
        buy = lead1 > lead2 and c > lead1 and base > lead1 and conv > base and before < conv < c
        sell = lead1 < lead2 and c < lead1 and base < lead1 and conv < base and before > conv > c
        ichimoku.append(float(buy - sell))
    return [*votes, ichimoku]


def vote(buy: Callable[..., bool], sell: Callable[..., bool], *reads: Sequence[Value]) -> Series:
    return [
        None if any(v is None for v in values) else float(buy(*values)) - float(sell(*values))
        for values in zip(*reads, strict=True)
    ]


def rating(votes: Sequence[Series]) -> Series:
    out: Series = []
    for at_bar in zip(*votes, strict=True):
        counted = [v for v in at_bar if v is not None]
        out.append(sum(counted) / len(counted) if counted else None)
    return out


def oscillator_votes(
    close: list[float],
    high: list[float],
    low: list[float],
    ao: Series,
    macd: Series,
    signal: Series,
) -> list[Series]:
    index = rsi(close)
    commodity = cci(hlc3(high, low, close))
    percent_r = williams(close, high, low)
    k8 = sma(stoch(close, high, low, 8), 3)
    plus, minus_, adx = directional(high, low, close)
    mom = minus(close, back(close, 10))
    trend, ema13 = ema(close, 50), ema(close, 13)
    rk = sma(stoch(index, index, index, 14), 3)
    bull, bear = minus(high, ema13), minus(low, ema13)

    ao_votes: Series = []
    for t in range(len(close)):
        now, one, two = ao[t], *(ao[t - i] if t >= i else None for i in (1, 2))
        if now is None or one is None:
            ao_votes.append(None)
            continue
        turned_up, turned_down = now > one, now < one
        if two is None:
            saucer_up = saucer_down = False
        else:
            saucer_up = now > 0 and one > 0 and turned_up and two > one
            saucer_down = now < 0 and one < 0 and turned_down and two < one
        buy = (one <= 0 < now) or saucer_up
        sell = (one >= 0 > now) or saucer_down
        ao_votes.append(float(buy) - float(sell))

    return [
        vote(lambda a, b: a < 30 and a > b, lambda a, b: a > 70 and a < b, index, back(index, 1)),
        vote(
            lambda k, d: k < 20 and d < 20 and k > d,
            lambda k, d: k > 80 and d > 80 and k < d,
            k8,
            sma(k8, 3),
        ),
        vote(
            lambda a, b: a < -100 and a > b,
            lambda a, b: a > 100 and a < b,
            commodity,
            back(commodity, 1),
        ),
        vote(
            lambda a, b, p, m: a > 20 and a > b and p > m,
            lambda a, b, p, m: a > 20 and a > b and p < m,
            adx,
            back(adx, 1),
            plus,
            minus_,
        ),
        ao_votes,
        vote(lambda a, b: a > b, lambda a, b: a < b, mom, back(mom, 1)),
        vote(lambda a, b: a > b, lambda a, b: a < b, macd, signal),
        vote(
            lambda c, e, k, d: c < e and k < 20 and d < 20 and k > d,
            lambda c, e, k, d: c > e and k > 80 and d > 80 and k < d,
            close,
            trend,
            rk,
            sma(rk, 3),
        ),
        vote(
            lambda a, b: a < -80 and a > b,
            lambda a, b: a > -20 and a < b,
            percent_r,
            back(percent_r, 1),
        ),
        vote(
            lambda c, e, u, u1, d, d1: c > e and d < 0 and d > d1,
            lambda c, e, u, u1, d, d1: c < e and u > 0 and u < u1,
            close,
            trend,
            bull,
            back(bull, 1),
            bear,
            back(bear, 1),
        ),
        vote(
            lambda a: a > 70, lambda a: a < 30, ultimate(close, low, true_ranges(high, low, close))
        ),
    ]


def hlc3(high: Sequence[float], low: Sequence[float], close: Sequence[float]) -> list[float]:
    return [(h + lo + c) / 3 for h, lo, c in zip(high, low, close, strict=True)]


def performance(
    open_: Sequence[float],
    close: Sequence[float],
    opened: Sequence[int],
    closed: Sequence[int],
    days: int,
) -> Series:
    out: Series = []
    for t in range(len(close)):
        before = [i for i in range(t) if opened[i] < closed[t] - days * DAY]
        if opened[t] < closed[t] - days * DAY or t == 0:
            out.append(None)
            continue
        base = open_[before[-1] if before else 0]
        out.append(over(close[t] - base, abs(base) / 100) if not base < 0 < close[t] else None)
    return out


def features(bars: dict[str, list]) -> dict[str, Series]:
    """All features of one symbol's bars, which are in order."""
    factors: list[float] = []
    for r in bars["split_ratio"]:
        factors.append((factors[-1] if factors else 1.0) * r)
    open_, high, low, close = (
        [p * f for p, f in zip(bars[name], factors, strict=True)]
        for name in ("open", "high", "low", "close")
    )
    volume = [v / f for v, f in zip(bars["volume"], factors, strict=True)]

    def own_money(x: Series) -> Series:
        return [None if v is None else v / f for v, f in zip(x, factors, strict=True)]

    def returns(n: int) -> Series:
        return [
            None if (q := over(c, p)) is None else q - 1
            for c, p in zip(close, back(close, n), strict=True)
        ]

    def deviation(values: list[float]) -> float:
        m = mean(values)
        return math.sqrt(math.fsum((v - m) ** 2 for v in values) / (len(values) - 1))

    hl2 = [(h + lo) / 2 for h, lo in zip(high, low, strict=True)]
    ao = minus(sma(hl2, 5), sma(hl2, 34))
    macd = minus(ema(close, 12), ema(close, 26))
    signal = ema(macd, 9)
    k = sma(stoch(close, high, low, 14), 3)
    ranges = [high[0] - low[0], *true_ranges(high, low, close)[1:]]
    ma = rating(average_votes(close, high, low, volume))
    other = rating(oscillator_votes(close, high, low, ao, macd, signal))
    times = bars["timestamp"], bars["close_timestamp"]
    return {
        "returns_1d": returns(1),
        "volatility_20d": rolling(returns(1), 20, deviation),
        "momentum_60d": returns(60),
        "Recommend.All": [
            None if a is None or b is None else (a + b) / 2 for a, b in zip(ma, other, strict=True)
        ],
        "Recommend.MA": ma,
        "Recommend.Other": other,
        "RSI": rsi(close),
        "ADX": directional(high, low, close)[2],
        "AO": own_money(ao),
        "CCI20": cci(hlc3(high, low, close)),
        "Stoch.K": k,
        "Stoch.D": sma(k, 3),
        "MACD.macd": own_money(macd),
        "MACD.signal": own_money(signal),
        "Volatility.D": [over(100 * r, abs(lo)) for r, lo in zip(ranges, low, strict=True)],
        "Perf.W": performance(open_, close, *times, 7),
        "Perf.1M": performance(open_, close, *times, 30),
    }
