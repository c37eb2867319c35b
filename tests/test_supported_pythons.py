"""``make test-pythons`` knows the versions that the package names, and finds interpreters."""

from __future__ import annotations

import importlib.util
import os
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
THIS = "{}.{}".format(*sys.version_info)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("test_pythons", ROOT / ".ci" / "test_pythons.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pyenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a path and a pyenv without any interpreter."""
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def interpreter(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{content}\n")
    path.chmod(0o755)
    return path


def test_its_versions_are_those_that_the_package_names(script: ModuleType):
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    first, last = script.VERSIONS[0], script.VERSIONS[-1]
    assert named == f">={first},<3.{int(last.split('.')[1]) + 1}"
    assert [int(version.split(".")[1]) for version in script.VERSIONS] == [11, 12, 13]
    assert f"Python {first} to {last}" in (ROOT / "README.md").read_text()


def test_a_version_that_is_nowhere_is_none(script: ModuleType, pyenv: Path):
    assert script.find(THIS) is None


def test_a_shim_that_fails_gives_room_to_pyenvs_newest_release(script: ModuleType, pyenv: Path):
    interpreter(pyenv / "path" / f"python{THIS}", "echo 'pyenv: command not found' >&2; exit 127")
    real = f"exec {os.path.realpath(sys.executable)}"
    for release in ("2", "10", "9"):
        told = pyenv / "pyenv" / "versions" / f"{THIS}.{release}" / "bin" / "python"
        interpreter(told, f'[ "$1" = -c ] && echo {THIS} && echo {told} || {real} "$@"')
    assert script.find(THIS) == str(told.parents[2] / f"{THIS}.10" / "bin" / "python")


def test_the_path_goes_before_pyenv(script: ModuleType, pyenv: Path):
    (pyenv / "path" / f"python{THIS}").symlink_to(os.path.realpath(sys.executable))
    assert script.find(THIS) is not None


def test_another_version_under_its_name_is_not_taken(script: ModuleType, pyenv: Path):
    interpreter(pyenv / "path" / f"python{THIS}", "echo 3.5; echo /usr/bin/python3.5")
    assert script.find(THIS) is None


def test_none_at_all_is_a_failure(script: ModuleType, pyenv: Path, capsys):
    assert script.main([]) == 1
    assert capsys.readouterr().out.count("NOT TESTED") == len(script.VERSIONS)
