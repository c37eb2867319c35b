"""How many faults the tests have put the project through, for the line at the end of a run."""

from __future__ import annotations

from collections import Counter

kills: Counter[str] = Counter()
"""Processes that died of ``kill -9``, by what they were doing."""
faults: Counter[str] = Counter()
"""Runs with something damaged, missing, full, locked or answering wrongly, by what it was."""


def told() -> list[str]:
    """Return the lines to print; none if nothing was tried."""
    lines = []
    for name, counts in (("kill -9", kills), ("other faults", faults)):
        if counts:
            each = ", ".join(f"{what} {count}" for what, count in sorted(counts.items()))
            lines.append(f"{name} survived: {counts.total():,} ({each})")
    return lines
