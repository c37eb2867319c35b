"""The tables of an online store in Redis or Valkey, as :class:`Tables` has them.

A table is one hash. Its field of no name is the layout; each other field is an entity key, and its
value the event and the created time (8 bytes each, big-endian, counted from the earliest instant),
then the row as :mod:`ingestion.plugins.online.packed` has it. The hashes of a prefix share a slot
of a cluster, so that one transaction reads or changes all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ingestion.base.errors import FeastRepositoryError
from ingestion.plugins.online.layout import Layout, layout_from_text
from ingestion.plugins.online.packed import pack_rows, unpack_rows
from ingestion.plugins.online.rows import NEVER, Read, Rows, TableContent, Window

_ROWS_A_CALL = 10_000
_LAYOUT = b""
_TIMES = 16
_FIRST = np.uint64(2**63)
_BIG = np.dtype(">u8")

_NEWEST_WINS = """
local function wins(new, old)
  local a, b, c, d = struct.unpack('>I4I4I4I4', new)
  local e, f, g, h = struct.unpack('>I4I4I4I4', old)
  if a ~= e then return a > e end
  if b ~= f then return b > f end
  if c ~= g then return c > g end
  return d >= h
end
local changed = 0
for at = 1, #ARGV, 2 do
  local old = redis.call('HGET', KEYS[1], ARGV[at])
  if not old or (old ~= ARGV[at + 1] and wins(ARGV[at + 1], old)) then
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
    changed = changed + 1
  end
end
return changed
"""
"""Times are compared as numbers: Lua compares texts as the locale of the server sorts them."""


@dataclass(frozen=True)
class RedisPlace:
    """Where the tables are, and how long they are waited for."""

    url: str = "redis://localhost:6379/0"
    """``redis://``, ``rediss://`` (TLS) or ``unix://``, as redis-py reads it."""
    prefix: str = "wide"
    """Distinguishes these tables from others on the same server."""
    cluster: bool = False
    """Whether the server is one of a cluster."""
    timeout_s: float = 30.0
    """How long an answer may take."""


class RedisTables:
    """The tables of one prefix on a server; nothing is asked before the first call."""

    def __init__(self, place: RedisPlace) -> None:
        self._at = place
        self._client: Any = None
        self._connecting = Lock()

    @property
    def place(self) -> str:
        """The server's address, without user and password."""
        parts = urlsplit(self._at.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def read(self, reads: Sequence[Read]) -> list[Rows]:
        """Read in one transaction; of one table, in one command."""
        with self._calls() as client:
            pipe = client.pipeline(transaction=len(reads) > 1)
            for each in reads:
                if each.keys is None:
                    pipe.hgetall(self._key(each.table))
                else:
                    pipe.hmget(self._key(each.table), [_LAYOUT, *each.keys])
            answers = pipe.execute()
        return [_rows(each, answer) for each, answer in zip(reads, answers, strict=True)]

    def write(self, table: str, layout: Layout, rows: Rows) -> int:
        """Write in one transaction."""
        return self._change([], {table: layout}, {table: rows})

    def update(self, drop: Sequence[str], keep: Mapping[str, Layout]) -> None:
        """Change the tables in one transaction."""
        self._change(drop, keep, {})

    def teardown(self, tables: Sequence[str]) -> None:
        """Drop tables; the store itself needs nothing else."""
        self._change(tables, {}, {})

    def look(self, windows: Mapping[str, Window]) -> dict[str, TableContent] | None:
        """Count rows, by a look at all of them."""
        with self._calls() as client:
            pipe = client.pipeline(transaction=True)
            for table in windows:
                pipe.hgetall(self._key(table))
            answers = pipe.execute()
        found = {}
        for (table, (first, last)), content in zip(windows.items(), answers, strict=True):
            if content:
                events = _rows(Read(table, []), content).event_us
                inside = int(((events >= first) & (events <= last)).sum())
                newest = int(events.max()) if len(events) else None
                found[table] = TableContent(len(events), newest, inside)
        return found

    def refill(self, drop: Sequence[str], contents: Mapping[str, tuple[Layout, Rows]]) -> None:
        """Make tables anew in one transaction."""
        keep = {table: layout for table, (layout, _) in contents.items()}
        self._change([*drop, *keep], keep, {table: rows for table, (_, rows) in contents.items()})

    def _change(
        self, drop: Sequence[str], keep: Mapping[str, Layout], rows: Mapping[str, Rows]
    ) -> int:
        """Change all at once, again if another has changed one of these tables meanwhile."""
        keys = [self._key(table) for table in (*drop, *keep)]
        if not keys:
            return 0

        def change(pipe: Any) -> None:
            none = None, Rows.missing(0)
            stored = {
                table: none if table in drop else self._stored(pipe, table, layout)
                for table, layout in keep.items()
            }
            pipe.multi()
            for table in drop:
                pipe.unlink(self._key(table))
            for table, (current, before) in stored.items():
                key, layout = self._key(table), keep[table]
                if current is None:
                    pipe.unlink(key)
                    pipe.hset(key, _LAYOUT, layout.to_text())
                    _upsert(pipe, key, layout, before.laid_out(layout))
                if table in rows:
                    _upsert(pipe, key, current or layout, rows[table])

        with self._calls() as client:
            answers = self._transaction(client, change, keys)
        return sum(answers[len(answers) - _calls_for(rows) :])

    def _transaction(self, client: Any, change: Callable[[Any], None], keys: list[str]) -> Any:
        """Change tables that nobody else changes meanwhile; the client itself would try for ever.

        The connection may be lost after all was done: to do it again changes nothing then.
        """
        import redis

        until = time.monotonic() + self._at.timeout_s
        while True:
            with client.pipeline(transaction=True) as pipe:
                try:
                    pipe.watch(*keys)
                    change(pipe)
                    return pipe.execute()
                except redis.WatchError:
                    if time.monotonic() > until:
                        raise

    def _stored(self, pipe: Any, table: str, layout: Layout) -> tuple[Layout | None, Rows]:
        """Return a table's layout if it has these features, else the rows to be laid out anew."""
        text = pipe.hget(self._key(table), _LAYOUT)
        if text is None:
            return None, Rows.missing(0)
        current = layout_from_text(text.decode())
        if current.holds(layout):
            return current, Rows.missing(0)
        read = Read(table, list(current.type_of))
        return None, _rows(read, pipe.hgetall(self._key(table)))

    def _key(self, table: str) -> str:
        return f"{{{self._at.prefix}}}:{table}"

    @contextmanager
    def _calls(self) -> Iterator[Any]:
        """Call the server: an error of it says its address and what to do."""
        try:
            import redis
        except ImportError as error:
            raise FeastRepositoryError(
                "an online store in Redis needs its client: pip install 'tvfeast[redis]'"
            ) from error
        try:
            yield self._connected(redis)
        except (redis.RedisError, OSError) as error:
            told = " ".join(str(error).split())
            raise FeastRepositoryError(
                f"the online store {self.place} did not do it ({told}): is the server running, is "
                "its address right, and may this user read and write?"
            ) from error

    def _connected(self, redis: Any) -> Any:
        with self._connecting:
            if self._client is None:
                options: dict[str, Any] = {
                    "socket_timeout": self._at.timeout_s,
                    "socket_connect_timeout": min(5.0, self._at.timeout_s),
                }
                make: Callable[..., Any] = redis.RedisCluster.from_url
                if not self._at.cluster:  # whose client waits for another server to take over
                    make = redis.Redis.from_url
                    # A connection of before a restart is opened anew; a slow server is not asked
                    # a second time.
                    options["retry"] = redis.retry.Retry(
                        redis.backoff.NoBackoff(), 1, (redis.ConnectionError,)
                    )
                try:
                    client = make(self._at.url, **options)
                except ValueError as error:
                    raise FeastRepositoryError(
                        f"the online store's url {self.place} is none of Redis's: {error}"
                    ) from error
                self._refuse_eviction(client)
                self._client = client
        return self._client

    def _refuse_eviction(self, client: Any) -> None:
        """Refuse a server that deletes what it has no room for; ours has no time to expire at."""
        told = client.info("memory")
        policies = {
            each["maxmemory_policy"] if isinstance(each, dict) else each
            for name, each in told.items()
            if name == "maxmemory_policy" or isinstance(each, dict)
        }
        for policy in policies:
            if policy.startswith("allkeys"):
                raise FeastRepositoryError(
                    f"the online store {self.place} has the eviction policy {policy}, by which it "
                    "loses rows when its memory is full: set maxmemory-policy noeviction"
                )


def _calls_for(rows: Mapping[str, Rows]) -> int:
    return sum(-(-len(each.keys) // _ROWS_A_CALL) for each in rows.values())


def _upsert(pipe: Any, key: str, layout: Layout, rows: Rows) -> None:
    times = np.stack([rows.event_us, rows.created_us], axis=1).view(np.uint64) + _FIRST
    heads = times.astype(_BIG).tobytes()
    packed = pack_rows(layout, rows.values, len(rows.keys))
    pairs: list[Any] = []
    for at, (row_key, row) in enumerate(zip(rows.keys, packed, strict=True)):
        pairs += (row_key, heads[at * _TIMES : (at + 1) * _TIMES] + row)
    for start in range(0, len(pairs), 2 * _ROWS_A_CALL):
        some = pairs[start : start + 2 * _ROWS_A_CALL]
        pipe.execute_command("EVAL", _NEWEST_WINS, 1, key, *some)


def _rows(read: Read, answer: Any) -> Rows:
    """Make rows of what the server has answered: a list for keys that were given, else a hash."""
    if read.keys is None:
        content = answer
        if isinstance(answer, list):  # as a cluster's transaction gives it: fields and values
            content = dict(zip(answer[::2], answer[1::2], strict=True))
        keys = sorted(key for key in content if key != _LAYOUT)
        text, values = content.get(_LAYOUT), [content[key] for key in keys]
    else:
        text, *values = answer
        keys = list(read.keys)
    if text is None:
        return Rows.missing(len(keys))
    event_us, created_us = _times(values)
    packed = [None if value is None else value[_TIMES:] for value in values]
    columns = unpack_rows(layout_from_text(text.decode()), packed, read.names)
    found = [None if value is None else key for key, value in zip(keys, values, strict=True)]
    return Rows(found, event_us, created_us, columns)


def _times(values: Sequence[bytes | None]) -> tuple[Any, Any]:
    """Return rows' event and created times; ``NEVER`` where there is no row."""
    never = bytes(_TIMES)
    heads = b"".join([never if value is None else value[:_TIMES] for value in values])
    times = (np.frombuffer(heads, _BIG).astype(np.uint64) - _FIRST).view(np.int64).reshape(-1, 2)
    assert np.iinfo(np.int64).min == NEVER  # noqa: S101 - what an empty head means
    return times[:, 0].copy(), times[:, 1].copy()
