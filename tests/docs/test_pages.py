"""What pages tell a reader to type and to write is right; ``make test-docs`` runs all of it.

Here, in seconds: each command line names a command and options that exist, and each file of a
project loads.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from ingestion.cli.commands import cli
from ingestion.jobs.workspace import make_workspace
from tests.docs import pages
from tests.docs.pages import DOCS, PAGES, ROOT, Shell, steps

WITH_COMMANDS = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
_BLOCK = re.compile(r"^```(sh|text|console|ini)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_START = re.compile(r"(?:^|[\s/`])tvfeast (?=[a-z-]+)")


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the words after ``tvfeast`` of each command in a page's blocks."""
    for block in _BLOCK.finditer(page.read_text()):
        for line in block[2].splitlines():
            if block[1] == "console" and not line.startswith("$ "):
                continue
            for given in _START.split(line)[1:]:
                plain = re.split(r" *(?:>>?|2>|\||&&|\|\||&|;)(?: |$)", given)[0]
                try:
                    yield shlex.split(plain, comments=True)
                except ValueError:  # a sentence with an apostrophe
                    continue


def fault(words: list[str]) -> str:
    """Return what is wrong with a command and the names of its options, if anything is."""
    command: click.Command | None = cli
    context = click.Context(cli, info_name="tvfeast")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        command = command.get_command(context, name)
        if command is None:
            return f"there is no command {name}"
        context = click.Context(command, info_name=name, parent=context)
    assert command is not None
    try:
        command.make_parser(context).parse_args(words)
    except click.UsageError as error:
        return error.format_message()
    return ""


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_of_a_page_exist(page: Path):
    assert [text for words in command_lines(page) if (text := fault(words))] == []


def test_a_command_or_option_that_is_gone_is_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ tvfeast select --tip 3 && tvfeast statsu\ntvfeast says so\n```\n"
        "```sh\n0 6 * * * cd /srv && .venv/bin/tvfeast status >> log 2>&1  # tvfeast nothing\n```\n"
    )
    found = [fault(words) for words in command_lines(page)]
    assert len(found) == 4
    assert "--tip" in found[0]
    assert found[1:] == ["there is no command statsu", "", "there is no command nothing"]


def test_files_of_the_pages_load_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = make_workspace(tmp_path / "mine")
    all_steps = [step for name in PAGES for step in steps(DOCS / name)]
    files = [step for step in all_steps if step.file]
    assert {Path(step.file).parts[1] for step in files if "/" in step.file} >= {
        *("formulas", "groups", "sources", "universes"),
    }
    for step in files:
        path = project / step.file
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(step.command)
    shell = Shell(project, "8787")
    for step in all_steps:
        if re.match(r"(echo|cat) .*> ?\w+\.json", step.command):
            shell.run(step.command)
    shell.close()
    monkeypatch.setenv("TVFEAST_PROJECT", str(project))
    checked = CliRunner().invoke(cli, ["catalog", "check"], catch_exceptions=False)
    assert checked.exit_code == 0, checked.output


def test_stores_of_the_pages_are_classes_that_python_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    page = DOCS / "howto" / "add_a_store.md"
    mine = next(step for step in steps(page) if step.file == "my_store.py")
    (tmp_path / mine.file).write_text(mine.command)
    monkeypatch.syspath_prepend(tmp_path)
    named = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)[0])
    paths = [part["type"] for part in named.values()] + ["my_store.MyOnlineStore"]
    for path in paths:
        module, _, name = path.rpartition(".")
        kept = import_module(module)
        assert {name, f"{name}Config"} <= set(vars(kept))
    sys.modules.pop("my_store")


def test_each_how_to_page_is_run():
    run = {DOCS / name for name in PAGES}
    pages = set((DOCS / "howto").glob("*.md")) | {DOCS / "tutorial.md"}
    others = (
        "when_something_rings",
        "run_on_an_engine",
        "use_an_object_store",
        "use_your_own_servers",
    )
    assert pages - run == {DOCS / "howto" / f"{name}.md" for name in others}
    for page in run:
        assert any(not step.file for step in steps(page)), f"{page} has no command"


def page_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


PAGE = """\
```python
# some/where.txt
text
```

```console
$ cat some/where.txt
# some/where.txt
text
$ cat <<'END'
> a
> END
{says}
$ sh -c 'echo wrong >&2; exit 3'; echo $?
wrong
3
```
"""


@pytest.mark.parametrize(("says", "faults"), [("a", 0), ("b", 1), ("", 1)])
def test_what_a_page_says_is_compared_with_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, faults: int
):
    page = page_of(tmp_path, monkeypatch, PAGE.format(says=says))
    shell = Shell(tmp_path, "8787")
    try:
        assert pages.run(page, shell, write=False) == faults
        assert page.read_text() == PAGE.format(says=says)
        assert pages.run(page, shell, write=True) == 0
        assert page.read_text() == PAGE.format(says="a")
    finally:
        shell.close()


def test_a_command_that_fails_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = page_of(tmp_path, monkeypatch, "```console\n$ false\n$ true\n```\n")
    shell = Shell(tmp_path, "8787")
    try:
        assert pages.run(page, shell, write=True) == 1
    finally:
        shell.close()


def test_run_ids_hashes_and_seconds_are_no_difference():
    one, other = "00" * 16, "1f" * 16
    assert pages.alike(f"20260116T213000Z-00ff00ff00 in 2.5 s: {one} ") == pages.alike(
        f"20210416T213000Z-0123456789 in 12.0 s: {other}"
    )
