"""The names of targets: ``fwd_return_5d`` is the forward return of five sessions."""

from __future__ import annotations

import re

from ingestion.base.errors import InputError

LONGEST = 9_999
"""Sessions of the longest target: forty years, more than any history here."""

_NAME = re.compile(r"fwd_return_([1-9][0-9]{0,3})d")


def target_sessions(name: str) -> int:
    """Return how many sessions a target looks ahead.

    Raises
    ------
    InputError
        If the name is not of the form ``fwd_return_<n>d``.

    Examples
    --------
    >>> target_sessions("fwd_return_5d")
    5
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(
            f'no target "{name}"; a target is fwd_return_<n>d with n sessions from 1 to {LONGEST}, '
            "such as fwd_return_1d, fwd_return_5d, fwd_return_20d"
        )
    return int(match[1])


def target_name(sessions: int) -> str:
    """Return the name of the forward return of so many sessions.

    Raises
    ------
    InputError
        If there is no such target.
    """
    if not 1 <= sessions <= LONGEST:
        raise InputError(f"a target looks 1 to {LONGEST} sessions ahead, not {sessions}")
    return f"fwd_return_{sessions}d"
