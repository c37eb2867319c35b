"""Connections that Feast's own SQLite store opens and never closes, told apart from ours.

From Python 3.13 on, a connection that nobody closed is told when it is deleted, by whatever code
runs then: only the connection's own name can say whose it was. ``filterwarnings`` in pyproject.toml
lets those of :class:`OpenedByFeast` pass, and no other.
"""

from __future__ import annotations

import sqlite3
import sys
from typing import Any


class OpenedByFeast(sqlite3.Connection):
    """What ``feast.infra.online_stores.sqlite`` gets where it asks for a connection."""


def name_them() -> None:
    """Let every connection that Feast's modules open from now on be of that class."""
    connect = sqlite3.connect

    def named(*arguments: Any, **options: Any) -> sqlite3.Connection:
        if sys._getframe(1).f_globals.get("__name__", "").startswith("feast."):
            options.setdefault("factory", OpenedByFeast)
        return connect(*arguments, **options)

    sqlite3.connect = named  # type: ignore[assignment]
