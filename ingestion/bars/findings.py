"""What an import has to say beside its counts: a name, how often, and the first few."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

EXAMPLES = 20
"""Of each finding, in the receipt and for ``--json``."""
_SHOWN = 5
"""Of each finding, for people."""


@dataclass
class Finding:
    """One kind of thing that was found."""

    name: str
    """In the receipt and for ``--json``."""
    text: str
    """For people, after the count: ``symbols taken from the names of files``."""
    count: int = 0
    examples: list[str] = field(default_factory=list)
    """The first :data:`EXAMPLES`."""

    def __str__(self) -> str:
        shown = ", ".join(self.examples[:_SHOWN])
        more = ", …" if self.count > _SHOWN else ""
        return f"{self.count:,} {self.text}{f': {shown}{more}' if shown else ''}"


class Findings:
    """All findings of an import, in the order in which their kinds were met."""

    def __init__(self) -> None:
        self._kinds: dict[str, Finding] = {}

    def add(
        self, name: str, text: str, found: Iterable[str] = (), count: int | None = None
    ) -> None:
        """Add to a kind.

        Parameters
        ----------
        name, text
            As of :class:`Finding`; each name has one text.
        found
            What was found, a short text each; only the first are kept.
        count
            How many, where not each has a text.
        """
        found = list(found)
        count = len(found) if count is None else count
        if not count:
            return
        kind = self._kinds.setdefault(name, Finding(name, text))
        kind.count += count
        kind.examples += found[: EXAMPLES - len(kind.examples)]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._kinds.values())

    def document(self) -> dict[str, Any]:
        """Return all of it for a receipt, or for ``--json``."""
        return {each.name: {"count": each.count, "examples": each.examples} for each in self}
