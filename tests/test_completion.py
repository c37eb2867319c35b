"""Completion in the shell: what the page on it says, and what is completed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "projects.md"
PROGRAM = Path(sys.executable).parent


def run(words: list[str], **variables: str) -> str:
    path = f"{PROGRAM}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path} | variables
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    return done.stdout


def completed(typed: str) -> list[str]:
    """Return what would be offered for the last word that is typed."""
    words = typed.split(" ")
    variables = {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    answer = run(["tvfeast"], _TVFEAST_COMPLETE="bash_complete", **variables)
    return [line.partition(",")[2] for line in answer.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_page_has_a_line_for_each_shell_that_gives_its_script(shell: str):
    assert re.search(rf"_TVFEAST_COMPLETE={shell}_source tvfeast", PAGE.read_text())
    script = run(["tvfeast"], _TVFEAST_COMPLETE=f"{shell}_source")
    assert "_tvfeast_completion" in script


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("tvfeast sel", ["select"]),
        ("tvfeast universe s", ["show"]),
        ("tvfeast select --form", ["--format"]),
        ("tvfeast select --format p", ["parquet"]),
    ],
)
def test_commands_options_and_choices_are_completed(typed: str, offered: list[str]):
    assert completed(typed) == offered


def test_bash_itself_completes_with_the_line_of_the_page():
    bash = shutil.which("bash")
    assert bash
    line = re.search(r"`(eval [^`]*bash_source tvfeast\)\")`", PAGE.read_text())
    assert line
    asked = "COMP_WORDS=(tvfeast data-); COMP_CWORD=1; _tvfeast_completion tvfeast"
    told = run([bash, "-c", f'{line[1]}; {asked}; echo "${{COMPREPLY[@]}}"'])
    assert told.split() == ["data-ingest", "data-docs"]
