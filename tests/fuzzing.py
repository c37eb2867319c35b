"""Fuzz tests: how many cases they try, and how many were tried."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

Case = TypeVar("Case")

LONG = "long"
"""Profile of the long form: ``pytest -m fuzz --hypothesis-profile=long``."""
_USUAL = 100  # Hypothesis's own default
_TIMES = 20
tried: Counter[str] = Counter()
"""Cases by test, shrinking included."""


def register_profiles() -> None:
    # No test may depend on how busy the machine is.
    settings.register_profile("usual", deadline=None)
    settings.load_profile("usual")
    settings.register_profile(LONG, max_examples=_TIMES * _USUAL, deadline=None)


def fuzz(cases: int, **strategies: SearchStrategy[Any]) -> Callable[[Any], Any]:
    """Try a test on that many drawn cases; in the long form on twenty times as many."""

    def decorate(test: Any) -> Any:
        @functools.wraps(test)
        def counted(*arguments: Any, **drawn: Any) -> Any:
            tried[test.__name__] += 1
            return test(*arguments, **drawn)

        bounded = settings(
            max_examples=cases * settings().max_examples // _USUAL,
            deadline=None,
            suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        )
        return pytest.mark.fuzz(bounded(given(**strategies)(counted)))

    return decorate


def sized(usual: Case, long: Case) -> Case:
    """Return what, or how often, to try: the second in the long form."""
    return long if settings().max_examples > _USUAL else usual


def chosen(cases: Iterable[Case], usual: int, most: int | None = None) -> list[Case]:
    """Return all cases in the long form, or the most of them; else a few, the same each time."""
    every = list(cases)
    most = len(every) if most is None else min(most, len(every))
    return random.Random(20).sample(every, sized(usual, most))
