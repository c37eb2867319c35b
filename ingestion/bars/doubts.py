"""What an import doubts: splits, leaps, and what it would change of the stored past."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ingestion.bars.judging import Prepared
from ingestion.bars.leaps import Contradiction, SuspectedSplit
from ingestion.bars.stored_bars import FEW_BARS, Restatement


@dataclass
class Doubts:
    """What an import found about splits and about the stored past."""

    suspects: list[SuspectedSplit] = field(default_factory=list)
    """Leaps that stay; the bars from there on are held back."""
    contradictions: list[Contradiction] = field(default_factory=list)
    """Symbols whose prices contradict their splits; their bars are refused."""
    restated: list[Restatement] = field(default_factory=list)
    """Symbols of which more than a few stored bars become others."""
    refused_pasts: list[Restatement] = field(default_factory=list)
    """Symbols whose past is scaled against the stored one; their bars are refused."""

    def __bool__(self) -> bool:
        """Tell whether a symbol was refused or held back."""
        return bool(self.suspects or self.contradictions or self.refused_pasts)

    def add(self, prepared: Prepared) -> None:
        """Add what was found of some symbols."""
        self.suspects += prepared.suspects
        self.contradictions += prepared.contradictions
        self.restated += [each for each in prepared.restated if each.bars > FEW_BARS]
        self.refused_pasts += prepared.refused_pasts

    def document(self) -> dict[str, Any]:
        """Return them for the receipt and for ``--json``."""
        return {
            "suspected_splits": [asdict(each) | {"date": each.date} for each in self.suspects],
            "contradictions": [asdict(each) for each in self.contradictions],
            "restatements": [_restatement(each) for each in self.restated],
            "scaled_pasts": [_restatement(each) for each in self.refused_pasts],
        }


def _restatement(each: Restatement) -> dict[str, Any]:
    days = {"first": each.first.isoformat(), "last": each.last.isoformat()}
    return asdict(each) | days | {"factors": list(each.factors)}
