"""Python files of a project, run by their path: groups, formulas, services.

A file is never imported as part of a package: whatever it is called, it hides no installed module
and no installed module hides it. It is run once, and again only after it has changed.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from ingestion.base.errors import InputError

FILE_MODULE = "tvfeast_file_"
"""Begins the name of a module that is a project's file."""

Kind = TypeVar("Kind")

_loaded: dict[Path, tuple[bytes, ModuleType]] = {}
"""By resolved path: the source that was run, and what it made."""

_lock = threading.RLock()


def load_file(path: Path) -> ModuleType:
    """Run a Python file and return the module that it makes.

    The same source at the same path gives the same module. No bytecode is written beside the file.

    Parameters
    ----------
    path
        The file; relative to the working directory if it is not absolute.

    Returns
    -------
    ModuleType
        Its ``__file__`` is the resolved path; its ``__name__`` begins with :data:`FILE_MODULE`.

    Raises
    ------
    InputError
        If the file cannot be read, is not Python, or raises an exception: file, line and what
        happened.
    """
    path = path.resolve()
    with _lock:
        try:
            source = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
        if path in _loaded and _loaded[path][0] == source:
            return _loaded[path][1]
        module = _run(path, source)
        _loaded[path] = source, module
        return module


def load_folder(folder: Path) -> Iterator[ModuleType]:
    """Run the Python files of a folder, in the order of their names.

    Names that begin with ``_`` or ``.`` are left out, and so are subfolders. A folder that does not
    exist is an empty one.

    Raises
    ------
    InputError
        As :func:`load_file`.
    """
    yield from map(load_file, files_in(folder))


def files_in(folder: Path) -> list[Path]:
    """Return the Python files of a folder that :func:`load_folder` runs, in its order."""
    return [path for path in sorted(folder.glob("*.py")) if not path.name.startswith(("_", "."))]


def declared_in(module: ModuleType, *kinds: type[Kind]) -> Iterator[tuple[str, Kind]]:
    """Yield a module's values of some kinds with their names, also those in a list or tuple.

    A value that has several names counts once, under the first.

    Examples
    --------
    >>> module = ModuleType("mine")
    >>> module.FIRST, module.BOTH = 1, [1, 2]
    >>> list(declared_in(module, int))
    [('FIRST', 1), ('BOTH', 2)]
    """
    seen: set[int] = set()
    for name, value in list(vars(module).items()):
        for each in value if isinstance(value, list | tuple) else (value,):
            if isinstance(each, kinds) and id(each) not in seen:
                seen.add(id(each))
                yield name, each


def place(path: Path, name: str) -> str:
    """Return where a file that was run defines a name: ``PATH, line N``, for an error.

    It is the last definition at the file's top level, which is the one in force; the path alone
    where there is none.
    """
    source = _loaded[path][0] if path in _loaded else path.read_bytes()
    lines = [node.lineno for node in ast.parse(source).body if name in _defined(node)]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def _run(path: Path, source: bytes) -> ModuleType:
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    module = ModuleType(f"{FILE_MODULE}{digest}_{path.stem}")
    module.__file__ = str(path)
    try:
        code = compile(source, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InputError(f"{path}{line}: this is not Python: {reason}") from None
    # Dataclasses and pickle look a class's module up by its name.
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 - a project's own file, which its owner wants run
    except (Exception, SystemExit) as error:
        if before is None:
            del sys.modules[module.__name__]
        else:
            sys.modules[module.__name__] = before
        raise InputError(what_happened(error, str(path))) from error
    return module


def what_happened(error: BaseException, path: str) -> str:
    """Return an exception in one line: ``PATH, line N: KIND: what``.

    The line is the last one of that file that was running; it is left out if there is none.
    """
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f", line {f.lineno}" for f in reversed(frames) if f.filename == path), "")
    kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
    return f"{path}{line}: {kind}{error}"


def _defined(node: ast.stmt) -> set[str]:
    """Return the names that a statement assigns, defines or imports."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = (name for target in targets for name in ast.walk(target))
        return {name.id for name in names if isinstance(name, ast.Name)}
    return set()
