"""A request that is too wide is cut by columns, and the answers are put together again.

There are as few pieces as the columns allow. Those of one frame are side by side. Where a frame is
cut, its further pieces ask for the bar's times too, as far as there is room, the last one first:
they say whether the pieces describe the same bar. Where the columns fill all requests, the clock
says whether a bar may have begun between them. The first columns are in the first piece, so a table
that must be of one instant comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from ingestion.base import clock
from ingestion.base.wording import counted
from ingestion.catalog.sources import FRAMES
from ingestion.markets.frames import running_bar
from ingestion.markets.hours import SETTLE, BarState, bar_state, feed_delay
from ingestion.scanner.wire import Answer, RawRow, first_rows

_OPEN, _UPDATE, _MODE = "time", "last_bar_update_time", "update_mode"
_TIMES = (_OPEN, _UPDATE)
_FRAMES = {frame.suffix: name for name, frame in FRAMES.items()}

Piece = tuple[str, ...]


def cut(names: Sequence[str], widest: int, still: Collection[str] = ()) -> list[Piece]:
    """Cut names of columns into as few pieces as can be, of at most ``widest`` names.

    Parameters
    ----------
    still
        Names of what no bar changes: texts and the like.

    Examples
    --------
    >>> cut(["open", "time", "close", "RSI", "ADX"], 3)
    [('open', 'time', 'close'), ('time', 'RSI', 'ADX')]
    >>> cut(["open", "time", "close", "RSI", "ADX", "AO"], 3)
    [('open', 'time', 'close'), ('RSI', 'ADX', 'AO')]
    """
    if len(names) <= widest:
        return [tuple(names)]
    frames = {name: _frame(name, still) for name in names}
    order = {each: at for at, each in enumerate(dict.fromkeys(frames.values()))}
    order[None] = len(order)
    rank = {_OPEN: 0, _UPDATE: 1}
    asked = sorted(names, key=lambda name: (order[frames[name]], rank.get(_base(name), 2)))
    place = {name: at for at, name in enumerate(names)}
    room, end = -len(names) % widest, len(asked)
    later: list[Piece] = []
    while end > widest:
        for spare in range(min(room, len(_TIMES)) + 1):
            begin = max(end - widest + spare, widest)
            cut_frame = frames[asked[begin]]
            earlier = [name for name in asked[:begin] if frames[name] == cut_frame is not None]
            again = [name for name in earlier if _base(name) in _TIMES]
            if len(again) <= spare:
                break
        later.append((*again[:spare], *sorted(asked[begin:end], key=place.__getitem__)))
        room, end = room - spare, begin
    return [tuple(sorted(asked[:widest], key=place.__getitem__)), *reversed(later)]


def ask_in_pieces(
    names: Sequence[str],
    widest: int,
    ask: Callable[[Piece], Answer],
    still: Collection[str] = (),
) -> Answer:
    """Ask for columns piece by piece, and return one answer with all of them.

    A symbol that one of the answers leaves out is left out. Of ``last_bar_update_time`` the latest
    value is kept. Where ``time`` differs, the row carries a problem.

    Parameters
    ----------
    ask
        Asks for some columns of the same symbols.
    still
        As of :func:`cut`.
    """
    pieces = cut(names, widest, still)
    if len(pieces) == 1:
        return ask(pieces[0])
    answers = [ask(piece) for piece in pieces]
    between = _Between(answers[0].asked_at, clock.now(), _unwatched(pieces, still))
    found, problems, _ = zip(*(first_rows(answer.rows) for answer in answers), strict=True)
    rows = []
    for symbol in found[0]:
        if all(symbol in rows_of for rows_of in found):
            row = _joined(names, pieces, [rows_of[symbol] for rows_of in found], between)
            problem = next((each[symbol] for each in problems if symbol in each), row.problem)
            rows.append(replace(row, problem=problem))
    return replace(
        answers[0],
        total=max(answer.total for answer in answers),
        rows=rows,
        illegible=max(answer.illegible for answer in answers),
        requests=len(answers),
    )


class _Between(NamedTuple):
    """The time from the first piece's request to the last one's answer."""

    asked_at: datetime
    answered_at: datetime
    unwatched: tuple[str, ...]
    """Frames whose pieces do not all say which bar they describe."""

    def is_moving(self, symbol: str, cells: Mapping[str, Any], *, has_moved: bool) -> bool:
        """Return whether a row's pieces may differ though their times do not.

        A closed bar was changed, or another bar has begun in a frame that no time was asked of.
        """
        mode, opened = cells.get(_MODE), cells.get(_OPEN)
        delay = feed_delay(mode if isinstance(mode, str) else None)
        asked_at = int(self.asked_at.timestamp())
        if has_moved and isinstance(opened, int | float) and 0 < opened < 1 << 32:
            return bar_state(symbol, int(opened), asked_at, delay) is BarState.CLOSED
        first, last = asked_at - delay, int(self.answered_at.timestamp()) - delay + 2 * SETTLE
        return any(
            running_bar(symbol, frame, first) != running_bar(symbol, frame, last)
            for frame in self.unwatched
        )


def _unwatched(pieces: Sequence[Piece], still: Collection[str]) -> tuple[str, ...]:
    """Return the frames of several pieces of which the last one has no time of a bar."""
    of_frame: dict[str | None, list[Piece]] = {}
    for piece in pieces:
        for suffix in {_frame(name, still) for name in piece}:
            if suffix in _FRAMES:
                of_frame.setdefault(suffix, []).append(piece)
    return tuple(
        _FRAMES[suffix]
        for suffix, those in of_frame.items()
        if suffix is not None and len(those) > 1 and f"{_OPEN}{suffix}" not in those[-1]
    )


def _joined(
    names: Sequence[str],
    pieces: Sequence[Piece],
    rows: Sequence[RawRow],
    between: _Between,
) -> RawRow:
    """Put the pieces of one symbol together."""
    symbol = rows[0].symbol
    for piece, row in zip(pieces, rows, strict=True):
        if len(row.values) != len(piece):
            return replace(
                rows[0],
                problem=f"{counted(len(row.values), 'value')} for {counted(len(piece), 'column')}",
            )
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
    is_moving = between.is_moving(symbol, cells, has_moved=has_moved)
    return RawRow(symbol, [cells[name] for name in names], problem, is_moving)


def _later(one: Any, other: Any) -> Any:
    numbers = [each for each in (one, other) if isinstance(each, int | float)]
    return max(numbers, default=one)


def _frame(name: str, still: Collection[str]) -> str | None:
    """Return the suffix of the frame whose bars change a column; None if none do."""
    base = _base(name)
    return None if name in still and base not in (*_TIMES, _MODE) else name[len(base) :]


def _base(name: str) -> str:
    """Return a column's name without its time frame."""
    return name.partition("|")[0]
