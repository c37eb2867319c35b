"""Run the commands of the site's pages, and compare what they print with what the pages say.

``python -m tests.docs.pages`` runs the pages of :data:`PAGES` in one shell and one new folder, in
their order, as a reader does; ``--write`` writes what was printed into the pages.

A block ``console`` has commands after ``$``, continued after ``>``, and below each what it prints,
on stdout and stderr. Each must end with exit code 0, unless ``echo $?`` follows it. Another block
whose first line is ``# FILE`` is written to that file first. What differs from run to run (run ids,
hashes, seconds, sizes, the folder's place) is not compared.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
PAGES = [
    "tutorial.md",
    "howto/split_a_training_set.md",
    "howto/rank_by_a_model.md",
    "howto/add_a_formula.md",
    "howto/add_a_group.md",
    "howto/add_a_universe.md",
    "howto/add_a_source.md",
    "howto/use_feast.md",
    "howto/several_markets.md",
    "howto/run_daily.md",
    "howto/restore_a_backup.md",
    "howto/move_a_version_up.md",
    "howto/add_a_store.md",
    "howto/make_a_panel.md",
    "howto/measure_a_feature.md",
    "howto/replay_a_decision.md",
    "howto/compare_members.md",
    "howto/make_labels.md",  # goes to a project of its own
]
"""The pages with commands that are run; each goes on where the one before has ended."""
PORT = "8787"
"""The replay scanner's port on the pages; a free one is taken in its place."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w./]+\.\w+)\n")
_CHANGES = (
    (re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{10}\b"), "20210416T213000Z-0123456789"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "0123456789abcdef" * 4),
    (re.compile(r"\b[0-9a-f]{32}\b"), "0123456789abcdef" * 2),
    (re.compile(r"\b\d+\.\d s\b"), "0.5 s"),
    (re.compile(r"\b\d+\.\d MB\b"), "0.8 MB"),
    (re.compile(r"\bcaches: \d+ files\b"), "caches: 23 files"),
)
"""What differs from run to run, and what stands in its place; what was written within two seconds
of a look is kept by the next one, so that the number of caches follows the machine's pace. A
fingerprint of values follows the last bit of a logarithm, which processors do not agree on."""


@dataclass
class Step:
    """A file to write, or a command and what the page says it prints."""

    page: Path
    line: int
    command: str
    says: str = ""
    file: str = ""
    span: tuple[int, int] = (0, 0)
    """Where ``says`` stands in the page's text."""

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(DOCS)}:{self.line}"


def steps(page: Path) -> Iterator[Step]:
    """Yield what a page has to be done, in its order."""
    text = page.read_text()
    for block in _BLOCK.finditer(text):
        kind, body, line = block[1], block[2], text.count("\n", 0, block.start(2)) + 1
        if kind == "console":
            yield from _commands(page, body, line, block.start(2))
        elif named := _FILE.match(body):
            yield Step(page, line, body, file=named[1])


def _commands(page: Path, body: str, line: int, begins: int) -> Iterator[Step]:
    """Yield the commands of a block, each with the span of the text below it."""
    step, at = None, begins
    for row in body.splitlines(keepends=True):
        ends = at + len(row)
        if row.startswith("$ "):
            if step:
                yield step
            step = Step(page, line, row[2:], span=(ends, ends))
        elif row.startswith("> ") and step and not step.says:
            step.command += row[2:]
            step.span = (ends, ends)
        elif step:
            step.says += row
            step.span = (step.span[0], ends)
        at, line = ends, line + 1
    if step:
        yield step


class Shell:
    """A shell in a folder, that is given one command after the other."""

    def __init__(self, folder: Path, port: str) -> None:
        self._folder, self._port = folder, port
        (folder / "tvfeast").symlink_to(ROOT)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("TVFEAST_")
        }
        # What is printed to a terminal of any width, and to none, is the same.
        environment |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),  # with the checkout in it
            "XDG_CACHE_HOME": str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")),
            "COLUMNS": "100",
            "TZ": "UTC",
        }
        self._process = subprocess.Popen(
            ["/bin/bash", "--norc", "--noprofile"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Return a command's exit code and what it printed, as a page shows it."""
        given, got = self._process.stdin, self._process.stdout
        assert given is not None
        assert got is not None
        mark = f"--- {time.monotonic_ns()} ended with"
        given.write(f"{{\n{command.replace(PORT, self._port).rstrip()}\n}} < /dev/null\nended=$?\n")
        given.write(f"printf '\\n%s %d\\n' '{mark}' $ended; (exit $ended)\n")
        given.flush()
        printed, code = self._until(got, mark)
        for place, shown in ((self._folder, "/home/you"), (ROOT, "/home/you/tvfeast")):
            printed = printed.replace(str(place.resolve()), shown).replace(str(place), shown)
        return code, printed.replace(self._port, PORT)

    @staticmethod
    def _until(got: IO[str], mark: str) -> tuple[str, int]:
        lines: list[str] = []
        for line in got:
            if line.startswith(mark):
                printed = "".join(lines)
                # The newline before the mark is ours, or ends a line that had none.
                return printed[:-1] if printed.endswith(
                    "\n\n"
                ) or printed == "\n" else printed, int(line.removeprefix(mark))
            lines.append(line)
        raise SystemExit(f"the shell has ended: {''.join(lines)[-2000:]}")

    def close(self) -> None:
        """End the shell, and what it has started."""
        self._process.communicate("kill $(jobs -p) 2> /dev/null; wait\n", timeout=60)


def kept(printed: str) -> str:
    """Return what was printed as it is written into a page.

    Whole lines, without spaces at their ends; run ids and hashes are the same each time.
    """
    for pattern, same in _CHANGES[:2]:
        printed = pattern.sub(same, printed)
    return "".join(f"{line.rstrip()}\n" for line in printed.rstrip().splitlines())


def alike(text: str) -> str:
    """Return a text with the same in place of what differs from run to run."""
    for pattern, same in _CHANGES:
        text = pattern.sub(same, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def run(page: Path, shell: Shell, write: bool) -> int:
    """Run a page, and return the number of its faults."""
    faults, new, text = 0, [], page.read_text()
    written_to = 0
    todo = list(steps(page))
    for number, step in enumerate(todo):
        if step.file:
            shell.run(
                f"mkdir -p $(dirname {step.file}); cat > {step.file} <<'END-OF-FILE'\n"
                f"{step.command}END-OF-FILE"
            )
            continue
        began = time.monotonic()
        code, printed = shell.run(step.command)
        follows = todo[number + 1].command if number + 1 < len(todo) else ""
        print(
            f"{step.where}: {step.command.splitlines()[0]} ({time.monotonic() - began:.1f} s)",
            flush=True,
        )
        if code and "$?" not in follows:
            print(f"{step.where}: exit code {code}\n{printed}")
            faults += 1
        if alike(printed) != alike(step.says):
            faults += not write
            differ = difflib.unified_diff(
                alike(step.says).splitlines(),
                alike(printed).splitlines(),
                "page",
                "printed",
                lineterm="",
            )
            print("\n".join(differ))
            begins, ends = step.span
            new += [text[written_to:begins], kept(printed)]
            written_to = ends
    if write and new:
        page.write_text("".join(new) + text[written_to:])
    return faults


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def main() -> int:
    """Run the pages; return 1 if a command failed or printed something else."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write what is printed into the pages")
    parser.add_argument("--until", metavar="PAGE", default=PAGES[-1], help="the last page to run")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tvfeast-pages-") as folder:
        shell = Shell(Path(folder), free_port())
        try:
            faults = sum(
                run(DOCS / name, shell, asked.write)
                for name in PAGES[: PAGES.index(asked.until) + 1]
            )
        finally:
            shell.close()
    print(f"{faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
