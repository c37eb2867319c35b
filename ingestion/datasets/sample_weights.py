"""Weights of rows whose labels overlap: what many rows know at once is one piece of news.

Source: M. López de Prado, Advances in Financial Machine Learning (2018), chapter 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.errors import InputError
from ingestion.datasets.splits import Integers, LabelSpans

Doubles = NDArray[np.float64]
Series: TypeAlias = Sequence[object] | NDArray[Any] | pa.ChunkedArray


def uniqueness(spans: LabelSpans, series: Series | None = None) -> Doubles:
    """Return how unique each row's label is: the mean, over its span, of 1 / labels at a time.

    Time goes from decision to decision of the row's own series: at each of these instants, all
    labels of the series count whose span includes it.

    Parameters
    ----------
    series
        What each row is a label of, such as its symbol; shape ``(n,)``. None is one series.

    Returns
    -------
    Doubles
        Above 0, and 1 for a label that overlaps no other; shape ``(n,)``.

    Raises
    ------
    InputError
        If ``series`` is of another length.

    Examples
    --------
    >>> uniqueness(LabelSpans([0, 10, 20], [9, 20, 25])).tolist()
    [1.0, 0.75, 0.5]
    """
    if not len(spans):
        return np.zeros(0)
    begins = np.diff(spans.sorted_decided, prepend=spans.sorted_decided[0] - 1) > 0
    times, first = spans.sorted_decided[begins], np.cumsum(begins) - 1
    behind, instants = np.searchsorted(times, spans.sorted_ends, side="right"), len(times)
    if series is not None:
        # The instants of each series, one series after another: a span is some side by side.
        code = _codes(series, len(spans))[spans.order] * instants
        own, first = np.unique(first + code, return_inverse=True)
        behind, instants = np.searchsorted(own, behind + code), len(own)
    begun = np.bincount(first, minlength=instants + 1)
    ended = np.bincount(behind, minlength=instants + 1)
    shares = np.concatenate([[0.0], np.cumsum(1 / np.cumsum(begun - ended)[:-1])])
    unique = np.empty(len(spans))
    unique[spans.order] = (shares[behind] - shares[first]) / (behind - first)
    return unique


def return_weights(
    spans: LabelSpans,
    returns: Sequence[float] | Doubles,
    series: Series | None = None,
) -> Doubles:
    """Return weights by how much of a return each row alone accounts for; their mean is 1.

    That is its absolute return times its uniqueness: the return is taken as earned evenly over the
    span, and at each time as shared by all labels of the series.

    Parameters
    ----------
    returns
        Of the labels, finite; shape ``(n,)``.
    series
        As of :func:`uniqueness`.

    Raises
    ------
    InputError
        If ``returns`` is of another length, has a value that is not finite, or is all 0.

    Examples
    --------
    >>> return_weights(LabelSpans([0, 10], [5, 15]), [0.01, -0.03]).tolist()
    [0.5, 1.5]
    """
    size = np.abs(np.asarray(returns, np.float64))
    if size.shape != spans.decided.shape:
        raise InputError(f"{len(size):,} returns cannot weigh {len(spans):,} rows")
    if len(bad := np.flatnonzero(~np.isfinite(size))):
        raise InputError(f"row {bad[0]}: its return is not finite; leave it out")
    weights = size * uniqueness(spans, series)
    if len(weights) and not weights.any():
        raise InputError("all returns are 0, so none accounts for more than another")
    weighed: Doubles = weights / weights.mean() if len(weights) else weights
    return weighed


def _codes(series: Series, rows: int) -> Integers:
    if len(series) != rows:
        raise InputError(f"{len(series):,} series are given for {rows:,} rows")
    given = series if isinstance(series, pa.ChunkedArray) else pa.chunked_array([pa.array(series)])
    encoded = given.dictionary_encode(null_encoding="encode").combine_chunks()
    codes: Integers = encoded.indices.to_numpy().astype(np.int64)
    return codes
