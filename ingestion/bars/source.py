"""Where a bar comes from: the text of the column ``source``.

=============================  ================================================================
text                           meaning
=============================  ================================================================
``scanner``                    the daily job brought the bar
``import:FILE``                a person imported it from that file
``fetch:NAME``                 the bar source of that name gave it
… ``;adjusted``                its prices are split-adjusted, because its splits are not known
… ``;assumed_hours``           its session is beyond the end of its exchange's calendar
… ``;splits:FILE``             its split ratio was recorded later, by that file
``refused;`` …                 it waited in ``held_bars``, and was found to be a bad bar
``withdrawn;REASON``           somebody has taken it back
=============================  ================================================================

The additions of a text stand in this order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import to_numpy
from ingestion.catalog import WITHDRAWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SCANNER = "scanner"
_IMPORT, _FETCH = "import:", "fetch:"
_ADJUSTED = ";adjusted"
_ASSUMED_HOURS = ";assumed_hours"
_SPLITS = ";splits:"
_REFUSED = "refused;"


@dataclass(frozen=True)
class Source:
    """Where a bar comes from, and what was done to it.

    Examples
    --------
    >>> source = Source.parse("import:aapl.csv;adjusted;splits:splits.csv")
    >>> source.is_imported, source.adjusted, source.splits_file
    (True, True, 'splits.csv')
    >>> str(source)
    'import:aapl.csv;adjusted;splits:splits.csv'
    """

    origin: str = ""
    """``scanner``, ``import:FILE`` or ``fetch:NAME``; empty if the bar is withdrawn."""
    adjusted: bool = False
    """Whether the prices are split-adjusted, because the splits are not known."""
    assumed_hours: bool = False
    """Whether the session is beyond the end of the exchange's calendar."""
    splits_file: str | None = None
    """The file that recorded the bar's split ratio later."""
    refused: bool = False
    """Whether a bar of ``held_bars`` was found to be a bad one: it waits no longer."""
    withdrawn: str | None = None
    """Why somebody has taken the bar back; None if nobody has."""

    @classmethod
    def imported(cls, *files: str) -> Source:
        """Return the source of what a person imports from files of such names."""
        return cls(f"{_IMPORT}{','.join(files)}")

    @classmethod
    def fetched(cls, name: str) -> Source:
        """Return the source of what the bar source of that name gives."""
        return cls(f"{_FETCH}{name}")

    @classmethod
    def parse(cls, text: str) -> Source:
        """Read the text of the column; :class:`str` gives it back."""
        return _parsed(text)

    def __str__(self) -> str:
        if self.withdrawn is not None:
            return f"{WITHDRAWN}{self.withdrawn}"
        additions = (
            *(_ADJUSTED if self.adjusted else "", _ASSUMED_HOURS if self.assumed_hours else ""),
            "" if self.splits_file is None else f"{_SPLITS}{self.splits_file}",
        )
        return f"{_REFUSED if self.refused else ''}{self.origin}{''.join(additions)}"

    @property
    def is_scanned(self) -> bool:
        """Whether the daily job brought the bar."""
        return self.origin == _SCANNER

    @property
    def is_imported(self) -> bool:
        """Whether a file or a bar source brought the bar."""
        return self.origin.startswith((_IMPORT, _FETCH))

    @property
    def kind(self) -> str:
        """``scanner``, ``import`` whatever the file, or ``fetch:NAME``.

        Examples
        --------
        >>> Source.parse("import:aapl.csv").kind, Source.parse("fetch:yahoo").kind
        ('import', 'fetch:yahoo')
        """
        return "import" if self.origin.startswith(_IMPORT) else self.origin

    @property
    def bar_source(self) -> str | None:
        """The name of the bar source that gave the bar; None if it is not of one."""
        return self.origin.removeprefix(_FETCH) if self.origin.startswith(_FETCH) else None


SCANNER = Source(_SCANNER)
"""The source of the bars that the daily job brings."""


@lru_cache(maxsize=1 << 12)
def _parsed(text: str) -> Source:
    if text.startswith(WITHDRAWN):
        return Source(withdrawn=text.removeprefix(WITHDRAWN))
    bar, splits, file = text.partition(_SPLITS)
    refused = bar.startswith(_REFUSED)
    bar, assumed_hours = _without(bar.removeprefix(_REFUSED), _ASSUMED_HOURS)
    origin, adjusted = _without(bar, _ADJUSTED)
    return Source(origin, adjusted, assumed_hours, file if splits else None, refused)


def _without(text: str, addition: str) -> tuple[str, bool]:
    return text.removesuffix(addition), text.endswith(addition)


def of_each_source(sources: pa.ChunkedArray, answer: Callable[[Source], Any]) -> NDArray[Any]:
    """Return an answer per row of a column of sources; each distinct text is asked once.

    Examples
    --------
    >>> column = pa.chunked_array([["scanner", "import:aapl.csv", "scanner"]])
    >>> of_each_source(column, lambda source: source.is_scanned).tolist()
    [True, False, True]
    """
    encoded = sources.combine_chunks().dictionary_encode()
    answers = [answer(Source.parse(text)) for text in encoded.dictionary.to_pylist()]
    found: NDArray[Any] = np.array(answers or [answer(SCANNER)])[to_numpy(encoded.indices)]
    return found


def with_assumed_hours(sources: pa.Array, which: NDArray[np.bool_]) -> pa.Array:
    """Return a column of new bars' sources, marked where the hours of the session are assumed."""
    marked = pc.binary_join_element_wise(sources, _ASSUMED_HOURS, "")
    return pc.if_else(pa.array(which), marked, sources)
