"""Which symbols could be chosen at a decision: what every such choice says."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.arrow import to_numpy


class Choice(Protocol):
    """Which symbols could be chosen when."""

    def was_active(
        self, names: pa.Array, codes: NDArray[np.integer], times: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which symbols could be chosen at which times; also where that is unknown.

        Parameters are those of :meth:`~ingestion.lakehouse.membership.Membership.was_member`.
        """

    def is_known(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return at which times it is known who could be chosen."""


def active_rows(
    choice: Choice, symbols: pa.ChunkedArray, times: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return of which rows the symbols could be chosen at the rows' times; also where unknown.

    Parameters
    ----------
    symbols, times
        Of each row; shape ``(n,)``, times in Unix µs.

    Examples
    --------
    >>> from ingestion.datasets import Universe
    >>> symbols = pa.chunked_array([["NYSE:KO", "NYSE:PEP"]])
    >>> active_rows(Universe.fixed(["NYSE:KO"]), symbols, np.array([0, 0])).tolist()
    [True, False]
    """
    encoded = symbols.cast(pa.string()).combine_chunks().dictionary_encode()
    return choice.was_active(encoded.dictionary, to_numpy(encoded.indices), times)
