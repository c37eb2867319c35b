"""What is known of one thing that Feast can do, on its own stores and on ours: ``surface``.

A test of this folder carries one line of ``docs/feast_surface.md``. It runs once on each kind of
repository, and its line says what must come out there: the test is the proof of the cell.

::

    @surface("`feast plan`", stock=broken("it says …", AssertionError), remark="…")
    def test_a_plan_changes_nothing(repository): ...
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import pytest

KINDS = ("stock", "ours")


@dataclass(frozen=True)
class Outcome:
    """What must come out of a test: nothing wrong, or this error.

    Attributes
    ----------
    cell
        What the document says.
    error
        What the test must raise; an ``AssertionError`` for a wrong answer.
    words
        What the error must say.
    """

    cell: str
    error: type[BaseException] | None = None
    words: str = ""

    def checked(self) -> AbstractContextManager[Any]:
        """Fail if what runs inside comes out otherwise."""
        if self.error is None:
            return nullcontext()
        return pytest.raises(self.error, match=re.escape(self.words))


WORKS = Outcome("works")


def refused(sentence: str, error: type[BaseException] = Exception) -> Outcome:
    """Say that the store refuses it, in a sentence that the error must contain."""
    return Outcome(f"refused: “{sentence}”", error, sentence)


def fails(why: str, error: type[BaseException], words: str = "") -> Outcome:
    """Say that the store itself gets it wrong; and by what one sees that."""
    return Outcome(f"fails: {why}", error, words)


def broken(why: str, error: type[BaseException], words: str = "") -> Outcome:
    """Say that Feast itself, outside of the store, cannot do it; and by what one sees that."""
    return Outcome(f"broken in Feast: {why}", error, words)


@dataclass(frozen=True)
class Line:
    """A line of the document."""

    subject: str
    outcomes: dict[str, Outcome]
    remark: str


def surface(
    subject: str,
    *,
    stock: Outcome = WORKS,
    ours: Outcome = WORKS,
    remark: str = "",
    by_hand: tuple[str, str] | None = None,
) -> Callable[[Any], Any]:
    """Give a test its line, and let it run on both kinds of repository.

    The test, or a fixture of it, takes ``kind``: the fixture ``repository`` does.

    Parameters
    ----------
    by_hand
        A module that is not among the requirements, and when the test was run by hand with which
        version of it: where the module is missing, the test is skipped, and the line says so.
    """
    outcomes = dict(zip(KINDS, (stock, ours), strict=True))
    marks = [pytest.mark.parametrize("kind", KINDS, scope="module")]
    if by_hand is not None:
        module, when = by_hand
        outcomes = {k: replace(each, cell=f"{each.cell} (by hand)") for k, each in outcomes.items()}
        told = f"the test was run by hand {when}, which is not installed with the others"
        remark = f"{remark}; {told}" if remark else told
        missing = find_spec(module) is None
        marks.append(pytest.mark.skipif(missing, reason=f"{module} is not installed"))

    def decorate(test: Any) -> Any:
        test.line = Line(subject, outcomes, remark)
        for mark in marks:
            test = mark(test)
        return test

    return decorate
