"""What every writing job has: an identity."""

from __future__ import annotations

import secrets
import time


def new_run_id() -> str:
    """Return an identity that sorts by the wall clock, also when ``TVFEAST_NOW`` is set.

    Runs of one second are in order too: who looks for the newest receipt goes by this.
    """
    seconds, microseconds = divmod(time.time_ns() // 1_000, 1_000_000)
    second = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
    return f"{second}-{microseconds:06}{secrets.token_hex(2)}"
