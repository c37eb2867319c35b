"""How far long work is. Work says how much there is and is done; whoever runs it may show that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import closing, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

ThingT = TypeVar("ThingT")


class Progress:
    """Where work reports how far it is; this one says nothing."""

    def start(self, total: int | None) -> None:
        """Take how much there is to do, once it is known and whenever it grows."""

    def advance(self, number: int) -> None:
        """Take how much was just done."""

    def note(self, text: str) -> None:
        """Take what else is worth knowing meanwhile, as why nothing comes."""

    def close(self) -> None:
        """End the report, whether all was done or not."""


Show = Callable[[str, str, bool], Progress]
"""Takes what is done, the unit that is counted, and whether to show it at once."""

_show: ContextVar[Show | None] = ContextVar("show", default=None)


def progress(what: str, unit: str = "", *, at_once: bool = False) -> Progress:
    """Return where to report how far some work is.

    Parameters
    ----------
    at_once
        Whether to show it before a second is over, of work that waits for another machine.
    """
    show = _show.get()
    return Progress() if show is None else show(what, unit, at_once)


def note(text: str) -> None:
    """Say why nothing comes for a while, if somebody wants to see how far work is."""
    if (show := _show.get()) is not None:
        show("", "", True).note(text)


def watched(things: Iterable[ThingT], what: str, total: int | None = None) -> Iterable[ThingT]:
    """Return things as they are; how many were taken is shown if somebody wants that.

    Examples
    --------
    >>> list(watched([3, 4], "files"))
    [3, 4]
    """
    return things if _show.get() is None else _counting(things, what, total)


@contextmanager
def showing(show: Show) -> Iterator[None]:
    """Show how far work is that is done meanwhile."""
    token = _show.set(show)
    try:
        yield
    finally:
        _show.reset(token)


def _counting(things: Iterable[Any], what: str, total: int | None) -> Iterator[Any]:
    with closing(progress(what)) as done:
        done.start(len(things) if total is None and isinstance(things, Sized) else total)
        for each in things:
            yield each
            done.advance(1)
