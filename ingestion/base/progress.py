"""How far long work is. Work says what it goes through; whoever runs it may show that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

ThingT = TypeVar("ThingT")

Show = Callable[[Iterable[Any], int | None, str], Iterable[Any]]
"""Takes things, how many there are if that is known, and what they are; gives them on."""

_show: ContextVar[Show | None] = ContextVar("show", default=None)


def watched(things: Iterable[ThingT], what: str, total: int | None = None) -> Iterable[ThingT]:
    """Return things as they are; how many were taken is shown if somebody wants that.

    Examples
    --------
    >>> list(watched([3, 4], "files"))
    [3, 4]
    """
    show = _show.get()
    if show is None:
        return things
    return show(things, total if total is not None else _length(things), what)


@contextmanager
def showing(show: Show) -> Iterator[None]:
    """Show how far work is that is done meanwhile."""
    token = _show.set(show)
    try:
        yield
    finally:
        _show.reset(token)


def _length(things: Iterable[Any]) -> int | None:
    return len(things) if isinstance(things, Sized) else None
