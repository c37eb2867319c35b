"""A request that is too wide is cut by columns, and the answers are put together again.

Each piece asks for the bar's times too: they say whether the pieces describe the same bar. The
first columns are in the first piece, so a table that must be of one instant comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ingestion.markets.hours import BarState, bar_state, feed_delay
from ingestion.scanner.wire import Answer, RawRow, first_rows

_OPEN, _UPDATE, _MODE = "time", "last_bar_update_time", "update_mode"


def cut(names: Sequence[str], widest: int) -> list[tuple[str, ...]]:
    """Cut names of columns into pieces of at most ``widest`` names.

    Examples
    --------
    >>> cut(["open", "time", "close", "RSI", "ADX"], 3)
    [('open', 'time', 'close'), ('time', 'RSI', 'ADX')]
    """
    if len(names) <= widest:
        return [tuple(names)]
    times = tuple(name for name in names if _base(name) in (_OPEN, _UPDATE))
    first = tuple(names[:widest])
    rest = [name for name in names[widest:] if name not in times]
    size = max(1, widest - len(times))
    return [first, *((*times, *rest[at : at + size]) for at in range(0, len(rest) or 1, size))]


def ask_in_pieces(
    names: Sequence[str], widest: int, ask: Callable[[tuple[str, ...]], Answer]
) -> Answer:
    """Ask for columns piece by piece, and return one answer with all of them.

    A symbol that one of the answers leaves out is left out. Of ``last_bar_update_time`` the latest
    value is kept. Where ``time`` differs, the row carries a problem.

    Parameters
    ----------
    ask
        Asks for some columns of the same symbols.
    """
    pieces = cut(names, widest)
    if len(pieces) == 1:
        return ask(pieces[0])
    answers = [ask(piece) for piece in pieces]
    found, problems, _ = zip(*(first_rows(answer.rows) for answer in answers), strict=True)
    rows = []
    for symbol in found[0]:
        if all(symbol in rows_of for rows_of in found):
            row = _joined(names, pieces, [rows_of[symbol] for rows_of in found], answers[0])
            problem = next((each[symbol] for each in problems if symbol in each), row.problem)
            rows.append(replace(row, problem=problem))
    return replace(
        answers[0],
        total=max(answer.total for answer in answers),
        rows=rows,
        illegible=max(answer.illegible for answer in answers),
    )


def _joined(
    names: Sequence[str],
    pieces: Sequence[tuple[str, ...]],
    rows: Sequence[RawRow],
    first: Answer,
) -> RawRow:
    """Put the pieces of one symbol together."""
    symbol = rows[0].symbol
    for piece, row in zip(pieces, rows, strict=True):
        if len(row.values) != len(piece):
            return replace(rows[0], problem=f"{len(row.values)} values for {len(piece)} columns")
    cells: dict[str, Any] = {}
    problem, has_moved = None, False
    for piece, row in zip(pieces, rows, strict=True):
        for name, value in zip(piece, row.values, strict=True):
            before = cells.setdefault(name, value)
            if before == value:
                continue
            if _base(name) == _OPEN:
                problem = f"its columns are of two bars: {name} is {before} and {value}"
            elif _base(name) == _UPDATE:
                has_moved = True
                cells[name] = _later(before, value)
    is_moving = has_moved and _is_closed(symbol, cells, first)
    return RawRow(symbol, [cells[name] for name in names], problem, is_moving)


def _later(one: Any, other: Any) -> Any:
    numbers = [each for each in (one, other) if isinstance(each, int | float)]
    return max(numbers, default=one)


def _is_closed(symbol: str, cells: dict[str, Any], first: Answer) -> bool:
    """Return whether the daily bar would be stored as closed."""
    opened, mode = cells.get(_OPEN), cells.get(_MODE)
    if not isinstance(opened, int | float) or not 0 < opened < 1 << 32:
        return False
    delay = feed_delay(mode if isinstance(mode, str) else None)
    asked_at = int(first.asked_at.timestamp())
    return bar_state(symbol, int(opened), asked_at, delay) is BarState.CLOSED


def _base(name: str) -> str:
    """Return a column's name without its time frame."""
    return name.partition("|")[0]
