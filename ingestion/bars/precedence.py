"""Which of two sources' bars counts, where both have one of a session."""

from __future__ import annotations

from collections.abc import Iterable

from ingestion.bars.source import Source
from ingestion.catalog import BarSource
from ingestion.catalog.bar_source import FILES_PRIORITY, SCANNER_PRIORITY


class Precedence:
    """The order of sources, by their priority; of equal ones by name, and files come first.

    It does not depend on which source came first.

    Parameters
    ----------
    sources
        Those that are declared; one that is gone counts as one without a priority of its own.

    Examples
    --------
    >>> order = Precedence([BarSource("mine", "my bars", print, priority=60)])
    >>> mine, yours = Source.fetched("mine"), Source.fetched("yours")
    >>> order.is_above(mine, yours), order.is_above(mine, Source.imported("a.csv"))
    (True, False)
    >>> order.is_above(mine, mine)
    False
    """

    def __init__(self, sources: Iterable[BarSource]) -> None:
        self._priorities = {source.name: source.priority for source in sources}

    def place(self, source: Source) -> tuple[int, str]:
        """Return what sorts sources, the first one first; all files are one source."""
        name = source.bar_source
        if name is None:
            return -(SCANNER_PRIORITY if source.is_scanned else FILES_PRIORITY), ""
        return -self._priorities.get(name, BarSource.priority), name

    def is_above(self, one: Source, other: Source) -> bool:
        """Return whether the bars of one source count, and replace those of the other."""
        return self.place(one) < self.place(other)
