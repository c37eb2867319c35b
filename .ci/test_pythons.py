"""Run the tests on each supported Python that this machine has; ``make test-pythons``.

Each version gets an environment of its own, ``.venv-3.12`` say, from the hash-locked requirements.
A version is looked for on the path and among pyenv's; one that is not there is named and is no
failure, so that the last lines tell what the result is worth.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")
_ROOT = Path(__file__).resolve().parent.parent
_WHICH = "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"


def main(arguments: list[str]) -> int:
    """Run ``make test`` with each version; return 1 if one fails or there is none."""
    told, failed, ran = [], False, False
    for version in VERSIONS:
        python = find(version)
        if python is None:
            told.append(f"Python {version}: not found on the path or in pyenv, NOT TESTED")
            continue
        print(f"--- Python {version}: {python}", flush=True)
        ended = subprocess.run(  # noqa: S603 - our own Makefile, with an interpreter that was found
            [
                *("make", "--no-print-directory", "test", f"ARGS={' '.join(arguments)}"),
                *(f"PYTHON={python}", f"VENV=.venv-{version}"),
            ],
            cwd=_ROOT,
            check=False,
        ).returncode
        ran, failed = True, failed or ended != 0
        told.append(f"Python {version}: {'FAILED' if ended else 'passed'}, {python}")
    print("\n".join(told))
    return 0 if ran and not failed else 1


def find(version: str) -> str | None:
    """Return an interpreter of a version, such as ``3.12``: the path's, else pyenv's newest."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    installed = sorted(pyenv.glob(f"{version}.*/bin/python"), key=_release)
    for candidate in (f"python{version}", *map(str, reversed(installed))):
        try:
            ended = subprocess.run(  # noqa: S603 - an interpreter, asked for its version
                [candidate, "-c", _WHICH], capture_output=True, text=True, check=False
            )
        except OSError:
            continue
        # pyenv's shim is there for versions that are not active, and fails.
        if ended.returncode == 0 and ended.stdout.splitlines()[0] == version:
            return ended.stdout.splitlines()[1]
    return None


def _release(python: Path) -> list[int]:
    """Return the numbers of ``…/3.12.1/bin/python``, to sort by."""
    return [int(number) for number in python.parent.parent.name.split(".") if number.isdigit()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
