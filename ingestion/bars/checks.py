"""What a single bar must satisfy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.arrays import VALUES, Bars
from ingestion.bars.refusals import ACCEPTED, CODES, Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-9
"""Relative; vendors' own arithmetic leaves a close a rounding error above its high."""


def check_values(
    bars: Bars, unreadable: NDArray[np.bool_], is_fx: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Judge prices, volume and split ratio of each bar.

    In place: a missing volume becomes 0 where ``is_fx`` (dealers have none), a split ratio of 0
    becomes 1 (how vendors write that there was none).

    Parameters
    ----------
    unreadable
        Shape ``(n,)``: a cell holds text that is no number.
    is_fx
        Shape ``(n,)``.

    Returns
    -------
    NDArray[np.int8]
        The code of the first :class:`Reason` against each bar, or :data:`ACCEPTED`.
    """
    bars.volume[is_fx & np.isnan(bars.volume)] = 0.0
    bars.split_ratio[bars.split_ratio == 0] = 1.0
    prices = np.stack([bars.open, bars.high, bars.low, bars.close])
    with np.errstate(invalid="ignore", over="ignore"):
        slack = 1 + TOLERANCE
        reasons = (
            (Reason.NUMBER, unreadable | np.isnan(prices).any(axis=0)),
            (Reason.PRICE, ~(np.isfinite(prices) & (prices > 0)).all(axis=0)),
            (Reason.VOLUME, ~(np.isfinite(bars.volume) & (bars.volume >= 0))),
            (Reason.SPLIT, (bars.split_ratio <= 0) | np.isinf(bars.split_ratio)),
            (
                Reason.OHLC,
                (bars.high * slack < np.maximum(bars.open, bars.close))
                | (bars.low > np.minimum(bars.open, bars.close) * slack)
                | (bars.high * slack < bars.low),
            ),
        )
    verdict = np.full(len(bars), ACCEPTED)
    for reason, against in reversed(reasons):
        verdict[against] = CODES[reason]
    return verdict


def describe(bars: Bars, at: int) -> str:
    """Return a bar's values, for a refusal."""
    values = ((name, float(getattr(bars, name)[at])) for name in VALUES)
    return ", ".join(f"{name} {value:.10g}" for name, value in values if not np.isnan(value))
