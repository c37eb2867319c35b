"""What every writing job has: an identity."""

from __future__ import annotations

import secrets
import time


def new_run_id() -> str:
    """Return an identity that sorts by the wall clock, also when ``TVFEAST_NOW`` is set."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"
