"""Work done ahead of the one who waits for it, by as many threads as there are cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

import pyarrow as pa

from ingestion.base.fetched import IN_FLIGHT

Given = TypeVar("Given")
Made = TypeVar("Made")


def in_flight(work: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
    """Yield the results of what waits for another machine, as :func:`in_threads` does."""
    return in_threads(work, items, IN_FLIGHT)


def in_threads(
    work: Callable[[Given], Made], items: Iterable[Given], threads: int | None = None
) -> Iterator[Made]:
    """Yield the results in order, made ahead by threads: as many as there are cores, or given.

    An item is taken from its iterable only a few results before its own is due. One alone is worth
    no thread.
    """
    threads, items = threads or pa.cpu_count(), iter(items)
    first = list(islice(items, 2))
    if len(first) < 2:
        yield from map(work, first)
        return
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[Made]] = deque()
        try:
            for item in chain(first, items):
                ahead.append(pool.submit(work, item))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def blocks_of(size: int, block: int) -> list[slice]:
    """Return a size in blocks, the last one perhaps smaller.

    Examples
    --------
    >>> blocks_of(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(begin, min(begin + block, size)) for begin in range(0, size, block)]
