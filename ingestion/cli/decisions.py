"""Decisions that were made: looked at again."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

import click

from ingestion.base import clock
from ingestion.base.wording import counted
from ingestion.cli.group import cli, examples, this_project
from ingestion.cli.options import Parsed, day_or_instant
from ingestion.cli.output import minute
from ingestion.cli.serving import choice_of, choice_options
from ingestion.cli.tables import Printing, Rows, paragraph, rows_options, table, terminal_width

if TYPE_CHECKING:
    from ingestion.jobs.serve.replay_decision import Move, ReplayedDecision

_WHOLE = 10_000
"""No line is wider."""
_NAMES = ("then", "now", "symbol", "value_then", "value_now", "why", "more")


@cli.command(
    "replay-decision",
    **examples(
        "replay-decision 2021-04-12",
        "replay-decision 2021-04-12 --by RSI --top 5",
    ),
)
@click.argument("at", metavar="DATE", type=Parsed("date or instant", day_or_instant))
@choice_options
@rows_options
def replay_command(printing: Printing, at: date | datetime, **arguments: Any) -> None:
    """Show what moved since a decision, and why.

    DATE is an instant, or a date: its end in UTC, or when a selection of that date was kept by
    `select --record`. Where none was, the decision is what would have been selected of the rows
    that had been created by then. It is compared with today's view of the same instant; without
    options, the kept selection's are taken.
    """
    from ingestion.jobs.serve.replay_decision import replay_decision

    is_date = not isinstance(at, datetime)
    instant = _end_of(at) if not isinstance(at, datetime) else at
    request = choice_of(arguments)
    replayed = replay_decision(this_project(), instant, request, whole_day=is_date)
    printing.show(replayed, replay_text, replay_rows)


def _end_of(day: date) -> datetime:
    """Return the end of a UTC date; now while it is not over."""
    now = clock.now()
    return now if day == now.date() else datetime.combine(day, time.max, UTC)


def replay_rows(replayed: ReplayedDecision) -> Rows:
    """Return one row per symbol that moved."""
    values = [
        dict(
            zip(
                _NAMES,
                (
                    each.rank_then,
                    each.rank_now,
                    each.symbol,
                    each.value_then,
                    each.value_now,
                    "; ".join(map(str, each.reasons)),
                    "; ".join(each.more),
                ),
                strict=True,
            )
        )
        for each in replayed.moves
    ]
    return Rows(_NAMES, values, _footer(replayed))


def replay_text(replayed: ReplayedDecision) -> str:
    """Return for people what moved, one line per symbol."""
    how = (
        f"as selected then (run {replayed.recorded})"
        if replayed.recorded
        else "as it would have been selected, of the rows created by then"
    )
    head = paragraph(
        f"{minute(replayed.at)}, {replayed.group} by {replayed.by}: {how}; beside what is known of "
        f"it at {minute(replayed.known_at)}"
    )
    if not replayed.moves:
        return f"{head}\n{_footer(replayed)}"
    names = ["then", "now", "symbol", "was", "is", "why"]
    rows = [_cells(each) for each in replayed.moves]
    whole = [[*row, "; ".join(each.more)] for row, each in zip(rows, replayed.moves, strict=True)]
    wide = table([*names, "more"], whole, {2, 5, 6}, _WHOLE)
    width = terminal_width()
    if width is None or max(map(len, wide.splitlines())) <= width:
        return "\n".join([head, wide, _footer(replayed)])
    more = [f"  {command}" for each in replayed.moves for command in each.more]
    shown = table(names, rows, {2, 5})
    return "\n".join([head, shown, _footer(replayed), "more:", *more])


def _cells(each: Move) -> list[str]:
    return [
        *(str(rank or "–") for rank in (each.rank_then, each.rank_now)),
        each.symbol,
        *map(_value, (each.value_then, each.value_now)),
        "; ".join(map(str, each.reasons)),
    ]


def _value(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _footer(replayed: ReplayedDecision) -> str:
    listed = f"{replayed.listed_then:,} of {counted(replayed.asked_then, 'symbol')} listed then"
    now = f"{replayed.listed_now:,} of {replayed.asked_now:,} now"
    if not replayed.moves:
        return f"nothing differs: {listed}, {now}, in the same order and with the same values"
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in replayed.kinds.items())
    moved = counted(len(replayed.moves), "symbol")
    return paragraph(f"{moved} moved: {kinds}; {listed}, {now}")
