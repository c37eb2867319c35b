"""Arrays that took long to make, kept in the user's cache folder; any of it may be deleted."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Arrays = dict[str, Any]
"""NumPy arrays by name, none of objects."""


def cached(key: str, make: Callable[[], Arrays]) -> Arrays:
    """Return what was kept under a key, else make it and keep it.

    A file that is damaged or cannot be read is made anew; one that cannot be written is
    done without.

    Parameters
    ----------
    key
        Everything that the arrays depend on.

    Examples
    --------
    >>> import numpy as np
    >>> cached("example", lambda: {"squares": np.arange(4) ** 2})["squares"].tolist()
    [0, 1, 4, 9]
    """
    path = _folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
    found = _read(path)
    if found is None:
        found = make()
        with contextlib.suppress(OSError):
            _write(path, found)
    return found


def _folder() -> Path:
    """Return the folder as the XDG base directory specification has it."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    with contextlib.suppress(RuntimeError):  # nobody's home
        base = base.expanduser()
    return base / "tvfeast"


def _read(path: Path) -> Arrays | None:
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, arrays: Arrays) -> None:
    import numpy as np

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        try:
            np.savez(file, **arrays)
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
