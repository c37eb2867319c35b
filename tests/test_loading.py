"""A project's files are run by path, once; what is wrong with them has a file and a line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ingestion.base.errors import InputError
from ingestion.base.loading import load_file, load_folder, place


def written(folder: Path, name: str, source: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    return path


def test_a_file_is_run_once_and_again_only_when_it_changed(tmp_path: Path):
    path = written(tmp_path, "mine.py", "COUNT = []\nCOUNT.append(1)\n")
    module = load_file(path)
    assert load_file(path) is module
    assert load_file(tmp_path / "." / "mine.py") is module
    assert module.COUNT == [1]
    written(tmp_path, "mine.py", "COUNT = []\nCOUNT.append(2)\n")  # same length, same second
    assert load_file(path).COUNT == [2]
    written(tmp_path, "mine.py", "COUNT = []\nCOUNT.append(2)\n")
    assert load_file(path) is load_file(path)


def test_a_link_to_a_file_is_the_same_file(tmp_path: Path):
    path = written(tmp_path, "mine.py", "X = object()\n")
    (tmp_path / "link.py").symlink_to(path)
    assert load_file(tmp_path / "link.py").X is load_file(path).X


def test_a_file_may_be_called_as_an_installed_module_is(tmp_path: Path):
    before = list(sys.path)
    module = load_file(written(tmp_path, "json.py", "import json\nTEXT = json.dumps([1])\n"))
    assert module.TEXT == "[1]"
    assert sys.path == before
    assert sys.modules["json"].__file__ != module.__file__
    assert not list(tmp_path.glob("__pycache__"))


def test_files_of_one_name_in_two_folders_are_two(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = load_file(written(tmp_path / "a", "g.py", "X = 1\n"))
    other = load_file(written(tmp_path / "b", "g.py", "X = 2\n"))
    assert (one.X, other.X) == (1, 2)
    assert one.__name__ != other.__name__


def test_a_file_may_declare_dataclasses(tmp_path: Path):
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from typing import ClassVar\n@dataclass\nclass A:\n    x: int\n    y: ClassVar[int] = 1\n"
    )
    assert load_file(written(tmp_path, "d.py", source)).A(3).x == 3


@pytest.mark.parametrize(
    ("source", "line", "told"),
    [
        ("X = 1\ndef f(:\n    pass\n", 2, "this is not Python"),
        ("X = 1\n\nY = 1 / 0\n", 3, "ZeroDivisionError: division by zero"),
        ("import no_such_package_at_all\n", 1, "ModuleNotFoundError"),
        ("import json\n\njson.loads('{')\n", 3, "JSONDecodeError"),
        ("def f():\n    return {}['k']\n\n\nf()\n", 2, "KeyError: 'k'"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        (
            "from ingestion.base.errors import InputError\nraise InputError('low is above high')\n",
            2,
            "low is above high",
        ),
        ("def f():\n    f()\nf()\n", 2, "RecursionError"),
        (b"X = '\xff'\n", None, "this is not Python"),
        (b"X = 1\x00\n", None, "this is not Python"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(
    source: str | bytes, line: int | None, told: str, tmp_path: Path
):
    path = written(tmp_path, "mine.py", source)
    known = set(sys.modules)
    for _ in range(2):  # a file that failed is not taken for loaded
        with pytest.raises(InputError) as caught:
            load_file(path)
        assert str(caught.value).startswith(f"{path}, line {line}: " if line else str(path))
        assert told in str(caught.value)
    assert not [name for name in set(sys.modules) - known if name.startswith("tvfeast_file_")]


@pytest.mark.parametrize("name", ["absent.py", "."])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        load_file(tmp_path / name)


def test_a_folder_gives_its_files_in_order(tmp_path: Path):
    for name in ("b.py", "a.py", "_shared.py", ".hidden.py", "notes.txt"):
        written(tmp_path, name, f"NAME = {name!r}\n")
    (tmp_path / "sub").mkdir()
    written(tmp_path / "sub", "c.py", "raise ValueError\n")
    assert [module.NAME for module in load_folder(tmp_path)] == ["a.py", "b.py"]
    assert list(load_folder(tmp_path / "absent")) == []


def test_the_place_of_a_name_is_its_last_definition(tmp_path: Path):
    source = (
        "A = 1\nfrom json import loads as B\n\n\ndef C():\n    A = 3\n\n\nA, D = 2, 3\nE: int = 1\n"
    )
    path = written(tmp_path, "mine.py", source)
    load_file(path)
    lines = {name: place(path, name) for name in "ABCDEF"}
    assert lines == {
        "A": f"{path}, line 9",
        "B": f"{path}, line 2",
        "C": f"{path}, line 5",
        "D": f"{path}, line 9",
        "E": f"{path}, line 10",
        "F": str(path),
    }
