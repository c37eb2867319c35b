"""Feature services: what is asked for together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingestion.base.errors import CatalogError

USES = ("selection", "labels", "target")
"""Commands that have a service of their own if none is named: ``select``, and ``training-set`` with
``--labels`` or ``--target``."""


@dataclass(frozen=True)
class Service:
    """Features of one group or of several, read together.

    Parameters
    ----------
    parts
        Groups, for all of their features, and single ones as ``group:feature``.
    default_for
        What uses it where no service is named, of :data:`USES`.
    rank_by
        The feature by which ``select`` ranks its symbols.
    shown
        Features that ``select`` shows beside it.

    Examples
    --------
    >>> Service("mine_v1", ["tv_technicals_1d", "local_1d:returns_1d"]).groups
    ('tv_technicals_1d', 'local_1d')
    """

    name: str
    parts: Sequence[str]
    meaning: str = ""
    default_for: Sequence[str] = ()
    rank_by: str | None = None
    shown: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        object.__setattr__(self, "default_for", tuple(self.default_for))
        object.__setattr__(self, "shown", tuple(self.shown))
        if not self.parts:
            raise CatalogError(f"the service {self.name} has no parts")
        if unknown := set(self.default_for) - set(USES):
            raise CatalogError(
                f"{self.name} is the default for {sorted(unknown)[0]!r}, which is none of "
                f"{', '.join(USES)}"
            )

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of its groups; the rows of the first say which symbols are current."""
        return tuple(dict.fromkeys(part.partition(":")[0] for part in self.parts))

    def features_of(self, group: str) -> tuple[str, ...]:
        """Return the single features of a group that it names; empty for all of them.

        Examples
        --------
        >>> Service("mine_v1", ["mine", "local_1d:RSI", "local_1d:ADX"]).features_of("local_1d")
        ('RSI', 'ADX')
        """
        split = (part.partition(":") for part in self.parts)
        return tuple(feature for name, _, feature in split if name == group and feature)
