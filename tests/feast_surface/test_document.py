"""The document says what the tests prove."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.feast_surface.document import AREAS, surface_markdown
from tests.feast_surface.surface import KINDS, WORKS, broken, refused, surface

HERE = Path(__file__).parent


def test_the_document_is_fresh():
    written = HERE.parent.parent / "docs" / "feast_surface.md"
    assert written.read_text() == surface_markdown(), "run `make docs`"


def test_every_module_of_the_surface_is_in_the_document():
    assert sorted(AREAS.values()) == sorted(path.stem for path in HERE.glob("test_surface_*.py"))


def test_a_test_with_a_line_runs_on_both_kinds():
    @surface("a thing")
    def test(repository): ...

    assert [mark.args for mark in test.pytestmark] == [("kind", KINDS)]
    assert [test.line.outcomes[kind] for kind in KINDS] == [WORKS, WORKS]


@pytest.mark.parametrize(
    ("outcome", "error", "fits"),
    [
        (WORKS, None, True),
        (refused("no such thing"), ValueError("there is no such thing: make it"), True),
        (refused("no such thing"), ValueError("no"), False),
        (refused("no such thing"), None, False),
        (broken("it forgets rows", AssertionError), AssertionError("1 == 2"), True),
        (broken("it forgets rows", AssertionError), None, False),
        (broken("it raises", KeyError, "x"), KeyError("x"), True),
        (broken("it raises", KeyError, "x"), KeyError("y"), False),
    ],
)
def test_only_what_a_line_says_comes_through(outcome, error, fits: bool):
    def run() -> None:
        with outcome.checked():
            if error is not None:
                raise error

    if fits:
        run()
    else:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            run()
