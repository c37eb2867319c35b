"""What to know of the labels of a training set: whose they are, and what is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from ingestion.base.wording import counted, did_you_mean, some_of
from ingestion.datasets import DropReason, Labels

_NAMED = 5
"""How many symbols a message names."""


def warnings_of_members(name: str, labels: Labels, without: Collection[str]) -> Iterator[str]:
    """Yield what to know of labels that are about the members of a universe."""
    if labels.unknown:
        yield survivors_warning(name, labels.unknown, labels.decisions)
    if without:
        yield (
            f"{counted(len(without), f'member of {name} has', f'members of {name} have')} "
            "no bars in the range, so nothing of them is "
            f"labelled: {some_of(sorted(without), _NAMED)}; import the bars of those that were "
            "delisted, too: returns are too good without them"
        )


def survivors_warning(name: str, unknown: int, decisions: int) -> str:
    """Return the warning about decisions at which it is not known who was in a universe."""
    return (
        f"survivors: who was in {name} is not known at {unknown:,} of "
        f"{counted(decisions, 'decision')} "
        f"({unknown / decisions:.1%}); there all symbols count that the lakehouse has bars of "
        "today, what was delisted before is missing, and returns measured on them are too good: "
        "`tvfeast universe import` loads dated membership"
    )


def nothing_known_warning(without: Collection[str], others: Collection[str]) -> str:
    """Return the warning about symbols of which a set has no value; others have some."""
    names = sorted(without)
    told = [name + did_you_mean(name, others) for name in names[:_NAMED]]
    return f"no feature was known of {some_of([*told, *names[_NAMED:]], _NAMED)}"


def warnings_of(
    labels: Labels,
    decided: set[str],
    symbols: Collection[str] | None,
    known_since: datetime | None,
    of_members: Iterable[str] | None,
) -> list[str]:
    """Return what to know of labels: whose they are, and which are missing.

    Parameters
    ----------
    decided
        Symbols with a decision.
    symbols
        Those that were asked for.
    known_since
        Since when it is known which symbols were active, if those alone are labelled.
    of_members
        What to know of the members of a universe, if those alone are.
    """
    if of_members is not None:
        warnings = list(of_members)
    elif known_since is None:
        count = counted(len(decided), "symbol is the one", "symbols are those")
        these = f"{'this' if len(decided) == 1 else 'these'} {count}"
        warnings = [
            f"survivors: {these} that the lakehouse has bars of "
            "today, at all decisions (100 %); what was delisted before it was asked for is "
            "missing, so returns measured on them are too good; --universe NAME uses the members "
            "of a universe at each decision, --universe-as-of the symbols active then"
        ]
    else:
        dropped = labels.dropped[DropReason.NOT_ACTIVE]
        warnings = [
            f"universe: which symbols were active is known from {known_since:%Y-%m-%d %H:%M} UTC "
            f"on; {counted(dropped, 'row was', 'rows were')} dropped because their symbol "
            "was not active then, or not "
            "observed yet"
        ]
    if missing := sorted(set(symbols or ()) - decided):
        warnings.append(f"no bars in the range: {some_of(missing, _NAMED)}")
    if gaps := labels.dropped[DropReason.GAP_IN_WINDOW]:
        warnings.append(
            f"{counted(gaps, 'row was', 'rows were')} dropped because their window has a "
            "gap: the symbol was halted or "
            "delisted, or its bars are missing; where it was, returns are too good without them"
        )
    if spoiled := labels.dropped[DropReason.SESSION_MISSING]:
        warnings.append(
            f"{counted(spoiled, 'row was', 'rows were')} dropped because a session of their "
            "market is missing in their "
            "window: `tvfeast status` names it; import or accept it"
        )
    if early := labels.dropped[DropReason.ENTRY_BEFORE_DECISION]:
        warnings.append(
            f"{counted(early, 'row was', 'rows were')} dropped because the next session "
            "opened before the decision's bar "
            "was known to have closed: the hours of these exchanges are not known"
        )
    return warnings


def warnings_of_kinds(labels: Labels, without_dividends: Collection[str]) -> Iterator[str]:
    """Yield what to know of labels that need more than the symbol's own bars after a decision."""
    if without_dividends:
        some = sorted(without_dividends)
        yield (
            f"dividends: {counted(len(some), 'symbol has', 'symbols have')} none recorded in the "
            f"range and count as paying none: {some_of(some, _NAMED)}"
        )
    counts = labels.missing.values() or [labels.dropped]
    for reason, why in (
        (
            DropReason.BENCHMARK_MISSING,
            "the benchmark has no bar that opens or closes with theirs, or one is missing: it must "
            "keep the hours of their exchange",
        ),
        (
            DropReason.DIVIDEND_CURRENCY,
            "a dividend in their window is in another currency than the price: import it again in "
            "that of the price",
        ),
        (
            DropReason.NO_VOLATILITY,
            "the volatility before the decision is not known: too few bars, a gap or a missing "
            "session among them, or no move",
        ),
    ):
        if lost := sum(each[reason] for each in counts):
            yield f"{counted(lost, 'label was', 'labels were')} dropped because {why}"
