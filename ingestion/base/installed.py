"""Which version of a package is installed, without reading its metadata."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def installed_version(package: str) -> str:
    """Return a text that differs between a package's versions; empty if it is not installed.

    That is the name of the folder beside it, which has the version: to read it from the metadata
    takes 10 ms more.

    Examples
    --------
    >>> installed_version("numpy").startswith("numpy-")
    True
    >>> installed_version("no_such_package")
    ''
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return ""
    beside = list(Path(spec.origin).parent.parent.glob(f"{package}-*.dist-info"))
    if len(beside) == 1:
        return beside[0].name
    from importlib.metadata import version

    return version(package)
