"""The lock of a lakehouse in an object store: an object that one run has for a while.

``_lock`` names the run, its epoch, how long it has the lease without renewing it, and whether it
has released it. It is changed only by conditional requests, so one run has it at a time. Its age
is the store's: the difference of two instants that the store has stamped, so the clocks of the
machines do not count.

A run that was killed, or frozen, has not released it. Whoever takes the lease after that finds its
id in ``left``, until the ledgers of all runs in it are closed (:mod:`ingestion.lakehouse.compact`):
from then on, such a run adds nothing when it wakes up.

A run in parts, whose steps are processes of their own, keeps the lease between them: it is ``kept``
for a while, for a step of the same run alone. On a local disk, where the kernel's lock ends with
its process, such a lease is a file beside it.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ingestion.base.errors import LakehouseLocked, StoreFailed

if TYPE_CHECKING:
    from ingestion.base.objects import Stored

KEY = "_lock"
_CLOCK = "_clock"
TTL_S = 30.0
"""Seconds without a renewal after which another run may take the lease."""
KEPT_S = 900.0
"""Seconds that a run in parts has for its next step."""


class LeaseStore(Protocol):
    """Where a lease is kept: what :class:`~ingestion.base.objects.Objects` does for it."""

    uri: str

    def get(self, key: str) -> tuple[bytes, Stored]:
        """Return an object; FileNotFoundError if there is none."""

    def head(self, key: str) -> Stored:
        """Return what is known of an object without its content."""

    def put(self, key: str, content: bytes) -> str:
        """Write an object, whatever is there."""

    def create(self, key: str, content: bytes) -> str | None:
        """Write an object that is not there; return its tag, None if it is."""

    def swap(self, key: str, content: bytes, tag: str) -> str | None:
        """Write over an object of this tag; return its new one, None if it has another."""


class Step(NamedTuple):
    """A step of a run whose steps are processes of their own."""

    has_begun: bool
    """Whether the run has had a step before."""
    keep_s: float
    """How many seconds the lease is kept for the next step; 0 gives it back."""


@dataclass(frozen=True)
class _Lease:
    run: str
    epoch: int
    ttl: float
    who: str
    """Process and machine, for people."""
    left: tuple[str, ...] = ()
    released: bool = False
    kept: bool = False
    """Whether no process has it: it is kept for the next step of its run."""
    token: str = ""
    """Differs each time, and the object's tag with it."""

    def content(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def _read(content: bytes) -> _Lease:
    document = json.loads(content)
    return _Lease(**document | {"left": tuple(document["left"])})


class Lease:
    """The lease that this process has; :meth:`take` gets it.

    Attributes
    ----------
    left
        Runs that lost the lease and whose ledgers are not closed yet.
    """

    def __init__(self, objects: LeaseStore, lease: _Lease, tag: str, since: float) -> None:
        self._objects, self._lease, self._tag, self._renewed = objects, lease, tag, since
        self.left, self._lost = lease.left, False
        self._ended, self._one = threading.Event(), threading.Lock()
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    @classmethod
    def take(
        cls,
        objects: LeaseStore,
        run_id: str,
        ttl: float = TTL_S,
        step: Step | None = None,
        *,
        alone: bool = False,
    ) -> Lease:
        """Take the lease.

        Parameters
        ----------
        step
            The step of a run in parts, which has the lease already if one was before.
        alone
            Whether no other process can have it, because the caller has another lock too.

        Raises
        ------
        LakehouseLocked
            If another run has it, or the run of this step has lost it.
        """
        since = _monotonic()
        who = f"process {os.getpid()} on {socket.gethostname()}"
        new = _Lease(run_id, 1, ttl, who, token=secrets.token_hex(8))
        try:
            content, stored = objects.get(KEY)
        except FileNotFoundError:
            if step is not None and step.has_begun:
                raise lost(objects.uri, run_id) from None
            tag = objects.create(KEY, new.content())
        else:
            old = _read(content)
            free = old.released or (alone and not old.kept)
            goes_on = step is not None and old.run == run_id and (free or old.kept)
            if step is not None and not goes_on and (step.has_begun or old.run == run_id):
                raise lost(objects.uri, run_id)
            if not (free or goes_on or _is_over(objects, old, stored.changed)):
                raise LakehouseLocked(
                    f"run {old.run} ({old.who}) is writing to {objects.uri}; wait for it to end, "
                    f"then run again (one that was killed counts as ended after {old.ttl:g} s)"
                    if not old.kept
                    else f"run {old.run} is between two of its steps, and keeps {objects.uri} for "
                    f"{old.ttl:g} s; wait for its last step, then run again"
                )
            left = old.left if free or goes_on else (*old.left, old.run)
            new = replace(new, epoch=old.epoch + 1, left=left)
            tag = objects.swap(KEY, new.content(), stored.tag)
        if tag is None:
            raise LakehouseLocked(
                f"another run began to write to {objects.uri} just now; wait for it to end, then "
                "run again"
            )
        return cls(objects, new, tag, since)

    def check(self) -> None:
        """Raise LakehouseLocked if the lease is lost, or may be."""
        if self._lost or _monotonic() - self._renewed > self._lease.ttl:
            raise lost(self._objects.uri, self._lease.run)

    def settle(self) -> None:
        """Take down that the ledgers of all runs that are left are closed."""
        if self.left:
            self.left = ()
            self._change()

    def release(self, keep_s: float = 0) -> None:
        """Give it back, or keep it for the run's next step; one that is lost stays as it is."""
        self._ended.set()
        self._change(released=not keep_s, keep_s=keep_s)

    def _change(self, *, released: bool = False, keep_s: float = 0) -> None:
        with self._one:
            if self._lost:
                return
            since = _monotonic()
            token = secrets.token_hex(8)
            new = replace(self._lease, left=self.left, released=released, token=token)
            if keep_s:
                new = replace(new, kept=True, ttl=keep_s)
            tag = self._objects.swap(KEY, new.content(), self._tag)
            if tag is None:
                self._lost = True
            else:
                self._lease, self._tag, self._renewed = new, tag, since

    def _keep(self) -> None:
        while not self._ended.wait(self._lease.ttl / 3):
            try:
                self._change()
            except StoreFailed:
                continue  # it is tried again until the lease is over, which `check` reports


def demand_conditions(objects: LeaseStore) -> None:
    """Refuse a server on which two writers would not see each other.

    Raises
    ------
    StoreFailed
        If it ignores the condition of a request.
    """
    first, second = (
        objects.create(_CLOCK, secrets.token_hex(8).encode()) is not None for _ in range(2)
    )
    swapped = objects.swap(_CLOCK, secrets.token_hex(8).encode(), f'"{"0" * 32}"') is not None
    if (first and second) or swapped:
        raise StoreFailed(
            f"the server of {objects.uri} ignores conditions of writing ({'If-None-Match' * second}"
            f"{' If-Match' * swapped}), so runs would write over each other's files: nothing was "
            "written; use a server, or a version of it, that has conditional writes"
        )


def lost(uri: str, run_id: str) -> LakehouseLocked:
    """Return the error of a run that does not have the lease any more."""
    return LakehouseLocked(
        f"run {run_id} lost its lease on {uri}: it did not renew it in time, so another run may "
        "write; what it had confirmed stays, and it adds nothing more: run again"
    )


def holder(objects: LeaseStore) -> tuple[str, str] | None:
    """Return the run that has the lease, and where it runs; None if nobody has it."""
    try:
        content, stored = objects.get(KEY)
    except FileNotFoundError:
        return None
    lease = _read(content)
    over = lease.released or _is_over(objects, lease, stored.changed, may_write=False)
    return None if over else (lease.run, lease.who)


def _is_over(
    objects: LeaseStore, lease: _Lease, changed: datetime, *, may_write: bool = True
) -> bool:
    try:
        objects.put(_CLOCK, secrets.token_hex(8).encode())
        now = objects.head(_CLOCK).changed
    except StoreFailed:
        if may_write:
            raise
        return False  # who may only read takes it to be there still
    # The store's stamps are of whole seconds.
    return (now - changed).total_seconds() > lease.ttl + 1


def _monotonic() -> float:
    """Return seconds that go on also while the machine sleeps, where the system counts them."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
